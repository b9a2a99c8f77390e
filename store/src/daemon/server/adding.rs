//! What clients bring: contents, archives, signatures, realisations, logs.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};

use super::{Session, refused};
use crate::addressed::{Tee, parse_nar};
use crate::content_address::ContentAddressMethod;
use crate::error::{Result, StoreError};
use crate::hash::Algorithm;
use crate::path::StorePath;
use crate::path_info::PathInfo;
use crate::realisation::{DerivationOutputId, Realisation};
use crate::store::{AddOptions, Addressing, Contents, Store};
use crate::wire::message::{Dialect, Message, MethodAndAlgorithm, read_signatures};
use crate::wire::{DEFAULT_LIMIT, FramedReader, WireError, WireRead};

/// A file whose size is not known is kept in memory up to this size, in bytes, then on disk.
const SPOOL_LIMIT: u64 = 8 * 1024 * 1024;

/// Largest log that is taken, in bytes.
const LOG_LIMIT: u64 = 1 << 30;

impl Session<'_> {
    /// Lets `take` read a framed stream and reads what it left.
    fn framed<T>(&mut self, take: impl FnOnce(&dyn Store, &mut dyn Read) -> Result<T>) -> Result<Option<T>> {
        let Session { store, tunnel, source, .. } = self;
        let mut drained = Ok(());
        let done = tunnel.work(|| {
            let mut frames = FramedReader::new(&mut *source);
            let taken = take(*store, &mut frames);
            drained = frames.drain().map(drop);
            taken
        })?;
        // Nobody knows where the next request begins.
        drained.map_err(WireError::from)?;
        Ok(done)
    }

    pub(super) fn add_to_store(&mut self) -> Result<()> {
        if !self.tunnel.dialect().protocol.is_worker_since(25) {
            return self.add_to_store_old();
        }
        let name: String = self.read()?;
        let MethodAndAlgorithm { method, algorithm } = self.read()?;
        let references: BTreeSet<StorePath> = self.read()?;
        let _repair: bool = self.read()?;
        let info = self.framed(|store, frames| {
            let addressing = Addressing { name: &name, method, algorithm, references };
            match method {
                ContentAddressMethod::Flat | ContentAddressMethod::Text => {
                    add_file(store, &addressing, frames)
                }
                ContentAddressMethod::Nar | ContentAddressMethod::Git => {
                    store.add_contents(&addressing, Contents::Nar(frames))
                }
            }
        })?;
        match info {
            Some(info) => Ok(self.tunnel.answer(|sink, dialect| info.write(sink, dialect))?),
            None => Ok(()),
        }
    }

    /// Before 1.25 an archive came as it is, whatever was to be hashed.
    fn add_to_store_old(&mut self) -> Result<()> {
        let name: String = self.read()?;
        let is_fixed: bool = self.read()?;
        let recursive: u64 = self.read()?;
        let algorithm: String = self.read()?;
        let Session { store, tunnel, source, .. } = self;
        let mut over = Ok(());
        let path = tunnel.work(|| {
            let addressing = old_addressing(&name, is_fixed, recursive, &algorithm);
            let mut nar = NarSource::new(source);
            let added = addressing
                .and_then(|addressing| store.add_contents(&addressing, Contents::Nar(&mut nar)))
                .map(|info| info.path);
            over = nar.finish();
            added
        })?;
        over?;
        match path {
            Some(path) => Ok(self.tunnel.answer(|sink, dialect| path.write(sink, dialect))?),
            None => Ok(()),
        }
    }

    pub(super) fn add_text(&mut self) -> Result<()> {
        let name: String = self.read()?;
        let contents: Vec<u8> = self.read()?;
        let references: BTreeSet<StorePath> = self.read()?;
        // Not `add_text`, which believes what derivations say about their outputs.
        let (method, algorithm) = (ContentAddressMethod::Text, Algorithm::Sha256);
        let addressing = Addressing { name: &name, method, algorithm, references };
        self.reply(|| Ok(self.store.add_contents(&addressing, Contents::Bytes(&contents))?.path))
    }

    pub(super) fn add_nar(&mut self) -> Result<()> {
        let dialect = self.tunnel.dialect();
        let mut info = PathInfo::read(&mut self.source, &Dialect::before_archives(dialect.store_dir))?;
        info.info.ultimate &= self.options.is_trusted;
        let options = self.add_options()?;
        let is_trusted = self.options.is_trusted;
        if dialect.protocol.is_worker_since(23) {
            self.framed(|store, frames| {
                check_repair(is_trusted, &options)?;
                store.add_nar(&info, frames, &options)
            })?;
            return Ok(());
        }
        let Session { store, tunnel, source, .. } = self;
        if dialect.protocol.is_worker_since(21) {
            tunnel.work(|| check_repair(is_trusted, &options).and_then(|()| store.add_nar(&info, &mut AskingSource { tunnel, source, rest: Vec::new(), at: 0 }, &options)))?;
            return Ok(());
        }
        let mut over = Ok(());
        tunnel.work(|| {
            let mut nar = NarSource::new(source);
            let added = check_repair(is_trusted, &options).and_then(|()| store.add_nar(&info, &mut nar, &options));
            over = nar.finish();
            added
        })?;
        over
    }

    /// Reads whether to repair, and whether signatures don't matter. The latter is for trusted clients.
    fn add_options(&mut self) -> Result<AddOptions, WireError> {
        let repair: bool = self.read()?;
        let dont_check_signatures: bool = self.read()?;
        let mut options = AddOptions::default();
        options.repair = repair;
        options.check_signatures = !(dont_check_signatures && self.options.is_trusted);
        Ok(options)
    }

    pub(super) fn add_multiple(&mut self) -> Result<()> {
        let options = self.add_options()?;
        let is_trusted = self.options.is_trusted;
        self.framed(|store, frames| {
            check_repair(is_trusted, &options)?;
            let dialect = Dialect::before_archives(store.store_dir());
            let mut frames = BufReader::with_capacity(64 * 1024, frames);
            for _ in 0..frames.read_number()? {
                let mut info = PathInfo::read(&mut frames, &dialect)?;
                info.info.ultimate = false;
                if info.nar_size == 0 {
                    return Err(StoreError::format("adding paths", "the size of a NAR is missing"));
                }
                let mut nar = (&mut frames).take(info.nar_size);
                store.add_nar(&info, &mut nar, &options)?;
                std::io::copy(&mut nar, &mut std::io::sink()).map_err(WireError::from)?;
            }
            Ok(())
        })?;
        Ok(())
    }

    pub(super) fn add_signatures(&mut self) -> Result<()> {
        let path: StorePath = self.read()?;
        let signatures: Vec<String> = read_signatures(&mut self.source)?.into_iter().collect();
        self.confirm(|| self.store.add_signatures(&path, &signatures))
    }

    /// Who is not trusted must bring a signature that counts.
    pub(super) fn register_realisation(&mut self) -> Result<()> {
        let protocol = self.tunnel.dialect().protocol;
        let realisation = if protocol.is_worker_since(31) || protocol.has_realisations_by_path() {
            self.read::<Realisation>()?
        } else {
            let id: DerivationOutputId = self.read()?;
            let name: String = self.read()?;
            let path = StorePath::from_base_name(&name).map_err(|error| WireError::malformed("store path", error))?;
            Realisation { id, path, signatures: BTreeSet::new() }
        };
        let check_signatures = !self.options.is_trusted;
        self.tunnel.work(|| self.store.register_realisations(&[realisation], check_signatures))?;
        Ok(())
    }

    pub(super) fn add_build_log(&mut self) -> Result<()> {
        let name: String = self.read()?;
        let path = StorePath::from_base_name(&name).map_err(|error| WireError::malformed("store path", error))?;
        let is_trusted = self.options.is_trusted;
        let done = self.framed(|store, frames| {
            if !is_trusted {
                return Err(refused("you are not privileged to add logs"));
            }
            let mut log = Vec::new();
            frames.take(LOG_LIMIT).read_to_end(&mut log).map_err(WireError::from)?;
            store.add_build_log(&path, &log)
        })?;
        match done {
            Some(()) => Ok(self.tunnel.answer(|sink, dialect| 1_u64.write(sink, dialect))?),
            None => Ok(()),
        }
    }
}

