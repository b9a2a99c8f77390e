//! The users that builds run as when the host program is root: those of a group, or numbers out of a range.
//!
//! A user is taken by locking a file of the state directory, which other implementations lock as well: `userpool/<uid>`
//! for the users of a group, `userpool2/slot-<n>` for ranges of 65536 numbers each. The surprising part: where everything
//! is taken a build waits, although it holds a slot already.

use std::fs::{self, File};
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::error::BuildError;
use crate::options::BuildOptions;

/// Numbers per slot.
const IDS_PER_SLOT: u32 = 65536;

/// Who a build runs as.
#[derive(Debug)]
pub(crate) struct BuildUser {
    /// The first user.
    pub(crate) uid: u32,
    /// Its group.
    pub(crate) gid: u32,
    /// How many users, and groups, from there on.
    pub(crate) n_ids: u32,
    /// Further groups.
    pub(crate) groups: Vec<u32>,
    /// Held as long as the build runs.
    _lock: File,
}

impl BuildUser {
    /// Returns all of its users.
    pub(crate) fn range(&self) -> RangeInclusive<u32> {
        self.uid..=self.uid + (self.n_ids - 1)
    }
}

/// Returns whether builds run as users of their own.
pub(crate) fn are_used(options: &BuildOptions) -> bool {
    let is_wanted = options.auto_allocate_uids || options.build_users_group.is_some();
    is_wanted && rustix::process::geteuid().is_root()
}

/// Takes a user that nobody has. Returns none if all are taken.
pub(crate) fn acquire(
    options: &BuildOptions,
    state_dir: &Path,
    n_ids: u32,
    sandboxed: bool,
) -> Result<Option<BuildUser>, BuildError> {
    if options.auto_allocate_uids {
        options.require_feature("auto-allocate-uids")?;
        let pool = make_pool(state_dir, "userpool2")?;
        let taken: Vec<u32> = accounts("/etc/passwd").into_iter().map(|account| account.id).collect();
        for slot in 0..options.id_count / IDS_PER_SLOT {
            let Some(lock) = try_lock(&pool.join(format!("slot-{slot}")))? else { continue };
            let uid = options.start_id + slot * IDS_PER_SLOT;
            if taken.contains(&uid) {
                return Err(BuildError::Users { reason: format!("auto-allocated UID {uid} clashes with an existing user account") });
            }
            let gid = match (&options.build_users_group, sandboxed) {
                (Some(group), false) => group_of(group)?.0,
                _ => uid,
            };
            return Ok(Some(BuildUser { uid, gid, n_ids, groups: Vec::new(), _lock: lock }));
        }
        return Ok(None);
    }
    let Some(group) = &options.build_users_group else { return Ok(None) };
    let (gid, members) = group_of(group)?;
    if members.is_empty() {
        return Err(BuildError::Users { reason: format!("the build users group '{group}' has no members") });
    }
    let accounts = accounts("/etc/passwd");
    let pool = make_pool(state_dir, "userpool")?;
    for member in members {
        let account = accounts.iter().find(|account| account.name == member).ok_or_else(|| BuildError::Users {
            reason: format!("cannot find user '{member}' in group '{group}'"),
        })?;
        let Some(lock) = try_lock(&pool.join(account.id.to_string()))? else { continue };
        if account.id == rustix::process::getuid().as_raw() || account.id == rustix::process::geteuid().as_raw() {
            return Err(BuildError::Users { reason: format!("the Nix user should not be a member of '{group}'") });
        }
        let groups = groups_with(&member).into_iter().filter(|&other| other != gid).collect();
        return Ok(Some(BuildUser { uid: account.id, gid, n_ids: 1, groups, _lock: lock }));
    }
    Ok(None)
}

