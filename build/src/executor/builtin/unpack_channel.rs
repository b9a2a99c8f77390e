//! `builtin:unpack-channel`: the archive of a channel, with its one top directory called as the channel is.

use std::fs;
use std::io::BufReader;
use std::path::{Component, Path, PathBuf};

use nixlang_store::error::StoreError;
use nixlang_store::extract::{Archive, Limits};
use nixlang_store::fs::{Metadata, restore};
use nixlang_store::store::with_nar;
use serde::{Deserialize, Serialize};

/// An archive to unpack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Channel {
    /// The archive.
    pub src: PathBuf,
    /// The output.
    pub out: PathBuf,
    /// The name of what is in the output.
    pub name: String,
}

/// Unpacks. The error is one for the build's log.
pub(crate) fn run(Channel { src, out, name }: &Channel) -> Result<(), String> {
    let mut components = Path::new(name).components();
    if !matches!((components.next(), components.next()), (Some(Component::Normal(only)), None) if only == name.as_str()) {
        return Err(format!("channelName is not allowed to contain filesystem separators, got {name}"));
    }
    let failed = |error: &dyn std::fmt::Display| format!("unable to unpack '{}': {error}", src.display());
    let archive = Archive::open(src, &Limits::default()).map_err(|error| failed(&error))?;
    match archive.n_top_entries() {
        0 => return Err(format!("channel tarball '{}' is empty", src.display())),
        1 => {}
        _ => return Err(format!("channel tarball '{}' contains more than one file", src.display())),
    }
    fs::create_dir_all(out).map_err(|error| failed(&error))?;
    let mut write = |sink: &mut dyn std::io::Write| {
        archive.write_nar(true, sink).map_err(|error| StoreError::format("reading an archive", error))
    };
    let unpacked = with_nar(&mut write, &mut |nar| restore(&mut BufReader::new(nar), &out.join(name), Metadata::Ordinary));
    unpacked.map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_output() {
        for name in ["", ".", "..", "a/b", "/a", "a/"] {
            let channel = Channel { src: "/nonexistent".into(), out: "/nonexistent".into(), name: name.to_owned() };
            assert!(run(&channel).is_err_and(|error| error.starts_with("channelName is not allowed")), "{name}");
        }
    }
}
