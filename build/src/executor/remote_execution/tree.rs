//! File trees as the protocol has them: a directory is a message with names and digests, and its digest is that of the message's bytes.
//!
//! The surprising part: two equal trees have equal digests only if messages are canonical, so names are sorted and nothing else is ever set.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use bazel_remote_apis::build::bazel::remote::execution::v2::{Digest, Directory, DirectoryNode, FileNode, Platform, SymlinkNode, platform::Property};
use nixlang_store::hash::{Algorithm, Hash, HashFormat, Hasher};
use prost::Message;

use super::connection::RemoteError;

/// Where the bytes of a blob are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Here.
    Bytes(Vec<u8>),
    /// In a file that does not change.
    File(PathBuf),
}

/// All blobs that an action needs.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    sources: HashMap<Digest, Source>,
}

impl Blobs {
    /// Adds bytes. Returns their digest.
    pub(super) fn bytes(&mut self, bytes: Vec<u8>) -> Digest {
        let digest = digest(&bytes);
        self.sources.insert(digest.clone(), Source::Bytes(bytes));
        digest
    }

    /// Adds what a tree needs.
    pub(super) fn extend(&mut self, tree: &Subtree) {
        for (digest, source) in &tree.blobs {
            self.sources.insert(digest.clone(), source.clone());
        }
    }

    /// Returns all digests, in no order.
    pub(super) fn digests(&self) -> impl Iterator<Item = &Digest> {
        self.sources.keys()
    }

    /// Returns where a blob is.
    pub(super) fn get(&self, digest: &Digest) -> Option<&Source> {
        self.sources.get(digest)
    }
}

/// Returns the digest of bytes: SHA-256 in hexadecimal, and the length.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    let hash = Hash::digest(Algorithm::Sha256, bytes);
    Digest { hash: hash.format(HashFormat::Base16, false), size_bytes: bytes.len() as i64 }
}

fn digest_of_file(path: &Path) -> io::Result<Digest> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 128 << 10];
    let mut size = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Digest { hash: hasher.finish().format(HashFormat::Base16, false), size_bytes: size }),
            n_bytes => {
                hasher.update(&buffer[..n_bytes]);
                size += n_bytes as i64;
            }
        }
    }
}

/// Wishes for the machine, in the order that the protocol wants.
pub(super) fn platform(wishes: &[(String, String)]) -> Platform {
    let mut properties: Vec<Property> = wishes.iter().map(|(name, value)| Property { name: name.clone(), value: value.clone() }).collect();
    properties.sort_by(|a, b| (&a.name, &a.value).cmp(&(&b.name, &b.value)));
    Platform { properties }
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    File { digest: Digest, executable: bool },
    Directory(Digest),
    Symlink(String),
}

/// A file tree of this machine, with all blobs that it needs.
#[derive(Debug)]
pub(super) struct Subtree {
    pub(super) node: Node,
    blobs: Vec<(Digest, Source)>,
}

/// A directory that is being read.
struct Open {
    path: PathBuf,
    name: String,
    entries: fs::ReadDir,
    children: BTreeMap<String, Node>,
}

impl Subtree {
    /// Reads a tree without following links. Deep ones need no stack.
    pub(super) fn read(path: &Path) -> io::Result<Subtree> {
        let mut blobs = Vec::new();
        let mut open: Vec<Open> = Vec::new();
        let mut next = Some((path.to_owned(), String::new()));
        loop {
            let (name, node) = match next.take() {
                Some((path, name)) => {
                    let metadata = fs::symlink_metadata(&path)?;
                    if metadata.is_dir() {
                        let entries = fs::read_dir(&path)?;
                        open.push(Open { path, name, entries, children: BTreeMap::new() });
                        (String::new(), None)
                    } else if metadata.is_symlink() {
                        (name, Some(Node::Symlink(utf8(fs::read_link(&path)?.into_os_string())?)))
                    } else if metadata.is_file() {
                        let digest = digest_of_file(&path)?;
                        blobs.push((digest.clone(), Source::File(path)));
                        (name, Some(Node::File { digest, executable: metadata.permissions().mode() & 0o100 != 0 }))
                    } else {
                        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{}' is no file, directory or link", path.display())));
                    }
                }
                None => (String::new(), None),
            };
            if let Some(node) = node {
                match open.last_mut() {
                    Some(directory) => drop(directory.children.insert(name, node)),
                    None => return Ok(Subtree { node, blobs }),
                }
            }
            let Some(directory) = open.last_mut() else { continue };
            match directory.entries.next() {
                Some(entry) => {
                    let entry = entry?;
                    next = Some((directory.path.join(entry.file_name()), utf8(entry.file_name())?));
                }
                None => {
                    let Some(Open { name, children, .. }) = open.pop() else { continue };
                    let bytes = directory_message(children).encode_to_vec();
                    let digest = digest(&bytes);
                    blobs.push((digest.clone(), Source::Bytes(bytes)));
                    let node = Node::Directory(digest);
                    match open.last_mut() {
                        Some(parent) => drop(parent.children.insert(name, node)),
                        None => return Ok(Subtree { node, blobs }),
                    }
                }
            }
        }
    }
}

fn utf8(text: std::ffi::OsString) -> io::Result<String> {
    text.into_string().map_err(|text| io::Error::new(io::ErrorKind::InvalidData, format!("{text:?} is not UTF-8, which the protocol needs")))
}

fn directory_message(children: BTreeMap<String, Node>) -> Directory {
    let mut message = Directory::default();
    for (name, node) in children {
        match node {
            Node::File { digest, executable } => {
                message.files.push(FileNode { name, digest: Some(digest), is_executable: executable, node_properties: None });
            }
            Node::Directory(digest) => message.directories.push(DirectoryNode { name, digest: Some(digest) }),
            Node::Symlink(target) => message.symlinks.push(SymlinkNode { name, target, node_properties: None }),
        }
    }
    message
}

