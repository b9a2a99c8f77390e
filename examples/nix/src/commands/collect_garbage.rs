//! `nix-collect-garbage`: old generations of profiles, if wanted, and then everything that nothing keeps alive.

use nixlang_store::gc::{GcAction, GcOptions};
use nixlang_store::profile::Old;

use super::Invocation;
use super::nix_store::{collect, show_freed};
use crate::failure::{Failure, Outcome};
use crate::profiles::{days_ago, delete_all_old};

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut options = GcOptions::new(GcAction::DeleteDead);
    let mut dry_run = false;
    let mut old = None;
    invocation.parse(
        |flag, args| {
            match flag {
                "--dry-run" => dry_run = true,
                "--max-freed" => {
                    let value = args.value(flag)?;
                    options.max_freed = crate::settings::parse_integer(&value).ok_or_else(|| Failure::Usage(format!("'{value}' is not an integer")))?;
                }
                "-d" | "--delete-old" => old = Some(Old::All),
                "--delete-older-than" => old = Some(Old::Before(days_ago(&args.value(flag)?)?)),
                _ => return Ok(false),
            }
            Ok(true)
        },
        |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))),
    )?;
    if dry_run && options.max_freed != u64::MAX {
        return Err(Failure::Usage("options --max-freed and --dry-run cannot be combined".into()));
    }
    let context = invocation.context()?;
    if let Some(old) = old {
        delete_all_old(&context, &old, dry_run)?;
    }
    if dry_run {
        options.action = GcAction::ReturnDead;
        println!("{} store paths would be deleted", collect(&context, options)?.paths.len());
        return Ok(0);
    }
    show_freed(&collect(&context, options)?);
    Ok(0)
}
