//! Where profiles are: the user's own link, the directory behind it, and the expressions that `nix-env` installs from.

use std::path::{Path, PathBuf};

use nixlang_store::profile::{Old, Profile};

use crate::commands::Context;
use crate::failure::{Failure, Outcome};
use crate::settings::{home, state_home};
use crate::ui::Verbosity;

fn state_dir(context: &Context) -> PathBuf {
    context.store.state_directory()
}

/// Returns the directory of the user's profiles.
pub(crate) fn profiles_dir(context: &Context) -> Outcome<PathBuf> {
    let dir = if rustix::process::geteuid().is_root() { root_profiles_dir(context) } else { state_home().join("nix/profiles") };
    std::fs::create_dir_all(&dir)?;
    Ok(dir)
}

fn root_profiles_dir(context: &Context) -> PathBuf {
    state_dir(context).join("profiles/per-user/root")
}

/// Returns whether what belongs to the user is where the XDG directories say.
pub(crate) fn uses_xdg(context: &Context) -> bool {
    context.settings.is_on("use-xdg-base-directories")
}

/// Returns the user's link to the profile in use.
pub(crate) fn profile_link(context: &Context) -> PathBuf {
    if uses_xdg(context) { state_home().join("nix/profile") } else { home().join(".nix-profile") }
}

/// Returns the profile in use, with the user's link to it made if there is none.
pub(crate) fn default_profile(context: &Context) -> Outcome<Profile> {
    let link = profile_link(context);
    let profile = profiles_dir(context)?.join("profile");
    if link.symlink_metadata().is_err() {
        nixlang_store::gc::roots::replace_symlink(&profile, &link)?;
    }
    let global = state_dir(context).join("profiles/default");
    if rustix::process::geteuid().is_root() && global.symlink_metadata().is_err() {
        // A convenience of old: without it nothing is lost.
        let _ = nixlang_store::gc::roots::replace_symlink(&profile, &global);
    }
    let target = match std::fs::read_link(&link) {
        Ok(target) => link.parent().unwrap_or(Path::new("/")).join(target),
        Err(_) => link,
    };
    Ok(Profile::new(&target)?)
}

/// Returns where the expressions are that packages are installed from.
pub(crate) fn default_expression_path(context: &Context) -> PathBuf {
    if uses_xdg(context) { state_home().join("nix/defexpr") } else { home().join(".nix-defexpr") }
}

/// Returns where the expressions are that packages are installed from, made with links to the channels if it is not there.
pub(crate) fn default_expression(context: &Context) -> Outcome<PathBuf> {
    let path = default_expression_path(context);
    if path.symlink_metadata().is_err() {
        // Who has no home directory installs from elsewhere.
        let make = || -> Outcome<()> {
            std::fs::create_dir_all(&path)?;
            nixlang_store::gc::roots::replace_symlink(&profiles_dir(context)?.join("channels"), &path.join("channels"))?;
            if !rustix::process::geteuid().is_root() {
                nixlang_store::gc::roots::replace_symlink(&root_profiles_dir(context).join("channels"), &path.join("channels_root"))?;
            }
            Ok(())
        };
        let _ = make();
    }
    Ok(path)
}

/// Reads an age like `14d` and returns the time so long ago, in seconds since 1970.
pub(crate) fn days_ago(text: &str) -> Outcome<i64> {
    let Some(days) = text.strip_suffix('d') else {
        return Err(Failure::Usage(format!("invalid number of days specifier '{text}', expected something like '14d'")));
    };
    let days = days.parse::<i64>().ok().filter(|days| (1..1_000_000).contains(days));
    let days = days.ok_or_else(|| Failure::Usage(format!("invalid number of days specifier '{text}'")))?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
    Ok(now - days * 24 * 3600)
}

/// Deletes old generations of a profile and says so.
pub(crate) fn delete_generations(context: &Context, profile: &Profile, old: &Old, dry_run: bool) -> Outcome<()> {
    let what = if dry_run { "would remove" } else { "removing" };
    profile.delete_generations(old, dry_run, &mut |number| context.ui.line(Verbosity::NOTICE, &format!("{what} profile version {number}")))?;
    Ok(())
}

/// Deletes old generations of all profiles of the user.
pub(crate) fn delete_all_old(context: &Context, old: &Old, dry_run: bool) -> Outcome<()> {
    let default = default_profile(context)?;
    let mut dirs = vec![profiles_dir(context)?, state_dir(context).join("profiles")];
    dirs.extend(default.link().parent().map(Path::to_owned));
    dirs.sort();
    dirs.dedup();
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        let is_writable = rustix::fs::access(&dir, rustix::fs::Access::WRITE_OK).is_ok();
        for entry in entries.flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => dirs.push(path),
                Ok(kind) if kind.is_symlink() && is_writable => {
                    // A profile points to one of its generations.
                    if std::fs::read_link(&path).is_ok_and(|target| target.to_string_lossy().contains("link")) {
                        context.ui.line(Verbosity::INFO, &format!("removing old generations of profile {}", path.display()));
                        delete_generations(context, &Profile::new(&path)?, old, dry_run)?;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(())
}
