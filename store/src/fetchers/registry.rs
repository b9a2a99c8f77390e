//! Registries: tables from names (`nixpkgs`) to inputs that say where to fetch from.

use std::path::Path;

use super::{FetchError, FetchResult, Fetchers, Observer};
use crate::input::{Attrs, Input, InputError, Reader};
use crate::store::Store;

/// An entry.
#[derive(Clone, Debug)]
pub struct Entry {
    /// What it stands for.
    pub from: Input,
    /// What is meant by it.
    pub to: Input,
    /// Attributes that belong to the flake and not to fetching it, such as `dir`.
    pub extra: Attrs,
    /// Whether an input with another branch or commit is another one.
    pub is_exact: bool,
}

/// One table.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// Its entries; the first that fits counts.
    pub entries: Vec<Entry>,
}

/// The tables that are asked, in this order.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// Of the command line.
    pub flag: Registry,
    /// The user's.
    pub user: Registry,
    /// The system's.
    pub system: Registry,
    /// Everybody's.
    pub global: Registry,
}

#[derive(serde::Deserialize)]
struct File {
    #[serde(default)]
    version: u64,
    flakes: Option<Vec<FileEntry>>,
}

#[derive(serde::Deserialize)]
struct FileEntry {
    from: Attrs,
    to: Attrs,
    #[serde(default)]
    exact: bool,
}

fn input(attrs: Attrs) -> Result<Input, InputError> {
    Input::from_attrs(attrs, &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} })
}

impl Registry {
    /// Reads a table. `shown` is what an error calls it.
    ///
    /// # Errors
    /// When it doesn't parse or is of another version than 2.
    pub fn parse(text: &[u8], shown: &str) -> FetchResult<Registry> {
        let file: File =
            serde_json::from_slice(text).map_err(|error| FetchError::refused(format!("cannot parse flake registry '{shown}': {error}")))?;
        if file.version != 2 {
            return Err(FetchError::refused(format!(
                "cannot read flake registry '{shown}': flake registry '{shown}' has unsupported version {}",
                file.version
            )));
        }
        let wrong = |error: InputError| FetchError::refused(format!("cannot read flake registry '{shown}': {error}"));
        let entries = file.flakes.into_iter().flatten().map(|entry| {
            let mut to = entry.to;
            let extra = to.remove_entry("dir").into_iter().collect();
            Ok(Entry { from: input(entry.from).map_err(wrong)?, to: input(to).map_err(wrong)?, extra, is_exact: entry.exact })
        });
        Ok(Registry { entries: entries.collect::<FetchResult<_>>()? })
    }

    /// Reads a file; one that isn't there is an empty table, and of one that is wrong the observer hears.
    pub fn read(path: &Path, observer: &dyn Observer) -> Registry {
        let Ok(text) = std::fs::read(path) else { return Registry::default() };
        Registry::parse(&text, &path.display().to_string()).unwrap_or_else(|error| {
            observer.warn(&error.to_string());
            Registry::default()
        })
    }

    /// Returns the table as it is written to a file.
    pub fn to_text(&self) -> String {
        let entry = |entry: &Entry| {
            let to: Attrs = entry.to.attrs().clone().into_iter().chain(entry.extra.clone()).collect();
            let mut json = serde_json::json!({ "from": entry.from.attrs(), "to": to });
            if entry.is_exact {
                json["exact"] = true.into();
            }
            json
        };
        let flakes = match self.entries.is_empty() {
            true => serde_json::Value::Null,
            false => self.entries.iter().map(entry).collect(),
        };
        crate::json::to_string_pretty(&serde_json::json!({ "version": 2, "flakes": flakes }))
    }

    /// Returns what an input stands for here.
    fn lookup(&self, wanted: &Input) -> FetchResult<Option<(Input, Attrs)>> {
        for Entry { from, to, extra, is_exact } in &self.entries {
            if *is_exact {
                if from == wanted {
                    return Ok(Some((to.clone(), extra.clone())));
                }
            } else if from.contains(wanted) {
                let name = wanted.text("ref").filter(|_| from.text("ref").is_none());
                let revision = if from.text("rev").is_none() { wanted.revision_text()? } else { None };
                return Ok(Some((to.with_overrides(name, revision.as_deref())?, extra.clone())));
            }
        }
        Ok(None)
    }
}

