//! `nixlang/host.h`: stores that the host implements: a table of functions as a [`Store`].
#![expect(unsafe_code, reason = "the host's functions are called through pointers")]

use std::ffi::c_void;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

use nixlang::heap::on_host_stack;
use nixlang_store::error::{Result, StoreError};
use nixlang_store::hash::Hash;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::store::{AddOptions, Addressing, Capabilities, Contents, Store, Text};

use super::base::{ErrorPointer, Str, put, run};
use super::error::{Failure, HostData, take};
use super::hooks::collect;
use super::store::{Sink, StoreHandle};
use crate::pool::Slot;

/// `nixlang_stored_info`
#[repr(C)]
pub struct CInfo {
    nar_hash: Str,
    nar_size: u64,
    references: *const Str,
    n_references: usize,
    deriver: Str,
    signatures: *const Str,
    n_signatures: usize,
}

/// What `query` calls with what it found.
type Found = Option<unsafe extern "C-unwind" fn(*mut c_void, *const CInfo)>;
type OnePath = Option<unsafe extern "C-unwind" fn(*mut c_void, Str)>;

/// `nixlang_store_functions`
#[repr(C)]
#[derive(Clone, Copy)]
pub struct CStore {
    size: usize,
    query: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, Found, *mut c_void) -> ErrorPointer>,
    write_nar: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, Sink, *mut c_void) -> ErrorPointer>,
    add_nar: Option<unsafe extern "C-unwind" fn(*mut c_void, Str, *const CInfo, Str) -> ErrorPointer>,
    valid_paths: Option<unsafe extern "C-unwind" fn(*mut c_void, OnePath, *mut c_void) -> ErrorPointer>,
}

struct CustomStore {
    functions: CStore,
    data: HostData,
    store_dir: StoreDir,
    address: String,
}

struct Answer<'s> {
    store: &'s CustomStore,
    path: &'s StorePath,
    info: Option<std::result::Result<PathInfo, String>>,
}

/// # Safety
/// As many strings are there.
unsafe fn strings<'a>(strings: *const Str, n_strings: usize) -> &'a [Str] {
    if strings.is_null() || n_strings == 0 {
        return &[];
    }
    // SAFETY: the contract.
    unsafe { std::slice::from_raw_parts(strings, n_strings) }
}

unsafe extern "C-unwind" fn answer(answer: *mut c_void, info: *const CInfo) {
    // SAFETY: given together with an answer, by `query` below; what the host gives is as the header says.
    unsafe {
        let answer = &mut *answer.cast::<Answer<'_>>();
        if let Some(info) = info.as_ref() {
            answer.info = Some(read_info(&answer.store.store_dir, answer.path, info));
        }
    }
}

/// # Safety
/// The header's contract.
unsafe fn read_info(dir: &StoreDir, path: &StorePath, info: &CInfo) -> std::result::Result<PathInfo, String> {
    // SAFETY: the contract.
    unsafe {
        let text = |text: Str| std::str::from_utf8(text.bytes()).map_err(|error| error.to_string());
        let hash = text(info.nar_hash)?;
        let hash = Hash::parse_prefixed(hash).or_else(|_| Hash::parse_sri(hash)).map_err(|error| error.to_string())?;
        let mut unkeyed = UnkeyedPathInfo::new(hash, info.nar_size);
        for reference in strings(info.references, info.n_references) {
            unkeyed.references.insert(dir.parse(reference.bytes()).map_err(|error| error.to_string())?);
        }
        if !info.deriver.bytes().is_empty() {
            unkeyed.deriver = Some(dir.parse(info.deriver.bytes()).map_err(|error| error.to_string())?);
        }
        for signature in strings(info.signatures, info.n_signatures) {
            unkeyed.signatures.insert(text(*signature)?.to_owned());
        }
        Ok(PathInfo { path: path.clone(), info: unkeyed })
    }
}

unsafe extern "C-unwind" fn add_path(paths: *mut c_void, path: Str) {
    // SAFETY: given together with a vector, by `all_valid_paths` below.
    unsafe { (*paths.cast::<Vec<Vec<u8>>>()).push(path.bytes().to_vec()) };
}

