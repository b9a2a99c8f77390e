//! Archives that nobody should have made, and some that somebody should.

use super::*;

/// Builds a tar archive from names, types and contents, without any of the checks that a good writer makes.
fn tar(entries: &[(&str, u8, &str)]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (name, kind, contents) in entries {
        let mut header = ::tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(::tar::EntryType::new(*kind));
        header.set_mode(if name.ends_with('x') { 0o755 } else { 0o644 });
        header.set_mtime(1_000_000_000);
        let is_link = matches!(kind, b'1' | b'2');
        if is_link {
            header.as_old_mut().linkname[..contents.len()].copy_from_slice(contents.as_bytes());
        }
        header.set_size(if is_link { 0 } else { contents.len() as u64 });
        header.set_cksum();
        archive.extend_from_slice(header.as_bytes());
        if !is_link {
            archive.extend_from_slice(contents.as_bytes());
            archive.resize(archive.len().next_multiple_of(512), 0);
        }
    }
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn file(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

fn open(bytes: &[u8], limits: &Limits) -> Result<Archive> {
    Archive::read(file(bytes), limits)
}

/// Lists a tree: one word per entry.
fn list(archive: &Archive) -> String {
    let mut nar = Vec::new();
    archive.write_nar(false, &mut nar).unwrap();
    let mut source = &nar[..];
    let mut reader = crate::nar::NarReader::new(&mut source);
    let mut words = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut depth = 0;
    while let Some(event) = reader.next_event().unwrap() {
        use crate::nar::Event;
        match event {
            Event::Directory => {
                depth += 1;
                words.push(format!("{}/", path.join("/")));
            }
            Event::EndDirectory => depth -= 1,
            Event::Entry(name) => {
                path.truncate(depth - 1);
                path.push(String::from_utf8_lossy(name).into_owned());
            }
            Event::File { executable, .. } => words.push(format!("{}{}", path.join("/"), if executable { "*" } else { "" })),
            Event::Contents(bytes) => words.push(format!("={}", String::from_utf8_lossy(bytes))),
            Event::Symlink(target) => words.push(format!("{}->{}", path.join("/"), String::from_utf8_lossy(target))),
            Event::EndFile => {}
        }
    }
    words.join(" ")
}

fn listed(entries: &[(&str, u8, &str)]) -> String {
    open(&tar(entries), &Limits::default()).map_or_else(|error| format!("error: {error}"), |archive| list(&archive))
}

#[test]
fn names_that_lead_outside_stay_inside() {
    assert_eq!(listed(&[("../../etc/passwd", b'0', "a")]), "/ etc/ etc/passwd =a");
    assert_eq!(listed(&[("/etc/passwd", b'0', "a")]), "/ etc/ etc/passwd =a");
    assert_eq!(listed(&[("a/../../b", b'0', "a"), ("./c//d", b'0', "b")]), "/ b =a c/ c/d =b");
    assert_eq!(listed(&[("..", b'5', ""), ("/", b'5', ""), ("", b'0', "x")]), "/");
}

#[test]
fn links_are_not_followed() {
    assert_eq!(listed(&[("l", b'2', "/etc"), ("l/passwd", b'0', "a")]), "error: path '/l/passwd' has a non-directory parent");
    assert_eq!(listed(&[("l", b'2', "../../x")]), "/ l->../../x");
    // A file takes a link's place rather than going through it.
    assert_eq!(listed(&[("first", b'0', ""), ("l", b'2', "/etc/passwd"), ("l", b'0', "a")]), "/ first l =a");
    assert_eq!(listed(&[("l", b'1', "../../etc/passwd")]), "error: path '/etc/passwd' does not exist");
    assert_eq!(listed(&[("d", b'5', ""), ("l", b'1', "d")]), "error: cannot create a hard link to a directory");
    assert_eq!(listed(&[("s", b'2', "/etc"), ("l", b'1', "s/passwd")]), "error: path '/s/passwd' has a non-directory parent");
}

#[test]
fn trees_as_the_reference_has_them() {
    assert_eq!(listed(&[("l", b'1', "a/f"), ("a/f", b'0', "x")]), "/ a/ a/f =x l =x");
    assert_eq!(listed(&[("a/x", b'0', "1"), ("b", b'5', ""), ("a/x", b'0', "2")]), "/ a/ a/x* =2 b/");
    assert_eq!(listed(&[("a/b", b'0', "1"), ("a", b'5', ""), ("a/c", b'0', "2")]), "/ a/ a/b =1 a/c =2");
    assert_eq!(listed(&[("p", b'6', "")]), "error: file 'p' in tarball has unsupported file type 54");
    let mut archive = open(&tar(&[("top/f", b'0', "x")]), &Limits::default()).unwrap();
    assert_eq!(archive.last_modified(), 1_000_000_000);
    assert!(archive.strip_single_directory());
    assert_eq!(list(&archive), "/ f =x");
    assert!(!archive.strip_single_directory(), "a single file is no directory");
}

#[test]
fn what_is_too_much_or_broken_is_an_error() {
    let limits = Limits { n_entries: 3, n_bytes: 10, path_len: 20 };
    let error = |bytes: &[u8]| open(bytes, &limits).expect_err("too much").to_string();
    assert_eq!(error(&tar(&[("a/b/c/d", b'0', "")])), "archive has more than 3 entries");
    assert_eq!(error(&tar(&[("a", b'0', "123456"), ("b", b'0', "123456")])), "archive has more than 10 bytes");
    assert_eq!(error(&tar(&[("a/b/c/d/e/f/g/h/i/j/k/l", b'0', "")])), "archive has more than 20 bytes in a path");
    assert_eq!(error(&tar(&[("x", b'L', "a-name-that-is-much-too-long")])), "archive has more than 20 bytes in a header");
    assert_eq!(error(b"this is no archive at all"), "Failed to open archive (Unrecognized archive format)");
    // A size that isn't there takes no memory.
    let mut header = ::tar::Header::new_gnu();
    header.set_path("huge").unwrap();
    header.set_size(u64::MAX / 4);
    header.set_mode(0o644);
    header.set_cksum();
    let huge = open(header.as_bytes(), &Limits { n_bytes: u64::MAX, ..Limits::default() });
    assert!(huge.expect_err("it ends early").to_string().starts_with("cannot read file from tarball"));
    let whole = tar(&[("a", b'0', "123456")]);
    assert!(open(&whole[..515], &Limits::default()).is_err());
    // Depth takes no stack, and more of it than a NAR may have is found out.
    let deep = format!("{}f", "d/".repeat(40));
    let nested = open(&tar(&[(&deep, b'0', "")]), &Limits::default()).unwrap();
    assert!(nested.write_nar(false, &mut Vec::new()).is_ok());
    let mut long = tar(&[("x", b'L', &"d/".repeat(4_000))]);
    long.truncate(long.len() - 1024);
    long.extend(tar(&[("x", b'0', "")]));
    let deep = open(&long, &Limits::default()).unwrap();
    assert!(deep.write_nar(false, &mut Vec::new()).unwrap_err().to_string().contains("maximum depth"));
}

#[test]
fn compressed_archives_and_zips() {
    let plain = tar(&[("top/f", b'0', "hi")]);
    for compression in [Compression::Gzip, Compression::Xz, Compression::Bzip2, Compression::Zstd] {
        let packed = crate::compression::compress(compression, &Default::default(), &plain).unwrap();
        assert_eq!(list(&open(&packed, &Limits::default()).unwrap()), "/ top/ top/f =hi", "{compression:?}");
    }
    assert_eq!(list(&open(b"", &Limits::default()).unwrap()), "/");
    let mut writer = ::zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = || ::zip::write::SimpleFileOptions::default();
    writer.start_file("../top/f", options().unix_permissions(0o755)).unwrap();
    writer.write_all(b"hi").unwrap();
    writer.add_symlink("top/l", "../../etc", options()).unwrap();
    writer.add_directory("top/d", options()).unwrap();
    let zip = writer.finish().unwrap().into_inner();
    assert_eq!(list(&open(&zip, &Limits::default()).unwrap()), "/ top/ top/d/ top/f* =hi top/l->../../etc");
    assert!(open(&zip[..zip.len() - 10], &Limits::default()).is_err());
}

#[test]
fn mounts_replace_what_is_there() {
    let archive = open(&tar(&[("a/f", b'0', "1"), ("m/old", b'0', "2"), ("n", b'0', "3"), ("z", b'0', "4")]), &Limits::default()).unwrap();
    let other = open(&tar(&[("new", b'0', "5")]), &Limits::default()).unwrap();
    let nar = |archive: &Archive| {
        let mut nar = Vec::new();
        archive.write_nar(false, &mut nar).unwrap();
        nar
    };
    let mut mounts: BTreeMap<Vec<u8>, Box<dyn BufRead>> = BTreeMap::new();
    for place in ["m", "n", "absent"] {
        mounts.insert(place.into(), Box::new(io::Cursor::new(nar(&other))));
    }
    let mut spliced = Vec::new();
    splice(&mut &nar(&archive)[..], &mut mounts, &mut spliced).unwrap();
    let expected = open(
        &tar(&[("a/f", b'0', "1"), ("m/new", b'0', "5"), ("n/new", b'0', "5"), ("z", b'0', "4")]),
        &Limits::default(),
    );
    assert!(spliced == nar(&expected.unwrap()));
    assert_eq!(mounts.len(), 1, "nothing was at the third place");
}