impl Registries {
    /// Looks an input up until it says where to fetch from. `only_fixed` leaves out the user's and the system's tables, which differ from
    /// machine to machine. Returns the attributes beside it too.
    ///
    /// # Errors
    /// When no table has it, or they have it in a circle.
    pub fn resolve(&self, wanted: &Input, only_fixed: bool) -> FetchResult<(Input, Attrs)> {
        let (mut input, mut extra) = (wanted.clone(), Attrs::new());
        let tables = [(&self.flag, true), (&self.user, false), (&self.system, false), (&self.global, true)];
        for _ in 0..100 {
            let mut found = None;
            for (table, is_fixed) in tables {
                if (is_fixed || !only_fixed) && found.is_none() {
                    found = table.lookup(&input)?;
                }
            }
            match found {
                Some(next) => (input, extra) = next,
                None if input.is_direct() => return Ok((input, extra)),
                None => return Err(FetchError::refused(format!("cannot find flake '{input}' in the flake registries"))),
            }
        }
        Err(FetchError::refused(format!("cycle detected in flake registry for '{input}'")))
    }
}

impl Fetchers {
    /// Returns everybody's registry: a local file by its path, or downloaded; an empty one for an empty address.
    ///
    /// # Errors
    /// When it can't be had.
    pub fn global_registry(&self, store: &dyn Store, address: &str) -> FetchResult<Registry> {
        if address.is_empty() {
            return Ok(Registry::default());
        }
        if address.starts_with('/') {
            return Ok(Registry::read(Path::new(address), &*self.observer));
        }
        let file = self.download(store, address, "flake-registry.json", &[])?;
        if let Err(error) = store.add_permanent_root(&file.path, &self.options.cache_dir.join("flake-registry.json")) {
            self.observer.warn(&format!("cannot keep the flake registry: {error}"));
        }
        Registry::parse(&store.read_file(&file.path)?, address).or_else(|error| {
            self.observer.warn(&error.to_string());
            Ok(Registry::default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::url::Url;

    fn named(text: &str) -> Input {
        let reader = &mut Reader { has_feature: &|_| true, dubious: &mut |_| {} };
        Input::from_url(&Url::parse(text, reader.dubious).unwrap(), true, reader).unwrap()
    }

    #[test]
    fn names_are_resolved() {
        let text = br#"{"version":2,"flakes":[
            {"from":{"type":"indirect","id":"a"},"to":{"type":"indirect","id":"b"}},
            {"from":{"type":"indirect","id":"b"},"to":{"type":"github","owner":"o","repo":"r","dir":"d"}},
            {"from":{"type":"indirect","id":"x"},"to":{"type":"indirect","id":"y"}},
            {"from":{"type":"indirect","id":"y"},"to":{"type":"indirect","id":"x"}},
            {"from":{"type":"indirect","id":"e"},"exact":true,"to":{"type":"path","path":"/p"}}]}"#;
        let registries = Registries { global: Registry::parse(text, "r").unwrap(), ..Registries::default() };
        let resolve = |text: &str| registries.resolve(&named(text), true).map_or_else(|error| error.to_string(), |(input, _)| input.to_string());
        assert_eq!(resolve("flake:a"), "github:o/r");
        assert_eq!(resolve("flake:a/main"), "github:o/r/main");
        assert_eq!(registries.resolve(&named("flake:b"), true).unwrap().1["dir"].to_string(), "d");
        assert_eq!(resolve("flake:e"), "path:/p");
        assert_eq!(resolve("flake:e/main"), "cannot find flake 'flake:e/main' in the flake registries");
        assert!(resolve("flake:x").starts_with("cycle detected in flake registry for 'flake:"));
        assert_eq!(resolve("github:o/other"), "github:o/other");
        assert_eq!(Registry::parse(b"{}", "r").unwrap_err().to_string(), "cannot read flake registry 'r': flake registry 'r' has unsupported version 0");
    }
}
