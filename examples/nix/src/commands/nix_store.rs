//! `nix-store`: one operation on the store per call. The table of operations is here; what they do is below `nix_store/`.

mod add;
mod archive;
mod maintenance;
mod query;
mod realise;
mod serve;
mod validity;

use std::path::PathBuf;
use std::sync::Arc;

use nixlang_store::local::LocalStore;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;

use super::{Context, Invocation};
use crate::args::unknown_flag;
use crate::failure::{Failure, Outcome};
use crate::installables::store_path;

pub(super) use add::add_path;
pub(super) use maintenance::{collect, show_freed};

/// An operation.
struct Operation {
    flags: &'static [&'static str],
    run: fn(&Call) -> Outcome<u8>,
}

const OPERATIONS: &[Operation] = &[
    Operation { flags: &["--realise", "--realize", "-r"], run: realise::run },
    Operation { flags: &["--query", "-q"], run: query::run },
    Operation { flags: &["--add", "-A"], run: add::sources },
    Operation { flags: &["--add-fixed"], run: add::fixed },
    Operation { flags: &["--print-fixed-path"], run: add::print_fixed_path },
    Operation { flags: &["--dump"], run: archive::dump },
    Operation { flags: &["--restore"], run: archive::restore },
    Operation { flags: &["--export"], run: archive::export },
    Operation { flags: &["--import"], run: archive::import },
    Operation { flags: &["--gc"], run: maintenance::gc },
    Operation { flags: &["--delete"], run: maintenance::delete },
    Operation { flags: &["--serve"], run: serve::run },
    Operation { flags: &["--verify"], run: maintenance::verify },
    Operation { flags: &["--verify-path"], run: maintenance::verify_path },
    Operation { flags: &["--optimise", "--optimize"], run: maintenance::optimise },
    Operation { flags: &["--repair-path"], run: maintenance::repair_path },
    Operation { flags: &["--generate-binary-cache-key"], run: maintenance::generate_key },
    Operation { flags: &["--init"], run: maintenance::init },
    Operation { flags: &["--read-log", "-l"], run: query::read_log },
    Operation { flags: &["--print-env"], run: query::print_env },
    Operation { flags: &["--check-validity", "--validity"], run: validity::check },
    Operation { flags: &["--dump-db"], run: validity::dump_db },
    Operation { flags: &["--load-db"], run: validity::load_db },
    Operation { flags: &["--register-validity"], run: validity::register },
];

/// A call of an operation.
struct Call {
    context: Arc<Context>,
    /// The operation's own flags, values among them.
    flags: Vec<String>,
    words: Vec<String>,
    root: Option<PathBuf>,
    no_output: bool,
}

pub(super) fn run(mut invocation: Invocation) -> Outcome<u8> {
    let mut operation: Option<&Operation> = None;
    let mut flags = Vec::new();
    let mut root = None;
    let (mut no_output, mut stdin) = (false, false);
    let mut words = invocation.words(|flag, args| {
        if let Some(found) = OPERATIONS.iter().find(|operation| operation.flags.contains(&flag)) {
            // `-q` has flags of the same names.
            let is_first = operation.is_none();
            if is_first || operation.is_some_and(|before| std::ptr::eq(before, found)) {
                operation = Some(found);
                return Ok(true);
            }
            return Err(Failure::Usage("only one operation may be specified".into()));
        }
        match flag {
            "--add-root" => root = Some(PathBuf::from(args.value(flag)?)),
            "--indirect" => {}
            "--skip-live" => flags.push(flag.to_owned()),
            "--no-output" => no_output = true,
            "--stdin" => stdin = true,
            "--max-freed" | "--max-links" | "--max-atime" => flags.extend([flag.to_owned(), args.value(flag)?]),
            _ if OWN_FLAGS.contains(&flag) => flags.push(flag.to_owned()),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let operation = operation.ok_or_else(|| Failure::Usage("no operation specified".into()))?;
    if stdin {
        let text = String::from_utf8_lossy(&crate::common::read_stdin()?).into_owned();
        words.extend(text.split_whitespace().map(str::to_owned));
    }
    (operation.run)(&Call { context: invocation.context()?, flags, words, root, no_output })
}

/// Flags that mean something to some operation. (`-f`, `-u`, `-b`, `-d`, `-R` are queries'.)
const OWN_FLAGS: &[&str] = &[
    "--dry-run", "--check", "--ignore-unknown", "--outputs", "--requisites", "-R", "--references", "--referrers", "--referers", "--referrers-closure",
    "--referers-closure", "--deriver", "-d", "--valid-derivers", "--binding", "-b", "--hash", "--size", "--tree", "--graph", "--graphml", "--resolve", "--roots", "--use-output",
    "-u", "--force-realise", "--force-realize", "-f", "--include-outputs", "--recursive", "--print-roots", "--print-live", "--print-dead", "--check-contents",
    "--ignore-liveness", "--write", "--print-invalid", "--reregister", "--hash-given",
];

impl Call {
    fn store(&self) -> Outcome<&Arc<dyn Store>> {
        self.context.store.open()
    }

    /// Returns the store, which must be one of this machine.
    fn local(&self) -> Outcome<&Arc<LocalStore>> {
        self.context.store.local()
    }

    fn show(&self, path: &StorePath) -> String {
        self.context.store.store_dir().display(path)
    }

    /// Returns the store path of a word.
    fn path(&self, word: &str) -> Outcome<StorePath> {
        store_path(&self.context, word).ok_or_else(|| {
            let path = std::path::absolute(word).unwrap_or_else(|_| word.into());
            Failure::new(format!("path \"{}\" is not in the Nix store", path.display()))
        })
    }

    /// Returns the store paths of all words.
    fn paths(&self) -> Outcome<Vec<StorePath>> {
        self.words.iter().map(|word| self.path(word)).collect()
    }

    fn has(&self, flags: &[&str]) -> bool {
        self.flags.iter().any(|flag| flags.contains(&flag.as_str()))
    }

    /// Refuses flags that this operation does not have.
    fn only(&self, known: &[&str]) -> Outcome<()> {
        match self.flags.iter().find(|flag| !known.contains(&flag.as_str())) {
            Some(flag) => Err(unknown_flag(flag)),
            None => Ok(()),
        }
    }
}