/// Repairing is not atomic: who is not trusted may not.
fn check_repair(is_trusted: bool, options: &AddOptions) -> Result<()> {
    if options.repair && !is_trusted {
        return Err(refused("repairing is not allowed because you are not in 'trusted-users'"));
    }
    Ok(())
}

/// Adds a file of unknown size.
fn add_file(store: &dyn Store, addressing: &Addressing<'_>, source: &mut dyn Read) -> Result<PathInfo> {
    let mut bytes = Vec::new();
    let n_read = Read::take(&mut *source, SPOOL_LIMIT).read_to_end(&mut bytes).map_err(WireError::from)?;
    if (n_read as u64) < SPOOL_LIMIT {
        return store.add_contents(addressing, Contents::Bytes(&bytes));
    }
    let spooling = |error| StoreError::io("writing", std::env::temp_dir(), error);
    let mut file = tempfile::NamedTempFile::new().map_err(spooling)?;
    file.write_all(&bytes).map_err(spooling)?;
    drop(bytes);
    std::io::copy(source, &mut file).map_err(spooling)?;
    store.add_contents(addressing, Contents::Tree { path: file.path(), filter: None })
}

fn old_addressing<'n>(name: &'n str, is_fixed: bool, recursive: u64, algorithm: &str) -> Result<Addressing<'n>> {
    let method = if recursive == 1 { ContentAddressMethod::Nar } else { ContentAddressMethod::Flat };
    if !is_fixed {
        return Ok(Addressing::source(name));
    }
    let algorithm: Algorithm =
        algorithm.parse().map_err(|error| StoreError::format("reading a hash algorithm", error))?;
    Ok(Addressing { name, method, algorithm, references: BTreeSet::new() })
}

