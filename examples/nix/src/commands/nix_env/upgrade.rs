//! `nix-env --upgrade`: every installed package gives way to a better one of its name, if there is one.

use std::cmp::Ordering;
use std::collections::HashMap;

use nixlang::source::Pos;
use nixlang_store::path::StorePath;

use super::super::diff_closures::split_name;
use super::names::compare_versions;
use super::packages::{Found, Package, keep_all, with_packages};
use super::Call;
use crate::evaluation::{Step, Stop};
use crate::failure::{Failure, Outcome};

/// What is asked of a package that may take the place of another.
trait Candidate {
    fn name(&self) -> Step<String>;
    fn priority(&self) -> Step<i64>;
    fn out_path(&self) -> Step<StorePath>;
}

impl Candidate for Found<'_, '_> {
    fn name(&self) -> Step<String> {
        Ok(Found::name(self)?)
    }

    fn priority(&self) -> Step<i64> {
        Ok(self.meta_int("priority")?.unwrap_or(0))
    }

    fn out_path(&self) -> Step<StorePath> {
        Ok(Found::out_path(self)?)
    }
}

impl Candidate for Package {
    fn name(&self) -> Step<String> {
        Ok(self.name.clone())
    }

    fn priority(&self) -> Step<i64> {
        Ok(Package::priority(self)?)
    }

    fn out_path(&self) -> Step<StorePath> {
        Ok(Package::out_path(self)?.clone())
    }
}

pub(super) fn run(call: &Call) -> Outcome<u8> {
    let (from, flags) = call.source()?;
    let mut is_wanted: fn(Ordering) -> bool = Ordering::is_lt;
    for flag in &flags {
        is_wanted = match flag.as_str() {
            "--lt" => Ordering::is_lt,
            "--leq" => Ordering::is_le,
            "--eq" => Ordering::is_eq,
            "--always" => |_| true,
            other => return Err(Failure::Usage(format!("unknown flag '{other}'"))),
        };
    }
    call.change(|installed| {
        let better = match call.paths(&from)? {
            Some(paths) => {
                let better = better(call, &installed, &paths, is_wanted).map_err(|stop| match stop {
                    Stop::Failure(failure) => failure,
                    Stop::Error(error) => Failure::new(error.to_string()),
                })?;
                better.into_iter().map(|i| i.map(|i| paths[i].clone())).collect()
            }
            None => with_packages(&call.context, &call.place(&from), true, |evaluation, packages| {
                let available = call.choose(&from, packages, false)?;
                let better = better(call, &installed, &available, is_wanted)?.into_iter();
                let keep = |i: Option<usize>| Ok(i.map(|i| keep_all(evaluation, vec![available[i].clone()])).transpose()?.and_then(|mut kept| kept.pop()));
                better.map(keep).collect::<Step<Vec<Option<Package>>>>()
            })?,
        };
        let replaced = installed.into_iter().zip(better).map(|(package, better)| {
            let Some(better) = better else { return package };
            let is_up = compare_versions(split_name(&package.name).1, split_name(&better.name).1).is_le();
            call.say(&format!("{} '{}' to '{}'", if is_up { "upgrading" } else { "downgrading" }, package.name, better.name));
            better
        });
        Ok(replaced.collect())
    })
}

/// Returns for each installed package which of the available ones replaces it.
fn better<C: Candidate>(call: &Call, installed: &[Package], available: &[C], is_wanted: fn(Ordering) -> bool) -> Step<Vec<Option<usize>>> {
    let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
    for (i, package) in available.iter().enumerate() {
        by_name.entry(split_name(&package.name()?).0.to_owned()).or_default().push(i);
    }
    let of_package = |package: &Package| {
        let of_name = by_name.get(split_name(&package.name).0).map_or(&[][..], |found| found);
        best(call, package, available, of_name, is_wanted).map_err(|stop| match stop {
            Stop::Error(error) => error.while_(Pos::NONE, format!("while trying to find an upgrade for '{}'", package.name)).into(),
            stop => stop,
        })
    };
    installed.iter().map(of_package).collect()
}

fn best<C: Candidate>(call: &Call, package: &Package, available: &[C], of_name: &[usize], is_wanted: fn(Ordering) -> bool) -> Step<Option<usize>> {
    if package.is_kept()? {
        return Ok(None);
    }
    let version = split_name(&package.name).1;
    let mut best: Option<(usize, i64, String)> = None;
    for i in of_name {
        let (other, priority) = (&available[*i], available[*i].priority()?);
        let name = other.name()?;
        let other_version = split_name(&name).1;
        // No upgrade to what would give way.
        if priority > package.priority()? || !is_wanted(compare_versions(version, other_version)) {
            continue;
        }
        let is_better = best.as_ref().is_none_or(|(_, of_best, best_version)| {
            of_best.cmp(&priority).reverse().then_with(|| compare_versions(best_version, other_version)).is_lt()
        });
        if is_better && (!call.prebuilt_only || !call.ready(&[other.out_path()?])?.is_empty()) {
            best = Some((*i, priority, other_version.to_owned()));
        }
    }
    match best {
        Some((best, ..)) if available[best].out_path()? != *package.out_path()? => Ok(Some(best)),
        _ => Ok(None),
    }
}
