//! Roots, collections, order.

use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::{Session, refused};
use crate::error::{Result, StoreError};
use crate::path::StorePath;
use crate::store::{GcAction, VerifyOptions};
use crate::wire::operations::{self, GcRequest, Operation};
use crate::wire::{DEFAULT_LIMIT, WireRead, WireWrite};

/// What stands for a place that a client may not know.
const CENSORED: &str = "{censored}";

impl Session<'_> {
    pub(super) fn roots(&mut self, operation: Operation) -> Result<()> {
        match operation {
            Operation::AddTempRoot => {
                let path: StorePath = self.read()?;
                self.confirm(|| self.store.add_temp_roots(std::slice::from_ref(&path)))
            }
            Operation::AddIndirectRoot => {
                let link = self.absolute_path()?;
                self.confirm(|| self.store.add_indirect_root(&link))
            }
            Operation::AddPermRoot => {
                let path: StorePath = self.read()?;
                let link = self.absolute_path()?;
                self.reply(|| {
                    self.require_trust(
                        "you are not privileged to create perm roots\n\nhint: you can just do this client-side \
                         without special privileges, and probably want to do that instead.",
                    )?;
                    self.store.add_permanent_root(&path, &link)?;
                    Ok(link.into_os_string().into_vec())
                })
            }
            Operation::SyncWithGC => self.confirm(|| Ok(())),
            Operation::FindRoots => self.find_roots(),
            _ => unreachable!("not about roots"),
        }
    }

    fn absolute_path(&mut self) -> Result<PathBuf> {
        let bytes = self.source.read_bytes(DEFAULT_LIMIT)?;
        let path = PathBuf::from(std::ffi::OsString::from_vec(bytes));
        if path.is_absolute() {
            Ok(path)
        } else {
            Err(StoreError::format("reading a root", format!("path {} is not absolute", path.display())))
        }
    }

    fn find_roots(&mut self) -> Result<()> {
        let Some(roots) = self.tunnel.work(|| self.store.find_roots(&mut |_| {}))? else { return Ok(()) };
        let is_trusted = self.options.is_trusted;
        let mut lines: Vec<(String, StorePath)> = Vec::new();
        for (path, links) in roots {
            let mut has_hidden = false;
            for link in links {
                // Those of processes and of work in progress are nobody else's business.
                let is_hidden = !is_trusted && (link.starts_with('{') || link.starts_with("/proc/"));
                if is_hidden && std::mem::replace(&mut has_hidden, true) {
                    continue;
                }
                lines.push((if is_hidden { CENSORED.to_owned() } else { link }, path.clone()));
            }
        }
        Ok(self.tunnel.answer(|sink, dialect| {
            use crate::wire::message::Message;
            sink.write_number(lines.len() as u64)?;
            lines.iter().try_for_each(|(link, path)| {
                sink.write_bytes(link.as_bytes())?;
                path.write(sink, dialect)
            })
        })?)
    }

    pub(super) fn collect_garbage(&mut self) -> Result<()> {
        let request: GcRequest = self.read()?;
        let results = self.tunnel.work(|| {
            if request.ignore_liveness {
                return Err(refused("you are not allowed to ignore liveness"));
            }
            let action = match request.action {
                operations::GcAction::ReturnLive => GcAction::ReturnLive,
                operations::GcAction::ReturnDead => GcAction::ReturnDead,
                operations::GcAction::DeleteDead | operations::GcAction::DeleteSpecific => match &request.among {
                    Some(among) => GcAction::DeletePaths {
                        paths: among.paths.clone(),
                        ignore_liveness: false,
                        skip_live: request.action == operations::GcAction::DeleteDead,
                        also_referrers: among.also_referrers,
                    },
                    None if request.action == operations::GcAction::DeleteDead => GcAction::DeleteDead,
                    None => return Err(refused("the whole store can't be deleted")),
                },
            };
            let mut options = self.service.gc_options(action);
            options.max_freed = request.max_freed;
            let mut results = self.store.collect_garbage(&options, &mut |_| {})?;
            if let (operations::GcAction::ReturnLive | operations::GcAction::ReturnDead, Some(among)) = (request.action, &request.among) {
                let dir = self.store.store_dir();
                results.paths.retain(|path| dir.parse(path).is_ok_and(|path| among.paths.contains(&path)));
            }
            Ok(results)
        })?;
        let Some(results) = results else { return Ok(()) };
        Ok(self.tunnel.answer(|sink, _| {
            sink.write_list(&results.paths)?;
            sink.write_number(results.bytes_freed)?;
            Ok(sink.write_number(0)?)
        })?)
    }

    pub(super) fn optimise(&mut self) -> Result<()> {
        self.confirm(|| self.store.optimise(&mut |_| {}).map(drop))
    }

    pub(super) fn verify(&mut self) -> Result<()> {
        let check_contents: bool = self.read()?;
        let repair: bool = self.read()?;
        self.reply(|| {
            if repair {
                self.require_trust("you are not privileged to repair paths")?;
            }
            let mut options = VerifyOptions::new(check_contents);
            options.repair = repair;
            let is_right = self.store.verify(&options, &mut |event| {
                if event.is_error() {
                    use crate::wire::log::{LogMessage, LogSink};
                    let text = format!("{}\n", event_text(self.store.store_dir(), &event));
                    self.tunnel.log(&LogMessage::Text(text.into_bytes()));
                }
            })?;
            Ok(!is_right)
        })
    }
}

/// The reference's words for what a verification found.
fn event_text(dir: &crate::path::StoreDir, event: &crate::store::VerifyEvent) -> String {
    use crate::store::VerifyEvent;
    match event {
        VerifyEvent::DisappearedInUse { path } => {
            format!("path '{}' disappeared, but it still has valid referrers!", dir.display(path))
        }
        VerifyEvent::Modified { path, expected, got } => {
            format!("path '{}' was modified! expected hash '{expected}', got '{got}'", dir.display(path))
        }
        VerifyEvent::LinkModified { name, got } => {
            format!("link '{name}' was modified! expected hash '{name}', got '{got}'")
        }
        VerifyEvent::Unreadable { path, error } => format!("error: path '{}': {error}", dir.display(path)),
        other => format!("{other:?}"),
    }
}