impl CustomStore {
    fn failed(&self, message: String) -> StoreError {
        StoreError::Io { action: "asking the host's store", path: PathBuf::from(&self.address), source: std::io::Error::other(message) }
    }

    /// # Safety
    /// What a callback returned.
    unsafe fn check(&self, error: ErrorPointer) -> Result<()> {
        // SAFETY: the contract.
        match unsafe { take(error) } {
            None => Ok(()),
            Some((_, message)) => Err(self.failed(message)),
        }
    }

    fn unsupported(&self, what: &str) -> StoreError {
        self.failed(format!("it cannot {what}"))
    }

    fn query(&self, path: &StorePath) -> Result<Option<PathInfo>> {
        let query = self.functions.query.ok_or_else(|| self.unsupported("be asked about paths"))?;
        let shown = self.store_dir.display(path);
        let mut found = Answer { store: self, path, info: None };
        // SAFETY: by the header's contract.
        let error = on_host_stack(|| unsafe { query(self.data.get(), Str::plain(shown.as_bytes()), Some(answer), (&raw mut found).cast()) });
        // SAFETY: what the callback returned.
        unsafe { self.check(error) }?;
        found.info.transpose().map_err(|message| self.failed(message))
    }
}

impl Store for CustomStore {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn address(&self) -> String {
        self.address.clone()
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.add = self.functions.add_nar.is_some();
        capabilities.list_paths = self.functions.valid_paths.is_some();
        capabilities
    }

    fn query_path_infos(&self, paths: &[StorePath]) -> Result<Vec<Option<PathInfo>>> {
        paths.iter().map(|path| self.query(path)).collect()
    }

    fn all_valid_paths(&self) -> Result<Vec<StorePath>> {
        let list = self.functions.valid_paths.ok_or_else(|| self.unsupported("list its paths"))?;
        let mut paths: Vec<Vec<u8>> = Vec::new();
        // SAFETY: by the header's contract.
        let error = on_host_stack(|| unsafe { list(self.data.get(), Some(add_path), (&raw mut paths).cast()) });
        // SAFETY: what the callback returned.
        unsafe { self.check(error) }?;
        paths.iter().map(|path| self.store_dir.parse(path).map_err(|error| self.failed(error.to_string()))).collect()
    }

    fn path_from_hash_part(&self, hash_part: &[u8; 20]) -> Result<Option<StorePath>> {
        Ok(self.all_valid_paths()?.into_iter().find(|path| path.hash_part() == *hash_part))
    }

    fn write_nar(&self, path: &StorePath, sink: &mut dyn Write) -> Result<()> {
        let write = self.functions.write_nar.ok_or_else(|| self.unsupported("give contents"))?;
        let shown = self.store_dir.display(path);
        let mut nar: Vec<u8> = Vec::new();
        // SAFETY: by the header's contract.
        let error = on_host_stack(|| unsafe { write(self.data.get(), Str::plain(shown.as_bytes()), Some(collect), (&raw mut nar).cast()) });
        // SAFETY: what the callback returned.
        unsafe { self.check(error) }?;
        sink.write_all(&nar).map_err(|source| StoreError::Io { action: "writing the contents of", path: shown.into(), source })
    }

    fn read_file(&self, path: &StorePath) -> Result<Vec<u8>> {
        let mut nar = Vec::new();
        self.write_nar(path, &mut nar)?;
        // A store in memory reads it.
        let scratch = nixlang_store::memory::MemoryStore::new(self.store_dir.clone());
        let info = scratch.add_contents(&Addressing::source("file"), Contents::Nar(&mut &nar[..]))?;
        scratch.read_file(&info.path)
    }

    fn real_path(&self, _path: &StorePath) -> Option<PathBuf> {
        None
    }

