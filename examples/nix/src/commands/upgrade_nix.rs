//! `upgrade-nix`, which is refused: what the reference would install is the reference.

use super::Invocation;
use crate::failure::{Failure, Outcome};

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let flag = |flag: &str, args: &mut crate::args::Args| match flag {
        "--dry-run" => Ok(true),
        "-p" | "--profile" | "--nix-store-paths-url" => args.value(flag).map(|_| true),
        _ => Ok(false),
    };
    invocation.parse(flag, |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))))?;
    invocation.context()?;
    Err(Failure::new("'upgrade-nix' is not supported: it would put another implementation in the place of this one"))
}
