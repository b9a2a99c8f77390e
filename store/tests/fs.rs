//! Trees to archives and back, and what must not be followed, overwritten or believed on the way.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use nixlang_store::error::StoreError;
use nixlang_store::fs::{Metadata, dump, dump_into_file, restore, restore_from_file};
use nixlang_store::nar::NarWriter;

/// An archive out of the format's words, right ones or wrong ones.
fn archive(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut nar = Vec::new();
    string(&mut nar, b"nix-archive-1");
    build(&mut nar);
    nar
}

fn string(nar: &mut Vec<u8>, text: &[u8]) {
    nar.extend((text.len() as u64).to_le_bytes());
    nar.extend(text);
    nar.resize(nar.len().next_multiple_of(8), 0);
}

fn strings(nar: &mut Vec<u8>, texts: &[&[u8]]) {
    texts.iter().for_each(|text| string(nar, text));
}

fn file(nar: &mut Vec<u8>, contents: &[u8]) {
    strings(nar, &[b"(", b"type", b"regular", b"contents", contents, b")"]);
}

/// Writes a node.
type Node<'n> = dyn Fn(&mut Vec<u8>) + 'n;

fn directory(nar: &mut Vec<u8>, entries: &[(&[u8], &Node<'_>)]) {
    strings(nar, &[b"(", b"type", b"directory"]);
    for (name, node) in entries {
        strings(nar, &[b"entry", b"(", b"name", name, b"node"]);
        node(nar);
        string(nar, b")");
    }
    string(nar, b")");
}

fn link(nar: &mut Vec<u8>, target: &[u8]) {
    strings(nar, &[b"(", b"type", b"symlink", b"target", target, b")"]);
}

fn nested(depth: usize) -> Vec<u8> {
    archive(|nar| {
        for _ in 0..depth {
            strings(nar, &[b"(", b"type", b"directory", b"entry", b"(", b"name", b"d", b"node"]);
        }
        file(nar, b"");
        for _ in 0..depth {
            strings(nar, &[b")", b")"]);
        }
    })
}

/// What Nix 2.34.8 restores and refuses.
#[test]
fn hostile_archives() {
    let x: &Node<'_> = &|nar| file(nar, b"x");
    let two = |first: &'static [u8], second: &'static [u8]| archive(|nar| directory(nar, &[(first, x), (second, x)]));
    let one = |name: &'static [u8]| archive(|nar| directory(nar, &[(name, x)]));
    let long_name = &*vec![b'a'; 256].leak();
    let long_target = vec![b'a'; 5000];
    let refused = [
        ("twice", two(b"a", b"a")),
        ("unsorted", two(b"b", b"a")),
        ("dotdot", one(b"..")),
        ("dot", one(b".")),
        ("slash", one(b"a/b")),
        ("absolute", one(b"/a")),
        ("empty name", one(b"")),
        ("zero byte", one(b"a\0b")),
        ("long name", one(long_name)),
        ("empty target", archive(|nar| link(nar, b""))),
        ("long target", archive(|nar| link(nar, &long_target))),
        ("deep", nested(64)),
        ("very deep", nested(100_000)),
        ("fifo", archive(|nar| strings(nar, &[b"(", b"type", b"fifo", b")"]))),
        ("link, then directory", archive(|nar| {
            directory(nar, &[(b"a", &|nar| link(nar, b"/tmp")), (b"a", &|nar| directory(nar, &[(b"b", x)]))]);
        })),
        ("huge", archive(|nar| {
            strings(nar, &[b"(", b"type", b"regular", b"contents"]);
            nar.extend((u64::MAX - 7).to_le_bytes());
        })),
        ("empty", Vec::new()),
    ];
    for (name, nar) in refused {
        let dir = tempfile::tempdir().unwrap();
        let result = restore(&mut nar.as_slice(), &dir.path().join("x"), Metadata::Ordinary);
        assert!(matches!(result, Err(StoreError::Format { .. })), "{name}: {result:?}");
    }
    for (name, mut nar) in [("deep", nested(63)), ("long name", one(&long_name[..255])), ("trailing", one(b"a"))] {
        nar.extend(b"trailing garbage");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        restore(&mut nar.as_slice(), &path, Metadata::Ordinary).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut again = Vec::new();
        dump(&path, None, &mut again).unwrap();
        assert!(nar.starts_with(&again), "{name}");
    }
}

#[test]
fn nothing_is_overwritten_or_followed() {
    let dir = tempfile::tempdir().unwrap();
    let outside = dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    let file_nar = archive(|nar| file(nar, b"new"));
    let dir_nar = archive(|nar| directory(nar, &[(b"f", &|nar| file(nar, b"new"))]));
    std::fs::write(dir.path().join("file"), "old").unwrap();
    symlink(&outside, dir.path().join("link")).unwrap();
    symlink("outside/made", dir.path().join("dangling")).unwrap();
    for name in ["file", "link", "dangling", "outside"] {
        for nar in [&file_nar, &dir_nar] {
            let error = restore(&mut nar.as_slice(), &dir.path().join(name), Metadata::Ordinary).unwrap_err();
            let says_so = match &error {
                StoreError::Exists { .. } => true,
                StoreError::Io { source, .. } => source.kind() == std::io::ErrorKind::AlreadyExists,
                _ => false,
            };
            assert!(says_so, "{name}: {error}");
        }
    }
    assert_eq!(std::fs::read(dir.path().join("file")).unwrap(), b"old");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn ordinary_files_can_be_changed_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let nar = archive(|nar| directory(nar, &[(b"f", &|nar| file(nar, b"x"))]));
    let path = dir.path().join("x");
    restore(&mut nar.as_slice(), &path, Metadata::Ordinary).unwrap();
    let mode = path.join("f").metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o600, 0o600);
}

#[test]
fn special_files_are_refused_and_links_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    let mut nar = Vec::new();
    dump(&dir.path().join("link"), None, &mut nar).unwrap();
    assert_eq!(nar, archive(|nar| link(nar, b"/etc/passwd")));
    rustix::fs::mkfifoat(rustix::fs::CWD, dir.path().join("fifo"), rustix::fs::Mode::RWXU).unwrap();
    let error = dump(dir.path(), None, &mut std::io::sink()).unwrap_err();
    assert!(matches!(error, StoreError::UnsupportedFileType { path } if path == dir.path().join("fifo")));
    let missing = dump(&dir.path().join("missing"), None, &mut std::io::sink());
    assert!(matches!(missing, Err(StoreError::Io { .. })));
}