/// Returns the files of which [`acquire`] locks one.
pub(crate) fn lock_files(options: &BuildOptions, state_dir: &Path) -> Result<Vec<PathBuf>, BuildError> {
    if options.auto_allocate_uids {
        let pool = make_pool(state_dir, "userpool2")?;
        return Ok((0..options.id_count / IDS_PER_SLOT).map(|slot| pool.join(format!("slot-{slot}"))).collect());
    }
    let Some(group) = &options.build_users_group else { return Ok(Vec::new()) };
    let (accounts, members) = (accounts("/etc/passwd"), group_of(group)?.1);
    let pool = make_pool(state_dir, "userpool")?;
    let of_members = accounts.iter().filter(|account| members.contains(&account.name));
    Ok(of_members.map(|account| pool.join(account.id.to_string())).collect())
}

fn make_pool(state_dir: &Path, name: &str) -> Result<PathBuf, BuildError> {
    let pool = state_dir.join(name);
    fs::create_dir_all(&pool).map_err(BuildError::io("creating", &pool))?;
    Ok(pool)
}

/// Locks a file. Returns none if somebody else has it.
fn try_lock(path: &Path) -> Result<Option<File>, BuildError> {
    let failed = |error: io::Error| BuildError::io("opening user lock", path)(error);
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(BuildError::io("locking", path)(error.into())),
    }
}

struct Account {
    name: String,
    id: u32,
}

/// Reads names and numbers of a file like `/etc/passwd`. Other sources of accounts are not asked.
fn accounts(path: &str) -> Vec<Account> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let account = |line: &str| {
        let mut fields = line.split(':');
        Some(Account { name: fields.next()?.to_owned(), id: fields.nth(1)?.parse().ok()? })
    };
    text.lines().filter_map(account).collect()
}

/// Returns number and members of a group.
fn group_of(name: &str) -> Result<(u32, Vec<String>), BuildError> {
    find_group(&fs::read_to_string("/etc/group").unwrap_or_default(), name).ok_or_else(|| BuildError::Users {
        reason: format!("the group '{name}' specified in 'build-users-group' does not exist"),
    })
}

fn find_group(text: &str, name: &str) -> Option<(u32, Vec<String>)> {
    let fields = text.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == name)?;
    let members = fields.get(3)?.split(',').filter(|member| !member.is_empty()).map(str::to_owned);
    Some((fields.get(2)?.parse().ok()?, members.collect()))
}

/// Returns the groups that have this member.
fn groups_with(member: &str) -> Vec<u32> {
    let text = fs::read_to_string("/etc/group").unwrap_or_default();
    let group = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        fields.get(3)?.split(',').any(|name| name == member).then(|| fields.get(2)?.parse().ok())?
    };
    text.lines().filter_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Helper;

    #[test]
    fn slots_are_taken_once() {
        let state = tempfile::tempdir().unwrap();
        let mut options = BuildOptions::new(Helper::program("/helper"));
        options.auto_allocate_uids = true;
        options.id_count = 2 * IDS_PER_SLOT;
        assert!(acquire(&options, state.path(), 1, true).is_err(), "the feature is off");
        options.experimental_features.insert("auto-allocate-uids".to_owned());
        let take = || acquire(&options, state.path(), IDS_PER_SLOT, true).unwrap();
        let (one, two) = (take().unwrap(), take().unwrap());
        assert_eq!((one.uid, two.uid), (872_415_232, 872_415_232 + IDS_PER_SLOT));
        assert_eq!(one.range(), 872_415_232..=872_415_232 + 65535);
        assert!(take().is_none());
        drop(one);
        assert_eq!(take().unwrap().uid, 872_415_232);
    }

    #[test]
    fn groups_are_found_with_their_members() {
        let text = "root:x:0:\nnixbld:x:30000:nixbld1,nixbld2\nempty:x:5:\n";
        assert_eq!(find_group(text, "nixbld"), Some((30000, vec!["nixbld1".to_owned(), "nixbld2".to_owned()])));
        assert_eq!(find_group(text, "empty"), Some((5, vec![])));
        assert_eq!(find_group(text, "none"), None);
    }
}
