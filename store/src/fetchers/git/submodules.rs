//! Submodules: fetched like any other repository, and put in the places where the outer tree has empty directories.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::Path;

use super::super::command::{Git, output};
use super::super::{FetchError, FetchResult, Fetchers, Found, Source, spool_to_read};
use super::tree::list;
use super::{Reading, program_failed};
use crate::error::StoreError;
use crate::extract::splice;
use crate::input::{Attr, Attrs, Input, Reader, git_url};
use crate::store::Store;

/// An entry of `.gitmodules`.
#[derive(Clone, Debug)]
pub(super) struct Submodule {
    /// Its place, without a slash at either end.
    pub(super) path: Vec<u8>,
    pub(super) url: String,
    pub(super) branch: String,
}

const PATTERN: &str = r"^submodule\..*\.(path|url|branch)$";

fn parse(bytes: &[u8]) -> Vec<Submodule> {
    let mut entries: BTreeMap<String, String> = BTreeMap::new();
    for entry in bytes.split(|byte| *byte == 0).filter(|entry| !entry.is_empty()) {
        let text = String::from_utf8_lossy(entry);
        let (key, value) = text.split_once('\n').unwrap_or((&text, ""));
        // The first of several counts.
        entries.entry(key.strip_prefix("submodule.").unwrap_or(key).to_owned()).or_insert_with(|| value.to_owned());
    }
    let of = |name: &str, key: &str| entries.get(&format!("{name}.{key}")).cloned().unwrap_or_default();
    let names = entries.iter().filter_map(|(key, path)| Some((key.strip_suffix(".path")?, path)));
    names
        .map(|(name, path)| {
            let components = path.split('/').filter(|component| !matches!(*component, "" | "." | ".."));
            let path = components.collect::<Vec<_>>().join("/").into_bytes();
            Submodule { path, url: of(name, "url"), branch: of(name, "branch") }
        })
        .collect()
}

/// Reads a file of submodules.
pub(super) fn of_file(git: &Git, file: &Path) -> FetchResult<Vec<Submodule>> {
    let mut command = git.command("config");
    command.arg("--file").arg(file).args(["-z", "--get-regexp", PATTERN]);
    answer(output(&mut command, None)?)
}

/// Returns the submodules of a commit with theirs. Entries of which the tree knows nothing are left out.
pub(super) fn of_commit(git: &Git, revision: &str) -> FetchResult<Vec<(Submodule, String)>> {
    let listed = list(git, revision)?;
    if !listed.iter().any(|entry| entry.path == b".gitmodules") {
        return Ok(Vec::new());
    }
    let found = answer(git.output("config", ["--blob", &format!("{revision}:.gitmodules"), "-z", "--get-regexp", PATTERN])?)?;
    let commits: BTreeMap<&[u8], &str> =
        listed.iter().filter(|entry| entry.mode == "160000").map(|entry| (&entry.path[..], entry.id.as_str())).collect();
    Ok(found.into_iter().filter_map(|submodule| commits.get(&submodule.path[..]).map(|id| (submodule.clone(), (*id).to_owned()))).collect())
}

fn answer(output: super::super::command::Output) -> FetchResult<Vec<Submodule>> {
    match output.status.code() {
        Some(0) => Ok(parse(&output.stdout)),
        // Nothing matched.
        Some(1) => Ok(Vec::new()),
        _ => program_failed("config", &output),
    }
}

/// Returns the input of a submodule that is checked out.
pub(super) fn local_input(place: &Path, reading: Reading) -> FetchResult<Input> {
    let attrs = [
        ("type", Attr::from("git")),
        ("url", Attr::from(place.display().to_string())),
        ("exportIgnore", Attr::Bool(reading.export_ignore)),
        ("submodules", Attr::Bool(true)),
    ];
    input(attrs.into_iter().map(|(name, attr)| (name.to_owned(), attr)).collect())
}

fn input(attrs: Attrs) -> FetchResult<Input> {
    Ok(Input::from_attrs(attrs, &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} })?)
}

/// Returns where a submodule is. What begins with a dot starts from where the outer repository came from, or is.
fn resolve_url(git: &Git, url: &str) -> FetchResult<String> {
    if !url.starts_with("./") && !url.starts_with("../") {
        return Ok(url.to_owned());
    }
    let remote = git.output("config", ["--get", "remote.origin.url"])?;
    let mut base = if remote.status.success() { remote.line() } else { git.dir().display().to_string() };
    base.truncate(base.trim_end_matches('/').len());
    let mut rest = url;
    loop {
        if let Some(next) = rest.strip_prefix("./") {
            rest = next;
        } else if let Some(next) = rest.strip_prefix("../") {
            rest = next;
            let end = base.rfind(['/', ':']).ok_or_else(|| FetchError::refused(format!("resolving Git submodule URL '{url}'")))?;
            base.truncate(end);
        } else {
            return Ok(format!("{base}/{rest}"));
        }
    }
}

impl Fetchers {
    pub(super) fn write_with_submodules(
        &self,
        store: &dyn Store,
        git: &Git,
        outer: &Input,
        submodules: Vec<(Submodule, String)>,
        sink: &mut dyn Write,
        write: &mut dyn FnMut(&mut dyn Write) -> FetchResult<()>,
    ) -> FetchResult<()> {
        let mut mounted = Vec::new();
        for (submodule, revision) in submodules {
            let resolved = resolve_url(git, &submodule.url)?;
            let reader = &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} };
            let mut attrs: Attrs = [
                ("type", Attr::from("git")),
                ("url", Attr::from(git_url(&resolved, reader)?.to_string())),
                ("rev", Attr::from(revision)),
                ("exportIgnore", Attr::Bool(outer.is_on("exportIgnore")?)),
                ("submodules", Attr::Bool(true)),
                ("lfs", Attr::Bool(outer.is_on("lfs")?)),
                ("allRefs", Attr::Bool(true)),
            ]
            .map(|(name, attr)| (name.to_owned(), attr))
            .into();
            match submodule.branch.as_str() {
                "" => {}
                // The branch of the outer repository.
                "." => drop(attrs.insert("ref".into(), outer.text("ref").unwrap_or("HEAD").into())),
                branch => drop(attrs.insert("ref".into(), branch.into())),
            }
            mounted.push((submodule.path, self.find(store, &input(attrs)?)?.0));
        }
        if mounted.is_empty() {
            return write(sink);
        }
        self.write_mounted(store, &mounted, sink, write)
    }

    /// Writes a tree with other trees in some places of it.
    pub(super) fn write_mounted(
        &self,
        store: &dyn Store,
        mounted: &[(Vec<u8>, Found<'_>)],
        sink: &mut dyn Write,
        write: &mut dyn FnMut(&mut dyn Write) -> FetchResult<()>,
    ) -> FetchResult<()> {
        let mut outer = spool_to_read(write)?;
        let mut mounts: BTreeMap<Vec<u8>, Box<dyn BufRead>> = BTreeMap::new();
        for (place, found) in mounted {
            let inner = match &found.source {
                Source::Stored(path) => spool_to_read(&mut |sink| Ok(store.write_nar(path, sink)?))?,
                Source::Nar(write) => spool_to_read(&mut |sink| write(sink))?,
            };
            mounts.insert(place.clone(), Box::new(inner));
        }
        splice(&mut outer, &mut mounts, sink).map_err(|error| FetchError::Store(StoreError::format("writing a NAR", error)))
    }
}
