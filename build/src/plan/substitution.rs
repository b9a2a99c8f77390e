//! What need not be built because somebody has it.
//!
//! An output is fetched with all that it refers to, or not at all; and if one wanted output of a derivation has to be
//! made, all are.

use std::collections::BTreeMap;

use nixlang_store::derivation::{DerivationOutput, OutputName};
use nixlang_store::path::StorePath;
use nixlang_store::realisation::Realisation;
use nixlang_store::store::Store;
use nixlang_store::substituter::{ContentAddresses, Substituters};

use super::Planner;
use crate::error::BuildError;
use crate::options::BuildMode;
use crate::prepare;

/// What is wanted of one derivation and not valid.
#[derive(Default)]
struct Missing {
    paths: Vec<StorePath>,
    realisations: Vec<(OutputName, Realisation)>,
    must_build: bool,
}

impl Planner<'_> {
    fn substituters(&self) -> Option<&Substituters> {
        let substituters = self.options.substituters.as_deref().filter(|substituters| !substituters.is_empty())?;
        (self.options.mode == BuildMode::Normal).then_some(substituters)
    }

    /// Plans to fetch paths that nothing here makes. Returns those that nobody has.
    pub(super) fn fetch_sources(&mut self, mut missing: Vec<StorePath>) -> Result<Vec<StorePath>, BuildError> {
        let plan = &mut *self.plan;
        let is_offered = |path: &StorePath| plan.substitution.offers.contains_key(path) && !plan.refused.contains(path);
        plan.sources.extend(missing.iter().filter(|path| is_offered(path)).cloned());
        missing.retain(|path| !is_offered(path));
        if missing.is_empty() {
            return Ok(missing);
        }
        let Some(substituters) = self.substituters() else { return Ok(missing) };
        let asked: Vec<StorePath> = missing.iter().filter(|path| !self.plan.refused.contains(*path)).cloned().collect();
        let found = substituters.plan(self.store, &asked)?;
        self.plan.substitution.unavailable.extend(found.unavailable.iter().cloned());
        self.plan.substitution.take(&found, &asked);
        self.plan.sources.extend(missing.iter().filter(|path| found.offers.contains_key(path)).cloned());
        missing.retain(|path| !found.offers.contains_key(path));
        Ok(missing)
    }

    /// Plans to fetch what can be fetched of wanted outputs: `invalid` have these paths, of `nameless` only a substituter
    /// can know. Returns the derivations that have to be built. Those of `forced` are built anyway.
    pub(super) fn fetch_instead(
        &mut self,
        invalid: Vec<(StorePath, StorePath)>,
        nameless: Vec<(StorePath, OutputName)>,
        forced: &[StorePath],
    ) -> Result<Vec<StorePath>, BuildError> {
        let mut missing: BTreeMap<StorePath, Missing> = BTreeMap::new();
        for (derivation, path) in invalid {
            missing.entry(derivation).or_default().paths.push(path);
        }
        let mut unknown: BTreeMap<StorePath, Vec<OutputName>> = BTreeMap::new();
        for (derivation, name) in nameless {
            missing.entry(derivation.clone()).or_default();
            unknown.entry(derivation).or_default().push(name);
        }
        let Some(substituters) = self.substituters() else { return Ok(missing.into_keys().collect()) };
        let dir = self.store.store_dir();
        let mut asked = Vec::new();
        let mut addresses = ContentAddresses::new();
        for (path, missing) in &mut missing {
            let node = &self.plan.nodes[path];
            if let (Some(DerivationOutput::Fixed(address)), [path]) = (node.derivation.outputs.get("out"), &missing.paths[..]) {
                addresses.insert(path.clone(), *address);
            }
            let is_allowed = !node.must_build
                && !forced.contains(path)
                && (self.options.always_allow_substitutes
                    || prepare::read_options(dir, path, &node.derivation)?.allow_substitutes);
            if !is_allowed {
                missing.must_build = true;
                continue;
            }
            if let Some(names) = unknown.get(path) {
                let found = self.known.ask(substituters, path, &node.derivation, names)?;
                missing.must_build = found.len() < names.len();
                missing.paths.extend(found.values().map(|realisation| realisation.path.clone()));
                missing.realisations.extend(found);
            }
            missing.must_build |= missing.paths.iter().any(|path| self.plan.refused.contains(path));
            if !missing.must_build {
                asked.extend(missing.paths.iter().cloned());
            }
        }
        self.store.add_temp_roots(&asked)?;
        // An output that only a substituter knew by name may be here.
        let valid = self.store.are_valid(&asked)?;
        let asked: Vec<StorePath> = asked.into_iter().zip(valid).filter(|(_, valid)| !valid).map(|(path, _)| path).collect();
        let found = if asked.is_empty() {
            Default::default()
        } else {
            substituters.plan_addressed(self.store, &asked, &addresses)?
        };
        self.plan.substitution.unavailable.extend(found.unavailable.iter().cloned());
        let mut must_build = Vec::new();
        for (derivation, missing) in missing {
            let is_obtainable = |path: &StorePath| found.offers.contains_key(path) || !asked.contains(path);
            if missing.must_build || !missing.paths.iter().all(is_obtainable) {
                must_build.push(derivation);
                continue;
            }
            self.plan.substitution.take(&found, &missing.paths);
            let node = self.plan.nodes.get_mut(&derivation).expect("every question is about a node");
            node.is_fetched = true;
            for (name, realisation) in missing.realisations {
                node.outputs.insert(name, Some(realisation.path.clone()));
                self.plan.realisations.push(realisation);
            }
        }
        Ok(must_build)
    }
}
