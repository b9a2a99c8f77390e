//! The rules that a derivation makes for its own outputs: sizes, allowed and disallowed references and requisites.

use std::collections::{BTreeMap, BTreeSet};

use nixlang_store::derivation::options::{OutputCheck, OutputChecks, Reference};
use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::path::StorePath;
use nixlang_store::path_info::PathInfo;
use nixlang_store::store::Store;

use crate::error::BuildError;

/// Checks all outputs that a build made.
pub(super) fn check(
    store: &dyn Store,
    path: &StorePath,
    derivation: &Derivation,
    rules: &OutputChecks,
    outputs: &BTreeMap<OutputName, PathInfo>,
) -> Result<(), BuildError> {
    let by_path = outputs.values().map(|info| (&info.path, info)).collect();
    let checker = Checker { store, path, derivation, outputs, by_path };
    for (name, info) in outputs {
        if let Some(checks) = rules.for_output(name) {
            checker.apply(name, info, checks)?;
        }
    }
    Ok(())
}

struct Checker<'c> {
    store: &'c dyn Store,
    path: &'c StorePath,
    derivation: &'c Derivation,
    outputs: &'c BTreeMap<OutputName, PathInfo>,
    by_path: BTreeMap<&'c StorePath, &'c PathInfo>,
}

impl Checker<'_> {
    fn apply(&self, output: &str, info: &PathInfo, checks: &OutputCheck) -> Result<(), BuildError> {
        let path = self.store.store_dir().display(&info.path);
        let rejected = |message: String| Err(BuildError::OutputCheck { message });
        if let Some(limit) = checks.max_size
            && info.nar_size > limit
        {
            return rejected(format!("path '{path}' is too large at {} bytes; limit is {limit} bytes", info.nar_size));
        }
        let needs_closure = checks.max_closure_size.is_some()
            || checks.allowed_requisites.is_some()
            || !checks.disallowed_requisites.is_empty();
        let (mut closure, closure_size) = if needs_closure { self.closure(&info.path)? } else { Default::default() };
        if let Some(limit) = checks.max_closure_size
            && closure_size > limit
        {
            return rejected(format!(
                "closure of path '{path}' is too large at {closure_size} bytes; limit is {limit} bytes"
            ));
        }
        if checks.ignore_self_references {
            closure.remove(&info.path);
        }
        if let Some(allowed) = &checks.allowed_references {
            self.compare(output, &path, &info.references, allowed, true)?;
        }
        if let Some(allowed) = &checks.allowed_requisites {
            self.compare(output, &path, &closure, allowed, true)?;
        }
        if !checks.disallowed_references.is_empty() {
            self.compare(output, &path, &info.references, &checks.disallowed_references, false)?;
        }
        if !checks.disallowed_requisites.is_empty() {
            self.compare(output, &path, &closure, &checks.disallowed_requisites, false)?;
        }
        Ok(())
    }

    /// Returns the closure of an output, some of which is not registered yet, and the sum of its NARs.
    fn closure(&self, path: &StorePath) -> Result<(BTreeSet<StorePath>, u64), BuildError> {
        let mut closure = BTreeSet::from([path.clone()]);
        let mut size: u64 = 0;
        let mut level = vec![path.clone()];
        while !level.is_empty() {
            let unknown: Vec<StorePath> = level.iter().filter(|path| !self.by_path.contains_key(path)).cloned().collect();
            let mut infos: Vec<PathInfo> = Vec::with_capacity(level.len());
            for (info, path) in self.store.query_path_infos(&unknown)?.into_iter().zip(&unknown) {
                infos.push(info.ok_or_else(|| self.store.invalid(path))?);
            }
            infos.extend(level.iter().filter_map(|path| self.by_path.get(path)).map(|info| (*info).clone()));
            level.clear();
            for info in infos {
                size = size.saturating_add(info.nar_size);
                level.extend(info.info.references.into_iter().filter(|reference| closure.insert(reference.clone())));
            }
        }
        Ok((closure, size))
    }

    fn compare(
        &self,
        output: &str,
        path: &str,
        used: &BTreeSet<StorePath>,
        rule: &BTreeSet<Reference>,
        allowed: bool,
    ) -> Result<(), BuildError> {
        let mut named = BTreeSet::new();
        for reference in rule {
            match reference {
                Reference::Path(path) => named.insert(path.clone()),
                Reference::Output(name) => named.insert(self.output_path(output, name)?),
            };
        }
        let bad: Vec<&StorePath> = used.iter().filter(|path| named.contains(*path) != allowed).collect();
        if bad.is_empty() {
            return Ok(());
        }
        let mut message = format!("output '{path}' is not allowed to refer to the following paths:");
        for path in bad {
            message.push_str(&format!("\n  {}", self.store.store_dir().display(path)));
        }
        Err(BuildError::OutputCheck { message })
    }

    /// Returns the path of an output that a rule names.
    fn output_path(&self, output: &str, name: &str) -> Result<StorePath, BuildError> {
        if let Some(info) = self.outputs.get(name) {
            return Ok(info.path.clone());
        }
        // One that was valid already and not made again.
        if let Some(known) = self.derivation.outputs.get(name)
            && let Ok(Some(path)) = known.path(self.store.store_dir(), &self.derivation.name, name)
        {
            return Ok(path);
        }
        let names: Vec<&str> = self.derivation.outputs.keys().map(|name| name.as_str()).collect();
        Err(BuildError::OutputCheck {
            message: format!(
                "derivation '{}' output check for '{output}' contains output name '{name}', but this is not a valid \
                 output of this derivation. (Valid outputs are [{}].)",
                self.store.store_dir().display(self.path),
                names.join(", ")
            ),
        })
    }
}
