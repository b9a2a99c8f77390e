//! `link-commands DIR`: links to this program, named `nix` and for the classic commands.

use std::path::PathBuf;

use super::{COMMANDS, Invocation};
use crate::failure::{Failure, Outcome};

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut directory: Option<PathBuf> = None;
    invocation.parse(
        |_, _| Ok(false),
        |word, _| match directory.replace(word.into()) {
            None => Ok(()),
            Some(_) => Err(Failure::Usage("'link-commands' takes one directory".into())),
        },
    )?;
    let directory = directory.ok_or_else(|| Failure::Usage("'link-commands' needs a directory".into()))?;
    let program = std::env::current_exe()?;
    std::fs::create_dir_all(&directory)?;
    let names = COMMANDS.iter().filter(|command| command.is_classic).map(|command| command.name);
    for name in names.chain(std::iter::once("nix")) {
        let link = directory.join(name);
        match std::fs::read_link(&link) {
            Ok(target) if target == program => continue,
            Ok(_) => std::fs::remove_file(&link)?,
            Err(_) if link.exists() => return Err(Failure::new(format!("'{}' is in the way", link.display()))),
            Err(_) => {}
        }
        std::os::unix::fs::symlink(&program, &link)?;
    }
    Ok(0)
}
