//! Questions about paths and outputs.

use std::collections::{BTreeMap, BTreeSet};

use super::Session;
use crate::content_address::ContentAddress;
use crate::derivation::OutputName;
use crate::error::{Result, StoreError};
use crate::hash::nix32;
use crate::path::StorePath;
use crate::realisation::{DerivationOutputId, Realisation};
use crate::store::realisation_in_either_form;
use crate::wire::message::Message;
use crate::wire::operations::Operation;
use crate::wire::{DEFAULT_LIMIT, WireRead, WireWrite};

impl Session<'_> {
    pub(super) fn is_valid_path(&mut self) -> Result<()> {
        let path: StorePath = self.read()?;
        self.reply(|| self.store.is_valid(&path))
    }

    pub(super) fn query(&mut self, operation: Operation) -> Result<()> {
        match operation {
            Operation::QueryReferrers => {
                let path: StorePath = self.read()?;
                self.reply(|| self.store.referrers(&path))
            }
            Operation::QueryValidDerivers => {
                let path: StorePath = self.read()?;
                self.reply(|| self.store.valid_derivers(&path))
            }
            Operation::QueryDerivationOutputs => {
                let path: StorePath = self.read()?;
                self.reply(|| {
                    let outputs = self.store.derivation_outputs(&path)?;
                    Ok(outputs.into_values().flatten().collect::<BTreeSet<StorePath>>())
                })
            }
            Operation::QueryDerivationOutputNames => {
                let path: StorePath = self.read()?;
                self.reply(|| {
                    let derivation = self.store.read_derivation(&path)?;
                    Ok(derivation.outputs.into_keys().collect::<Vec<OutputName>>())
                })
            }
            Operation::QueryDerivationOutputMap => {
                let path: StorePath = self.read()?;
                self.reply(|| self.store.derivation_outputs(&path))
            }
            Operation::QuerySubstitutablePaths => {
                let paths: Vec<StorePath> = self.read()?;
                self.reply(|| self.service.available_paths(&paths, self.tunnel))
            }
            Operation::QueryDeriver => {
                let path: StorePath = self.read()?;
                self.reply(|| Ok(self.store.path_info(&path)?.info.deriver))
            }
            Operation::QueryPathFromHashPart => {
                let text = self.source.read_bytes(DEFAULT_LIMIT)?;
                self.reply(|| {
                    let context = "reading a hash part";
                    let bytes = nix32::decode(&text).map_err(|error| StoreError::format(context, error))?;
                    let hash_part = <[u8; 20]>::try_from(bytes)
                        .map_err(|bytes| StoreError::format(context, format!("{} bytes instead of 20", bytes.len())))?;
                    self.store.path_from_hash_part(&hash_part)
                })
            }
            Operation::QueryAllValidPaths => self.reply(|| self.store.all_valid_paths()),
            Operation::QueryPathInfo => self.path_info(),
            Operation::QueryValidPaths => self.valid_paths(),
            Operation::QueryRealisation => self.realisation(),
            Operation::NarFromPath => self.nar_from_path(),
            _ => unreachable!("not a question"),
        }
    }

    fn path_info(&mut self) -> Result<()> {
        let path: StorePath = self.read()?;
        let Some(info) = self.tunnel.work(|| self.store.query_path_info(&path))? else { return Ok(()) };
        Ok(self.tunnel.answer(|sink, dialect| {
            sink.write_flag(info.is_some())?;
            info.map_or(Ok(()), |info| info.info.write(sink, dialect))
        })?)
    }

    fn valid_paths(&mut self) -> Result<()> {
        let paths: Vec<StorePath> = self.read()?;
        let substitute = self.tunnel.dialect().protocol.is_worker_since(27) && self.source.read_flag()?;
        self.reply(|| {
            if substitute {
                self.service.substitute_paths(&paths, self.tunnel)?;
            }
            let valid = self.store.are_valid(&paths)?;
            let valid = paths.iter().zip(valid).filter(|(_, valid)| *valid).map(|(path, _)| path.clone());
            Ok(valid.collect::<BTreeSet<StorePath>>())
        })
    }

    fn realisation(&mut self) -> Result<()> {
        let id: DerivationOutputId = self.read()?;
        if self.tunnel.dialect().protocol.has_realisations_by_path() {
            let unkeyed = |known: Realisation| known.unkeyed();
            return self.reply(|| Ok(realisation_in_either_form(self.store, &id)?.map(unkeyed)));
        }
        if self.tunnel.dialect().protocol.is_worker_since(31) {
            self.reply(|| Ok(self.store.query_realisation(&id)?.into_iter().collect::<Vec<Realisation>>()))
        } else {
            self.reply(|| Ok(self.store.query_realisation(&id)?.map(|known| known.path).into_iter().collect::<Vec<_>>()))
        }
    }

    /// The archive comes behind the end of the messages, so that an error can only be told by ending the connection.
    fn nar_from_path(&mut self) -> Result<()> {
        let path: StorePath = self.read()?;
        if self.tunnel.work(|| self.store.path_info(&path).map(drop))?.is_none() {
            return Ok(());
        }
        self.tunnel.stream(|sink| self.store.write_nar(&path, sink))
    }

    pub(super) fn substitutable_infos(&mut self, operation: Operation) -> Result<()> {
        if operation == Operation::QuerySubstitutablePathInfo {
            let path: StorePath = self.read()?;
            let wanted = [(path.clone(), None)].into();
            let infos = self.tunnel.work(|| self.service.substitutable_infos(&wanted, self.tunnel))?;
            let Some(mut infos) = infos else { return Ok(()) };
            return Ok(self.tunnel.answer(|sink, dialect| {
                let info = infos.remove(&path);
                sink.write_flag(info.is_some())?;
                info.map_or(Ok(()), |info| info.write(sink, dialect))
            })?);
        }
        let wanted: BTreeMap<StorePath, Option<ContentAddress>> =
            if self.tunnel.dialect().protocol.is_worker_since(22) {
                self.read()?
            } else {
                self.read::<Vec<StorePath>>()?.into_iter().map(|path| (path, None)).collect()
            };
        self.reply(|| self.service.substitutable_infos(&wanted, self.tunnel))
    }
}
