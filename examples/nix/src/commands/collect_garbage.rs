//! `nix-collect-garbage`: `nix-store --gc` under a shorter name. Old generations of profiles are not known yet.

use nixlang_store::gc::{GcAction, GcOptions};

use super::Invocation;
use super::nix_store::{collect, show_freed};
use crate::failure::{Failure, Outcome};

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut options = GcOptions::new(GcAction::DeleteDead);
    let mut dry_run = false;
    invocation.parse(
        |flag, args| {
            match flag {
                "--dry-run" => dry_run = true,
                "--max-freed" => {
                    let value = args.value(flag)?;
                    options.max_freed = crate::settings::parse_integer(&value).ok_or_else(|| Failure::Usage(format!("'{value}' is not an integer")))?;
                }
                "-d" | "--delete-old" | "--delete-older-than" => return Err(Failure::new(format!("'{flag}' is not supported yet: there are no profiles"))),
                _ => return Ok(false),
            }
            Ok(true)
        },
        |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))),
    )?;
    if dry_run {
        return Ok(0);
    }
    let context = invocation.context()?;
    show_freed(&collect(&context, options)?);
    Ok(0)
}
