//! Path infos on the wire: two protocols, three layouts.
//!
//! The surprising thing: the hash of the NAR is bare base 16 here, while the serve protocol writes it with its algorithm
//! in Nix's base 32, and the size of a download that nobody looks at stands before that of the NAR.

use std::io::{Read, Write};

use super::message::{Dialect, Message, Protocol, read_signatures, write_signatures};
use super::{DEFAULT_LIMIT, WireError, WireRead, WireWrite};
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::path_info::{PathInfo, UnkeyedPathInfo};

impl Message for UnkeyedPathInfo {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        if let Protocol::Serve(_) = dialect.protocol {
            return read_serve(source, dialect);
        }
        let deriver = Message::read(source, dialect)?;
        let mut info = UnkeyedPathInfo::new(read_nar_hash(source)?, 0);
        info.deriver = deriver;
        info.references = Message::read(source, dialect)?;
        info.registration_time = read_time(source)?;
        info.nar_size = source.read_number()?;
        if dialect.protocol.is_worker_since(16) {
            info.ultimate = source.read_flag()?;
            info.signatures = read_signatures(source)?;
            info.content_address = Message::read(source, dialect)?;
        }
        Ok(info)
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        if let Protocol::Serve(_) = dialect.protocol {
            return write_serve(self, sink, dialect);
        }
        self.deriver.write(sink, dialect)?;
        sink.write_bytes(self.nar_hash.format(HashFormat::Base16, false).as_bytes())?;
        self.references.write(sink, dialect)?;
        sink.write_number(self.registration_time.cast_unsigned())?;
        sink.write_number(self.nar_size)?;
        if dialect.protocol.is_worker_since(16) {
            sink.write_flag(self.ultimate)?;
            write_signatures(sink, &self.signatures)?;
            self.content_address.write(sink, dialect)?;
        }
        Ok(())
    }
}

impl Message for PathInfo {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let path = Message::read(source, dialect)?;
        Ok(PathInfo { path, info: Message::read(source, dialect)? })
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        self.path.write(sink, dialect)?;
        self.info.write(sink, dialect)
    }
}

/// Reads the hash of a NAR as the daemon protocol has it: SHA-256 in any notation, without its name.
fn read_nar_hash(source: &mut dyn Read) -> Result<Hash, WireError> {
    let text = source.read_text(DEFAULT_LIMIT)?;
    Hash::parse(&text, Some(Algorithm::Sha256)).map_err(|error| WireError::malformed("hash", error))
}

/// Reads seconds since 1970.
pub(super) fn read_time(source: &mut dyn Read) -> Result<i64, WireError> {
    let number = source.read_number()?;
    i64::try_from(number).map_err(|_| WireError::OutOfRange { number })
}

fn read_serve(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<UnkeyedPathInfo, WireError> {
    let deriver = Message::read(source, dialect)?;
    let references = Message::read(source, dialect)?;
    source.read_number()?;
    let mut info = UnkeyedPathInfo::new(Hash::zero(Algorithm::Sha256), source.read_number()?);
    info.deriver = deriver;
    info.references = references;
    if dialect.protocol.is_serve_since(4) {
        let text = source.read_text(DEFAULT_LIMIT)?;
        if !text.is_empty() {
            info.nar_hash = Hash::parse_prefixed(&text).map_err(|error| WireError::malformed("hash", error))?;
        }
        info.content_address = Message::read(source, dialect)?;
        info.signatures = read_signatures(source)?;
    }
    Ok(info)
}

fn write_serve(info: &UnkeyedPathInfo, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
    info.deriver.write(sink, dialect)?;
    info.references.write(sink, dialect)?;
    sink.write_number(info.nar_size)?;
    sink.write_number(info.nar_size)?;
    if dialect.protocol.is_serve_since(4) {
        sink.write_bytes(info.nar_hash.format(HashFormat::Nix32, true).as_bytes())?;
        info.content_address.write(sink, dialect)?;
        write_signatures(sink, &info.signatures)?;
    }
    Ok(())
}
