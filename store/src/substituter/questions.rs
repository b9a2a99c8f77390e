//! What substituters are asked before anything is fetched: what they have, what is known about it, which paths outputs are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{ContentAddresses, Offer, Opened, Substituter, Substituters};
use crate::content_address::{ContentAddress, ContentAddressWithReferences};
use crate::local::LocalStore;
use crate::path::{StoreDir, StorePath};
use crate::path_info::PathInfo;
use crate::realisation::{DerivationOutputId, Realisation};
use crate::store::Store as _;
use crate::wire::operations::SubstitutableInfo;

impl Substituters {
    /// Returns what is offered for these paths and would be accepted by `store`. Substituters whose paths lie in another
    /// directory are asked only for those whose content address is in `addresses`.
    pub fn query(&self, store: &LocalStore, paths: &[StorePath], addresses: &ContentAddresses) -> HashMap<StorePath, Offer> {
        self.offers(store.store_dir(), paths, addresses, &|opened, info| {
            let accepts = opened.substituter.is_trusted || store.accepts(info);
            if !accepts {
                self.observer.unsigned(&opened.address, &info.path);
            }
            accepts
        })
    }

    /// Returns what is known of these paths, whoever signed it or not: what a daemon tells its clients, who decide for
    /// themselves. Where the content address of a path is given it may have another name in a substituter.
    pub fn infos(
        &self,
        store_dir: &StoreDir,
        paths: &BTreeMap<StorePath, Option<ContentAddress>>,
    ) -> BTreeMap<StorePath, SubstitutableInfo> {
        let wanted: Vec<StorePath> = paths.keys().cloned().collect();
        let addresses = paths.iter().filter_map(|(path, address)| Some((path.clone(), *address.as_ref()?))).collect();
        let offers = self.offers(store_dir, &wanted, &addresses, &|_, _| true);
        let info = |Offer { info, download_size }: Offer| SubstitutableInfo {
            deriver: info.info.deriver,
            references: info.info.references,
            download_size,
            nar_size: info.info.nar_size,
        };
        offers.into_iter().map(|(path, offer)| (path, info(offer))).collect()
    }

    /// Asks one after the other for what the earlier ones had not, or not so that `accepts` it.
    fn offers(
        &self,
        store_dir: &StoreDir,
        paths: &[StorePath],
        addresses: &ContentAddresses,
        accepts: &dyn Fn(&Opened, &PathInfo) -> bool,
    ) -> HashMap<StorePath, Offer> {
        let mut offers: HashMap<StorePath, Offer> = HashMap::new();
        let mut missing: Vec<StorePath> = paths.to_vec();
        self.each(|opened| {
            let other = &opened.substituter.store;
            let named: Vec<(&StorePath, StorePath)> = missing
                .iter()
                .filter_map(|path| Some((path, name_there(store_dir, other.store_dir(), path, addresses.get(path))?)))
                .collect();
            let asked: Vec<StorePath> = named.iter().map(|(_, there)| there.clone()).collect();
            for ((path, there), offer) in named.into_iter().zip(opened.substituter.query(&asked)?) {
                let Some((mut info, download_size)) = offer else { continue };
                if there != *path {
                    if info.content_address.as_ref() != addresses.get(path) || !info.references.is_empty() {
                        continue;
                    }
                    info.path = path.clone();
                }
                if accepts(opened, &info) {
                    offers.insert(path.clone(), Offer { info, download_size });
                }
            }
            missing.retain(|path| !offers.contains_key(path));
            Ok(!missing.is_empty())
        });
        offers
    }

    /// Returns which of these paths of `store_dir` those substituters have that may be asked about many.
    pub fn available(&self, store_dir: &StoreDir, paths: &[StorePath]) -> BTreeSet<StorePath> {
        let mut found = BTreeSet::new();
        self.each(|opened| {
            let Substituter { store: other, .. } = &opened.substituter;
            if !opened.substituter.wants_mass_query() || other.store_dir() != store_dir {
                return Ok(true);
            }
            let asked: Vec<StorePath> = paths.iter().filter(|path| !found.contains(*path)).cloned().collect();
            let valid = other.are_valid(&asked)?;
            found.extend(asked.into_iter().zip(valid).filter_map(|(path, valid)| valid.then_some(path)));
            Ok(found.len() < paths.len())
        });
        found
    }

    /// Returns which paths these outputs are, where somebody knows whom `store` would believe.
    pub fn query_realisations(&self, store: &LocalStore, ids: &[DerivationOutputId]) -> Vec<Option<Realisation>> {
        let mut found: Vec<Option<Realisation>> = vec![None; ids.len()];
        self.each(|opened| {
            let missing: Vec<usize> = (0..ids.len()).filter(|idx| found[*idx].is_none()).collect();
            let asked: Vec<DerivationOutputId> = missing.iter().map(|idx| ids[*idx].clone()).collect();
            for (idx, realisation) in missing.into_iter().zip(opened.substituter.store.query_realisations(&asked)?) {
                let is_believed = |realisation: &Realisation| {
                    let options = store.options();
                    opened.substituter.is_trusted
                        || !options.require_signatures
                        || realisation.n_good_signatures(&options.trusted_keys) > 0
                };
                found[idx] = realisation.filter(is_believed);
            }
            Ok(found.iter().any(Option::is_none))
        });
        found
    }
}

/// Returns what a path is called in another directory, if that can be known.
pub(super) fn name_there(
    here: &StoreDir,
    there: &StoreDir,
    path: &StorePath,
    address: Option<&ContentAddress>,
) -> Option<StorePath> {
    if there == here {
        return Some(path.clone());
    }
    let ContentAddress { method, hash } = address?;
    let content = ContentAddressWithReferences::without_references(*method, *hash);
    // With references the address gives another path here too.
    let same = here.fixed_output_path(path.name(), &content).ok()?;
    (same == *path).then_some(())?;
    there.fixed_output_path(path.name(), &content).ok()
}