/// A sink that changes a file while the archive is being written.
struct Meddler<'m> {
    path: &'m Path,
    n_written: usize,
    grow: bool,
}

impl Write for Meddler<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.n_written == 0 {
            let file = std::fs::File::options().write(true).open(self.path)?;
            file.set_len(if self.grow { 2_000_000 } else { 500_000 })?;
        }
        self.n_written += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_file_that_changes_its_size_meanwhile_is_an_error() {
    for grow in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![7; 1_000_000]).unwrap();
        let error = dump(&path, None, &mut Meddler { path: &path, n_written: 0, grow }).unwrap_err();
        assert!(matches!(error, StoreError::SizeChanged { expected: 1_000_000, .. }), "{error}");
    }
}

/// The same where the kernel copies: the reader of a pipe changes the file.
#[test]
fn a_large_file_that_changes_its_size_meanwhile_is_an_error() {
    for new_size in [3_000_000, 5_000_000] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, vec![7; 4_000_000]).unwrap();
        let (mut source, sink) = std::io::pipe().unwrap();
        let error = std::thread::scope(|scope| {
            scope.spawn(|| {
                source.read_exact(&mut [0; 200]).unwrap();
                std::fs::File::options().write(true).open(&path).unwrap().set_len(new_size).unwrap();
                std::io::copy(&mut source, &mut std::io::sink()).unwrap();
            });
            let sink = std::fs::File::from(std::os::fd::OwnedFd::from(sink));
            dump_into_file(&path, false, &sink).unwrap_err()
        });
        assert!(matches!(error, StoreError::SizeChanged { expected: 4_000_000, .. }), "{error}");
    }
}

/// Files and pipes, at either end, give what memory gives.
#[test]
fn large_files_go_through_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    for size in [5, 262_143, 262_144, 262_145, 3_000_001] {
        let bytes: Vec<u8> = (0..size).map(|idx| (idx % 251) as u8).collect();
        std::fs::write(tree.join(size.to_string()), bytes).unwrap();
    }
    let mut expected = Vec::new();
    dump(&tree, None, &mut expected).unwrap();

    let path = dir.path().join("nar");
    dump_into_file(&tree, false, &std::fs::File::create(&path).unwrap()).unwrap();
    assert!(std::fs::read(&path).unwrap() == expected);
    // The kernel does not send to such a file.
    std::fs::write(&path, b"").unwrap();
    dump_into_file(&tree, false, &std::fs::File::options().append(true).open(&path).unwrap()).unwrap();
    assert!(std::fs::read(&path).unwrap() == expected);

    let again = |nar: &std::fs::File, name: &str| {
        let copy = dir.path().join(name);
        restore_from_file(nar, &copy, Metadata::Ordinary, false).unwrap();
        let mut nar = Vec::new();
        dump(&copy, None, &mut nar).unwrap();
        assert!(nar == expected, "{name}");
    };
    again(&std::fs::File::open(&path).unwrap(), "from-file");
    let (source, sink) = std::io::pipe().unwrap();
    std::thread::scope(|scope| {
        let tree = &tree;
        scope.spawn(move || dump_into_file(tree, false, &std::fs::File::from(std::os::fd::OwnedFd::from(sink))).unwrap());
        again(&std::fs::File::from(std::os::fd::OwnedFd::from(source)), "from-pipe");
    });

    // An archive that ends in the middle of a file.
    std::fs::File::options().write(true).open(&path).unwrap().set_len(2_000_000).unwrap();
    let cut = restore_from_file(&std::fs::File::open(&path).unwrap(), &dir.path().join("cut"), Metadata::Ordinary, false);
    assert!(matches!(cut, Err(StoreError::Format { .. })), "{cut:?}");
}

#[test]
fn sizes_around_the_buffers_come_back() {
    let dir = tempfile::tempdir().unwrap();
    for size in [0, 1, 7, 8, 9, 32_767, 65_535, 65_536, 65_537, 131_072, 200_001] {
        let path = dir.path().join(size.to_string());
        let bytes: Vec<u8> = (0..size).map(|idx| (idx % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let mut nar = Vec::new();
        dump(&path, None, &mut nar).unwrap();
        let mut expected = NarWriter::new(Vec::new());
        expected.file(false, &bytes).unwrap();
        assert!(nar == expected.finish().unwrap(), "{size}");
        let copy = dir.path().join(format!("copy-{size}"));
        restore(&mut nar.as_slice(), &copy, Metadata::Ordinary).unwrap();
        assert!(std::fs::read(copy).unwrap() == bytes, "{size}");
    }
}