/// The root directory of a build while it is put together.
#[derive(Debug, Default)]
pub(super) struct InputRoot {
    children: BTreeMap<String, Child>,
}

#[derive(Debug)]
enum Child {
    Folder(InputRoot),
    Node(Node),
}

impl InputRoot {
    /// Makes a directory, if there is none.
    pub(super) fn directory(&mut self, path: &Path) -> Result<(), RemoteError> {
        self.folder(path, path).map(drop)
    }

    /// Puts a file in place.
    pub(super) fn file(&mut self, path: &Path, digest: Digest, executable: bool) -> Result<(), RemoteError> {
        self.put(path, Node::File { digest, executable })
    }

    /// Puts a link in place.
    pub(super) fn symlink(&mut self, path: &Path, target: &Path) -> Result<(), RemoteError> {
        let target = target.to_str().ok_or_else(|| RemoteError::NotUtf8 { what: "a link's target", text: target.display().to_string() })?;
        self.put(path, Node::Symlink(target.to_owned()))
    }

    /// Puts a tree in place.
    pub(super) fn subtree(&mut self, path: &Path, tree: &Subtree) -> Result<(), RemoteError> {
        self.put(path, tree.node.clone())
    }

    fn put(&mut self, path: &Path, node: Node) -> Result<(), RemoteError> {
        let blocked = || RemoteError::Layout { path: path.to_owned() };
        let (parent, name) = (path.parent().ok_or_else(blocked)?, path.file_name().ok_or_else(blocked)?);
        let name = name.to_str().ok_or_else(|| RemoteError::NotUtf8 { what: "a path", text: path.display().to_string() })?;
        match self.folder(parent, path)?.children.entry(name.to_owned()) {
            Entry::Vacant(entry) => drop(entry.insert(Child::Node(node))),
            // An empty directory makes room for one that is mounted on it.
            Entry::Occupied(mut entry) => match entry.get() {
                Child::Folder(folder) if folder.children.is_empty() => drop(entry.insert(Child::Node(node))),
                Child::Node(there) if *there == node => {}
                _ => return Err(blocked()),
            },
        }
        Ok(())
    }

    fn folder(&mut self, path: &Path, wanted: &Path) -> Result<&mut InputRoot, RemoteError> {
        let mut folder = self;
        for component in path.components() {
            let name = match component {
                Component::RootDir => continue,
                Component::Normal(name) => name.to_str().ok_or_else(|| RemoteError::NotUtf8 { what: "a path", text: path.display().to_string() })?,
                _ => return Err(RemoteError::Layout { path: wanted.to_owned() }),
            };
            let child = folder.children.entry(name.to_owned()).or_insert_with(|| Child::Folder(InputRoot::default()));
            folder = match child {
                Child::Folder(folder) => folder,
                Child::Node(_) => return Err(RemoteError::Layout { path: wanted.to_owned() }),
            };
        }
        Ok(folder)
    }

    /// Makes the messages. Returns the root's digest. (Only paths of the sandbox are nested here, so recursion is shallow.)
    pub(super) fn finish(self, blobs: &mut Blobs) -> Digest {
        let children = self.children.into_iter().map(|(name, child)| match child {
            Child::Node(node) => (name, node),
            Child::Folder(folder) => (name, Node::Directory(folder.finish(blobs))),
        });
        let message = directory_message(children.collect());
        blobs.bytes(message.encode_to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_canonical() {
        // What the protocol's own documentation gives for the empty directory: the digest of no bytes at all.
        let directory = tempfile::tempdir().unwrap();
        let empty = Subtree::read(directory.path()).unwrap();
        assert_eq!(empty.node, Node::Directory(digest(b"")));
        assert_eq!(digest(b"").hash, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");

        fs::create_dir(directory.path().join("d")).unwrap();
        fs::write(directory.path().join("b"), "x").unwrap();
        fs::write(directory.path().join("a"), "y").unwrap();
        std::os::unix::fs::symlink("b", directory.path().join("l")).unwrap();
        let tree = Subtree::read(directory.path()).unwrap();
        let Node::Directory(root) = &tree.node else { panic!("a directory") };
        let Some((_, Source::Bytes(bytes))) = tree.blobs.iter().find(|(digest, _)| digest == root) else { panic!("it is among the blobs") };
        let message = Directory::decode(&bytes[..]).unwrap();
        assert_eq!(message.files.iter().map(|file| file.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((message.directories[0].digest.clone(), message.symlinks[0].target.as_str()), (Some(digest(b"")), "b"));
    }

    #[test]
    fn a_root_is_put_together() {
        let mut blobs = Blobs::default();
        let mut root = InputRoot::default();
        root.directory(Path::new("/nix/store")).unwrap();
        root.directory(Path::new("/build")).unwrap();
        let file = blobs.bytes(b"f".to_vec());
        root.file(Path::new("/nix/store/a"), file.clone(), true).unwrap();
        root.symlink(Path::new("/build"), Path::new("/tmp")).unwrap();
        assert!(matches!(root.file(Path::new("/nix/store/a/b"), file.clone(), true), Err(RemoteError::Layout { .. })));
        assert!(matches!(root.file(Path::new("/nix/store"), file, true), Err(RemoteError::Layout { .. })));
        let digest = root.finish(&mut blobs);
        let Some(Source::Bytes(bytes)) = blobs.get(&digest) else { panic!("it is among the blobs") };
        let message = Directory::decode(&bytes[..]).unwrap();
        assert_eq!((message.directories[0].name.as_str(), message.symlinks[0].name.as_str()), ("nix", "build"));
    }
}
