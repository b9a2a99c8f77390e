//! Outputs of an action as files, where the sandbox of this machine would have left them.
//!
//! The surprising part: the server is a peer. Names that could lead out of the place are refused, files are only ever created, and a tree is
//! walked without recursion.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bazel_remote_apis::build::bazel::remote::execution::v2::{ActionResult, Digest, Directory, Tree};
use prost::Message;

use super::connection::{Connection, RemoteError, Stopped};
use super::tree::digest;
use super::{BuildRequest, relative};
use crate::event::CancelToken;

/// What is made at last, when all directories are there.
#[derive(Default)]
struct Files {
    wanted: Vec<(Digest, PathBuf)>,
    /// Whether each of them can be executed.
    executable: Vec<bool>,
}

/// Downloads the outputs of a build. Those that the builder did not make are left out; whoever looks for them says so.
pub(super) fn fetch(connection: &Connection, result: &ActionResult, request: &BuildRequest, cancel: &CancelToken) -> Result<(), Stopped> {
    let directory = relative(&request.directory)?;
    let up = "../".repeat(directory.split('/').filter(|part| !part.is_empty()).count());
    let mut files = Files::default();
    for (inside, made_at) in &request.outputs {
        if let Some(parent) = made_at.parent() {
            fs::create_dir_all(parent).map_err(|error| RemoteError::output(parent, error))?;
        }
        let name = format!("{up}{}", relative(inside)?);
        if let Some(output) = result.output_directories.iter().find(|output| output.path == name) {
            let stored = output.tree_digest.as_ref().ok_or_else(|| RemoteError::nonsense("a directory without its tree"))?;
            let tree = Tree::decode(&connection.bytes(stored, cancel)?[..]).map_err(|error| RemoteError::nonsense(format!("a tree that can't be read: {error}")))?;
            unfold(tree, made_at, &mut files)?;
        } else if let Some(output) = result.output_files.iter().find(|output| output.path == name) {
            let stored = output.digest.clone().ok_or_else(|| RemoteError::nonsense("a file without its digest"))?;
            files.add(made_at.clone(), stored, output.is_executable);
        } else if let Some(output) = result.output_symlinks.iter().find(|output| output.path == name) {
            symlink(&output.target, made_at).map_err(|error| RemoteError::output(made_at, error))?;
        }
    }
    connection.files(&files.wanted, cancel)?;
    for ((_, path), executable) in files.wanted.iter().zip(&files.executable) {
        let mode = if *executable { 0o555 } else { 0o444 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| RemoteError::output(path, error))?;
    }
    Ok(())
}

impl Files {
    fn add(&mut self, path: PathBuf, digest: Digest, executable: bool) {
        self.executable.push(executable);
        self.wanted.push((digest, path));
    }
}

/// Makes the directories and links of a tree, and notes its files.
fn unfold(tree: Tree, place: &Path, files: &mut Files) -> Result<(), RemoteError> {
    // By the digests of their bytes, as their parents name them.
    let children: HashMap<Digest, Directory> = tree.children.into_iter().map(|child| (digest(&child.encode_to_vec()), child)).collect();
    let root = tree.root.ok_or_else(|| RemoteError::nonsense("a tree without its root"))?;
    let mut open: Vec<(PathBuf, &Directory)> = vec![(place.to_owned(), &root)];
    while let Some((path, directory)) = open.pop() {
        fs::create_dir(&path).map_err(|error| RemoteError::output(&path, error))?;
        for file in &directory.files {
            let stored = file.digest.clone().ok_or_else(|| RemoteError::nonsense("a file without its digest"))?;
            files.add(below(&path, &file.name)?, stored, file.is_executable);
        }
        for link in &directory.symlinks {
            let path = below(&path, &link.name)?;
            symlink(&link.target, &path).map_err(|error| RemoteError::output(&path, error))?;
        }
        for child in &directory.directories {
            let path = below(&path, &child.name)?;
            let child = child.digest.as_ref().and_then(|digest| children.get(digest));
            open.push((path, child.ok_or_else(|| RemoteError::nonsense("a directory that its tree lacks"))?));
        }
    }
    Ok(())
}

fn below(path: &Path, name: &str) -> Result<PathBuf, RemoteError> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(RemoteError::nonsense(format!("the name '{}' of a file", name.escape_default())));
    }
    Ok(path.join(name))
}

#[cfg(test)]
mod tests {
    use bazel_remote_apis::build::bazel::remote::execution::v2::{DirectoryNode, FileNode, SymlinkNode};

    use super::*;

    #[test]
    fn trees_unfold() {
        let place = tempfile::tempdir().unwrap();
        let child = Directory { symlinks: vec![SymlinkNode { name: "l".into(), target: "../f".into(), ..SymlinkNode::default() }], ..Directory::default() };
        let root = Directory {
            files: vec![FileNode { name: "f".into(), digest: Some(digest(b"x")), is_executable: true, ..FileNode::default() }],
            directories: vec![DirectoryNode { name: "d".into(), digest: Some(digest(&child.encode_to_vec())) }],
            ..Directory::default()
        };
        let mut files = Files::default();
        unfold(Tree { root: Some(root), children: vec![child] }, &place.path().join("out"), &mut files).unwrap();
        assert_eq!(fs::read_link(place.path().join("out/d/l")).unwrap(), Path::new("../f"));
        assert_eq!(files.wanted, [(digest(b"x"), place.path().join("out/f"))]);
        assert_eq!(files.executable, [true]);
    }

    #[test]
    fn hostile_trees_are_refused() {
        let place = tempfile::tempdir().unwrap();
        let check = |n: usize, root: Directory| {
            let at = place.path().join(n.to_string());
            assert!(unfold(Tree { root: Some(root), children: Vec::new() }, &at, &mut Files::default()).is_err(), "{n}");
        };
        let link = |name: &str| SymlinkNode { name: name.into(), target: "/etc".into(), ..SymlinkNode::default() };
        for (n, name) in ["", ".", "..", "a/b", "/a", "a\0"].into_iter().enumerate() {
            check(n, Directory { symlinks: vec![link(name)], ..Directory::default() });
        }
        // The same name twice: a link, and a directory that would be made behind it.
        let twice = DirectoryNode { name: "a".into(), digest: Some(digest(b"")) };
        check(10, Directory { symlinks: vec![link("a"), link("a")], ..Directory::default() });
        check(11, Directory { symlinks: vec![link("a")], directories: vec![twice], ..Directory::default() });
        assert!(unfold(Tree::default(), &place.path().join("12"), &mut Files::default()).is_err());
    }
}
