//! Entries of zip archives. Their table stands at the end, so the archive must be a file.

use std::fs::File;
use std::io::Read;

use ::zip::ZipArchive;
use ::zip::result::ZipError;

use super::{Builder, ExtractError, Result};

/// `S_IFMT` and `S_IFLNK`.
const TYPE_MASK: u32 = 0o170_000;
const SYMLINK: u32 = 0o120_000;

fn wrong(error: ZipError) -> ExtractError {
    match error {
        ZipError::Io(error) => ExtractError::Read(error),
        error => ExtractError::NotAnArchive { reason: error.to_string() },
    }
}

pub(super) fn read(file: File, builder: &mut Builder) -> Result<()> {
    let mut archive = ZipArchive::new(std::io::BufReader::new(file)).map_err(wrong)?;
    for index in 0..archive.len() {
        if let Ok(raw) = archive.by_index_raw(index)
            && raw.encrypted()
        {
            return Err(ExtractError::Encrypted { path: String::from_utf8_lossy(raw.name_raw()).into_owned() });
        }
        let mut entry = archive.by_index(index).map_err(wrong)?;
        let path = entry.name_raw().to_vec();
        builder.entry(entry.last_modified().map_or(0, seconds))?;
        let mode = entry.unix_mode().unwrap_or(0);
        if entry.is_dir() {
            builder.directory(&path)?;
        } else if mode & TYPE_MASK == SYMLINK {
            let mut target = Vec::new();
            let limit = builder.limits.path_len as u64 + 1;
            entry.by_ref().take(limit).read_to_end(&mut target).map_err(ExtractError::Read)?;
            builder.symlink(&path, &target)?;
        } else {
            let size = entry.size();
            builder.file(&path, mode & 0o100 != 0, Some(size), &mut entry)?;
        }
    }
    Ok(())
}

/// Zip knows no time zone; universal time is as good as any other, and the same everywhere.
fn seconds(time: ::zip::DateTime) -> u64 {
    let (year, month) = (u64::from(time.year()), u64::from(time.month()));
    // Days since March 1st of year 0, as if every year began in March.
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + u64::from(time.day()).saturating_sub(1);
    let days = days.saturating_sub(719_468);
    days * 86_400 + u64::from(time.hour()) * 3_600 + u64::from(time.minute()) * 60 + u64::from(time.second())
}
