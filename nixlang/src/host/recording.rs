//! A host that notes everything that an evaluation reads through it, so that somebody can tell later whether the result still holds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::input::Input;
use nixlang_store::path::StorePath;

use super::*;

/// Something outside that an evaluation looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Read {
    /// The contents of a file.
    File(Vec<u8>),
    /// The names in a directory.
    Directory(Vec<u8>),
    /// Whether there is something, and what.
    FileType(Vec<u8>),
    /// The target of a symbolic link.
    Link(Vec<u8>),
    /// An environment variable.
    Variable(Vec<u8>),
    /// The time.
    Time,
    /// A file or tree from elsewhere, by its address.
    Fetch(String),
    /// An output of a derivation that had to exist.
    Output(WantedOutput),
}

impl Read {
    /// Returns a stable word for the kind.
    pub fn kind(&self) -> &'static str {
        match self {
            Read::File(_) => "file",
            Read::Directory(_) => "directory",
            Read::FileType(_) => "file-type",
            Read::Link(_) => "link",
            Read::Variable(_) => "variable",
            Read::Time => "time",
            Read::Fetch(_) => "fetch",
            Read::Output(_) => "output",
        }
    }

    /// Returns what was looked at, as text.
    pub fn name(&self) -> String {
        match self {
            Read::File(path) | Read::Directory(path) | Read::FileType(path) | Read::Link(path) | Read::Variable(path) => String::from_utf8_lossy(path).into_owned(),
            Read::Time => String::new(),
            Read::Fetch(address) => address.clone(),
            Read::Output(wanted) => format!("{}!{}", wanted.derivation, wanted.output),
        }
    }
}

/// What was read, each once, with what was found there: a SHA-256 hash of contents, names or value, a file type, a store path; `None` for nothing.
pub type Reads = BTreeMap<Read, Option<String>>;

/// See the file's comment.
pub struct RecordingHost {
    inner: Box<dyn Host>,
    reads: Arc<Mutex<Reads>>,
}

impl RecordingHost {
    /// Returns a host around another one, which notes in `reads` what is read.
    pub fn new(inner: Box<dyn Host>, reads: Arc<Mutex<Reads>>) -> RecordingHost {
        RecordingHost { inner, reads }
    }

    fn note_realised(&self, outputs: &[WantedOutput], paths: Option<&Vec<StorePath>>) {
        for (i, wanted) in outputs.iter().enumerate() {
            self.note(Read::Output(wanted.clone()), paths.and_then(|paths| paths.get(i)).map(StorePath::to_string));
        }
    }

    fn note(&self, read: Read, found: Option<String>) {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).entry(read).or_insert(found);
    }
}

fn digest(bytes: &[u8]) -> String {
    Hash::digest(Algorithm::Sha256, bytes).to_string()
}

impl HostLayer for RecordingHost {
    fn inner(&self) -> &dyn Host {
        &*self.inner
    }

    fn read_file(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        let result = self.inner.read_file(path);
        self.note(Read::File(path.to_vec()), result.as_ref().ok().map(|contents| digest(contents)));
        result
    }

    fn read_dir(&self, path: &[u8]) -> HostResult<Vec<(Vec<u8>, Option<FileType>)>> {
        let result = self.inner.read_dir(path);
        let names = result.as_ref().ok().map(|entries| {
            let mut names: Vec<&[u8]> = entries.iter().map(|entry| &entry.0[..]).collect();
            names.sort_unstable();
            // No name has a NUL in it.
            digest(&names.join(&0))
        });
        self.note(Read::Directory(path.to_vec()), names);
        result
    }

    fn file_type(&self, path: &[u8]) -> HostResult<Option<FileType>> {
        let result = self.inner.file_type(path);
        let found = result.as_ref().ok().and_then(|found| found.map(|found| found.name().to_owned()));
        self.note(Read::FileType(path.to_vec()), found);
        result
    }