/// An archive that stands in the middle of a connection, with nothing to say where it ends but itself.
struct NarSource<'r> {
    bytes: std::io::Cursor<Vec<u8>>,
    error: Option<StoreError>,
    _connection: std::marker::PhantomData<&'r ()>,
}

impl<'r> NarSource<'r> {
    fn new(connection: &'r mut dyn BufRead) -> NarSource<'r> {
        let mut bytes = Vec::new();
        let error = parse_nar(&mut Tee::new(connection, &mut bytes)).err();
        NarSource { bytes: std::io::Cursor::new(bytes), error, _connection: std::marker::PhantomData }
    }

    fn finish(self) -> Result<()> {
        self.error.map_or(Ok(()), Err)
    }
}

impl Read for NarSource<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.bytes.read(buffer)
    }
}

/// An archive that an old client sends in pieces, when it is asked for more.
struct AskingSource<'a, 't> {
    tunnel: &'a super::Tunnel<'t>,
    source: &'a mut dyn BufRead,
    rest: Vec<u8>,
    at: usize,
}

impl Read for AskingSource<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.rest.len() {
            let mut ask = || -> Result<Vec<u8>, WireError> {
                self.tunnel.ask_for_bytes(64 * 1024)?;
                self.source.read_bytes(DEFAULT_LIMIT)
            };
            self.rest = ask().map_err(std::io::Error::other)?;
            self.at = 0;
        }
        let n_read = (&self.rest[self.at..]).read(buffer)?;
        self.at += n_read;
        Ok(n_read)
    }
}