    fn add_nar(&self, info: &PathInfo, nar: &mut dyn Read, _options: &AddOptions) -> Result<()> {
        let add = self.functions.add_nar.ok_or_else(|| self.unsupported("add anything"))?;
        let mut bytes = Vec::new();
        let shown = self.store_dir.display(&info.path);
        nar.read_to_end(&mut bytes).map_err(|source| StoreError::Io { action: "reading the contents of", path: shown.clone().into(), source })?;
        let hash = info.nar_hash.format(nixlang_store::hash::HashFormat::Sri, true);
        let references: Vec<String> = info.references.iter().map(|path| self.store_dir.display(path)).collect();
        let references: Vec<Str> = references.iter().map(|path| Str::plain(path.as_bytes())).collect();
        let signatures: Vec<Str> = info.signatures.iter().map(|signature| Str::plain(signature.as_bytes())).collect();
        let deriver = info.deriver.as_ref().map(|path| self.store_dir.display(path)).unwrap_or_default();
        let described = CInfo {
            nar_hash: Str::plain(hash.as_bytes()),
            nar_size: info.nar_size,
            references: references.as_ptr(),
            n_references: references.len(),
            deriver: Str::plain(deriver.as_bytes()),
            signatures: signatures.as_ptr(),
            n_signatures: signatures.len(),
        };
        // SAFETY: by the header's contract.
        let error = on_host_stack(|| unsafe { add(self.data.get(), Str::plain(shown.as_bytes()), &described, Str::plain(&bytes)) });
        // SAFETY: what the callback returned.
        unsafe { self.check(error) }
    }

    fn add_contents(&self, addressing: &Addressing<'_>, contents: Contents<'_>) -> Result<PathInfo> {
        // A store in memory works the address out; then it is one more NAR to add.
        let scratch = nixlang_store::memory::MemoryStore::new(self.store_dir.clone());
        let addressing = Addressing { references: Default::default(), ..addressing.clone() };
        let info = scratch.add_contents(&addressing, contents)?;
        let mut nar = Vec::new();
        scratch.write_nar(&info.path, &mut nar)?;
        self.add_nar(&info, &mut &nar[..], &AddOptions::default())?;
        Ok(info)
    }

    fn add_texts(&self, texts: &[Text<'_>]) -> Result<Vec<StorePath>> {
        texts.iter().map(|text| self.add_text_with_references(text)).collect()
    }
}

impl CustomStore {
    fn add_text_with_references(&self, text: &Text<'_>) -> Result<StorePath> {
        let hash = Hash::digest(nixlang_store::hash::Algorithm::Sha256, text.contents);
        let path = self.store_dir.text_path(text.name, &hash, &text.references).map_err(|error| self.failed(error.to_string()))?;
        if self.query(&path)?.is_some() {
            return Ok(path);
        }
        let mut nar = Vec::new();
        let mut writer = nixlang_store::nar::NarWriter::new(&mut nar);
        writer.file(false, text.contents).and_then(|()| writer.finish().map(drop)).map_err(|error| self.failed(error.to_string()))?;
        let mut info = UnkeyedPathInfo::new(Hash::digest(nixlang_store::hash::Algorithm::Sha256, &nar), nar.len() as u64);
        info.references = text.references.clone();
        self.add_nar(&PathInfo { path: path.clone(), info }, &mut &nar[..], &AddOptions::default())?;
        Ok(path)
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn nixlang_store_new(
    functions: *const CStore,
    address: Str,
    directory: Str,
    data: *mut c_void,
    drop: Option<unsafe extern "C-unwind" fn(*mut c_void)>,
    result: *mut *mut Slot<StoreHandle>,
) -> ErrorPointer {
    let data = HostData::new(data, drop);
    // SAFETY: the header's contract.
    run(|| unsafe {
        let functions = *functions.as_ref().filter(|it| it.size >= size_of::<CStore>()).ok_or_else(|| Failure::argument("the functions are NULL or their size is not set"))?;
        let directory = directory.text("directory")?;
        let store_dir = if directory.is_empty() { StoreDir::default() } else { StoreDir::new(directory).map_err(|error| Failure::argument(error.to_string()))? };
        let store = CustomStore { functions, data, store_dir, address: address.text("address")?.to_owned() };
        put(result, super::store::custom(Arc::new(store)))
    })
}