    fn read_link(&self, path: &[u8]) -> HostResult<Vec<u8>> {
        let result = self.inner.read_link(path);
        self.note(Read::Link(path.to_vec()), result.as_ref().ok().map(|target| String::from_utf8_lossy(target).into_owned()));
        result
    }

    fn env_var(&self, name: &[u8]) -> Option<Vec<u8>> {
        let value = self.inner.env_var(name);
        // Only a hash: a record is no place for secrets.
        self.note(Read::Variable(name.to_vec()), value.as_deref().map(digest));
        value
    }

    fn current_time(&self) -> i64 {
        let time = self.inner.current_time();
        self.note(Read::Time, Some(time.to_string()));
        time
    }

    fn realise(&self, outputs: &[WantedOutput]) -> HostResult<Vec<StorePath>> {
        let result = self.inner.realise(outputs);
        self.note_realised(outputs, result.as_ref().ok());
        result
    }

    fn begin_realise(&self, outputs: &[WantedOutput]) -> HostResult<Option<Vec<StorePath>>> {
        let result = self.inner.begin_realise(outputs);
        match &result {
            Ok(None) => {}
            Ok(Some(paths)) => self.note_realised(outputs, Some(paths)),
            Err(_) => self.note_realised(outputs, None),
        }
        result
    }


    fn fetch(&self, request: &FetchRequest) -> HostResult<StorePath> {
        let result = self.inner.fetch(request);
        self.note(Read::Fetch(request.url.clone()), result.as_ref().ok().map(StorePath::to_string));
        result
    }

    fn fetch_input(&self, input: &Input) -> HostResult<FetchedInput> {
        let result = self.inner.fetch_input(input);
        self.note(Read::Fetch(input.to_string()), result.as_ref().ok().map(|fetched| fetched.store_path.to_string()));
        result
    }

    fn fetch_search_path_entry(&self, entry: &str) -> HostResult<Option<Vec<u8>>> {
        let result = self.inner.fetch_search_path_entry(entry);
        let found = result.as_ref().ok().and_then(|path| path.as_ref().map(|path| String::from_utf8_lossy(path).into_owned()));
        self.note(Read::Fetch(entry.to_owned()), found);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{EvalOptions, session};
    use crate::source::Origin;

    #[test]
    fn what_is_read_is_noted_and_nothing_else() {
        let text = b"{ a = import ./a.nix; names = builtins.readDir ./d; here = builtins.pathExists ./nothing; variable = builtins.getEnv \"HOME\"; lazy = import ./lazy.nix; }";
        let reads = Arc::new(Mutex::new(Reads::new()));
        let noted = Arc::clone(&reads);
        let files = || MemoryHost::with_files([("/a.nix", "1"), ("/d/b", "x"), ("/lazy.nix", "2")]);
        let host = move || -> Box<dyn Host> { Box::new(RecordingHost::new(Box::new(files()), noted)) };
        session(host, EvalOptions::default(), |eval| {
            let value = eval.eval_text(text, Origin::String, b"/").expect("a set");
            let crate::heap::Kind::Attrs(attrs) = value.kind() else { panic!("a set") };
            for name in ["a", "names", "here", "variable"] {
                eval.force(attrs.get(eval.symbols.intern(name.as_bytes())).expect("it is there").get()).expect("it evaluates");
            }
        })
        .expect("a thread is there");
        let reads = reads.lock().expect("nobody panicked");
        assert_eq!(reads.get(&Read::File(b"/a.nix".to_vec())), Some(&Some(digest(b"1"))));
        assert_eq!(reads.get(&Read::Directory(b"/d".to_vec())), Some(&Some(digest(b"b"))));
        assert_eq!(reads.get(&Read::FileType(b"/nothing".to_vec())), Some(&None));
        assert!(reads.contains_key(&Read::Variable(b"HOME".to_vec())));
        assert!(!reads.contains_key(&Read::File(b"/lazy.nix".to_vec())));
        // `builtins.currentTime` is looked at once, before anything is evaluated.
        assert!(reads.contains_key(&Read::Time));
    }
}
