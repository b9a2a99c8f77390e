//! Archives against a captured one, and against what the reference accepts and refuses.

use std::io::{self, BufRead, Read};

use super::*;
use crate::hash::{Algorithm, Hash, HashFormat};

const TREE: &[u8] = include_bytes!("../../fixtures/nar/tree.nar");

/// A source that hands out one byte at a time, the worst case for borrowed contents.
struct Dribble<'b>(&'b [u8]);

impl Read for Dribble<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let length = bytes.len().min(1);
        self.0.read(&mut bytes[..length])
    }
}

impl BufRead for Dribble<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        Ok(&self.0[..self.0.len().min(1)])
    }

    fn consume(&mut self, length: usize) {
        self.0.consume(length);
    }
}

/// Copies an archive through reader and writer; returns the copy and what was left of the source.
fn copy<R: BufRead>(source: R) -> Result<(Vec<u8>, R), NarError> {
    let mut reader = NarReader::new(source);
    let mut writer = NarWriter::new(Vec::new());
    while let Some(event) = reader.next_event()? {
        writer.event(event)?;
    }
    assert_eq!(reader.position(), writer.position());
    Ok((writer.finish()?, reader.into_inner()))
}

#[test]
fn captured_archive_round_trips() {
    let (same, rest) = copy(TREE).unwrap();
    assert_eq!((same.as_slice(), rest.len()), (TREE, 0));
    assert_eq!(copy(Dribble(TREE)).unwrap().0, TREE);
    // `nix-hash --type sha256 --base32` of the tree, Nix 2.34.8.
    assert_eq!(
        Hash::digest(Algorithm::Sha256, TREE).format(HashFormat::Nix32, false),
        "0p5l6vi6b75jx9wzj7r45mihdpw748mj56hp4sc8nxq3n83fa3x0",
    );
}

#[test]
fn reader_stops_at_the_end_of_the_archive() {
    let mut bytes = TREE.to_vec();
    bytes.extend_from_slice(b"what follows");
    assert_eq!(copy(bytes.as_slice()).unwrap().1, b"what follows");
}

#[test]
fn listing_is_the_captured_one() {
    let listing = Listing::read(TREE).unwrap();
    let document = listing.to_json_document().unwrap();
    assert_eq!(crate::json::to_string(&document), include_str!("../../fixtures/nar/tree.ls"));
    assert_eq!(Listing::from_json_document(&document).unwrap(), listing);

    let Some(Listing::Regular { size, executable, nar_offset: Some(offset) }) = listing.find(b"exec") else {
        panic!("the tree has a file called exec");
    };
    assert!(executable);
    let offset = usize::try_from(*offset).unwrap();
    assert_eq!(&TREE[offset..][..usize::try_from(*size).unwrap()], b"#!/bin/sh\n");
    assert_eq!(listing.find(b"sub/link"), Some(&Listing::Symlink(b"../file".to_vec())));
    assert_eq!(listing.find(b"sub/link/x"), None);
}

#[test]
fn hostile_listings_are_refused() {
    let refused = |text: &str| {
        let document = serde_json::from_str(text).unwrap();
        assert!(Listing::from_json_document(&document).is_err(), "{text}");
    };
    refused("{}");
    refused(r#"{"version":2,"root":{"type":"symlink","target":"x"}}"#);
    refused(r#"{"version":1,"root":{"type":"fifo"}}"#);
    refused(r#"{"version":1,"root":{"type":"regular","size":-1}}"#);
    refused(r#"{"version":1,"root":{"type":"directory","entries":{"a/b":{"type":"symlink","target":"x"}}}}"#);
    let deep = format!(
        r#"{{"version":1,"root":{}{}{}}}"#,
        r#"{"type":"directory","entries":{"a":"#.repeat(60),
        r#"{"type":"directory","entries":{}}"#,
        "}}".repeat(60)
    );
    let document = serde_json::from_str::<serde_json::Value>(&deep);
    // 122 levels of JSON are 61 of directories.
    assert!(Listing::from_json_document(&document.unwrap()).is_ok());
}

fn string(bytes: &[u8]) -> Vec<u8> {
    let mut string = (bytes.len() as u64).to_le_bytes().to_vec();
    string.extend_from_slice(bytes);
    string.resize(string.len().next_multiple_of(8), 0);
    string
}

fn strings(parts: &[&[u8]]) -> Vec<u8> {
    parts.iter().flat_map(|part| string(part)).collect()
}

fn file() -> Vec<u8> {
    strings(&[b"(", b"type", b"regular", b"contents", b"x", b")"])
}

fn symlink(target: &[u8]) -> Vec<u8> {
    strings(&[b"(", b"type", b"symlink", b"target", target, b")"])
}

fn directory(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let mut bytes = strings(&[b"(", b"type", b"directory"]);
    for (name, node) in entries {
        bytes.extend(strings(&[b"entry", b"(", b"name", name, b"node"]));
        bytes.extend_from_slice(node);
        bytes.extend(string(b")"));
    }
    bytes.extend(string(b")"));
    bytes
}

fn nested(n_directories: usize) -> Vec<u8> {
    (0..n_directories).fold(file(), |node, _| directory(&[(b"a", node)]))
}

/// What `nix-store --restore` of Nix 2.34.8 does with each of these.
#[test]
fn accepted_and_refused_as_by_the_reference() {
    let read = |root: Vec<u8>| {
        let mut archive = string(MAGIC);
        archive.extend(root);
        copy(archive.as_slice()).map(|(same, _)| assert_eq!(same, archive))
    };
    let refused = |root: Vec<u8>| read(root).unwrap_err().to_string();

    read(directory(&[(b"a", file()), (b"b", symlink(b"a"))])).unwrap();
    read(nested(63)).unwrap();
    read(directory(&[(&[b'a'; 255], file())])).unwrap();
    read(symlink(&[b'a'; 4095])).unwrap();

    let too_deep = "bad archive: NAR directory nesting exceeds maximum depth of 64";
    assert_eq!(refused(nested(64)), too_deep);
    assert_eq!(refused(nested(500)), too_deep);
    for pair in [[b"b", b"a"], [b"a", b"a"]] {
        let message = refused(directory(&pair.map(|name| (name.as_slice(), file()))));
        assert!(message.starts_with("bad archive: NAR directory is not sorted"), "{message}");
    }
    for name in [&b""[..], b".", b"..", b"a/b", b"/", b"a\0b"] {
        let message = refused(directory(&[(name, file())]));
        assert!(message.starts_with("bad archive: NAR contains invalid file name"), "{message}");
    }
    let link_then_directory = directory(&[(b"a", symlink(b"/tmp")), (b"a", directory(&[(b"x", file())]))]);
    assert!(matches!(read(link_then_directory), Err(NarError::Unsorted { .. })));
    assert!(matches!(read(directory(&[(&[b'a'; 256], file())])), Err(NarError::TooLong { .. })));
    assert_eq!(refused(symlink(b"")), "bad archive: NAR contains invalid symlink target");
    assert_eq!(refused(symlink(b"a\0")), "bad archive: NAR contains invalid symlink target");
    assert!(matches!(read(symlink(&[b'a'; 5000])), Err(NarError::TooLong { .. })));
    assert_eq!(
        refused(strings(&[b"(", b"type", b"regular", b"executable", b"y", b"contents", b"x", b")"])),
        "bad archive: executable marker has non-empty value",
    );
    assert_eq!(refused(strings(&[b"(", b"type", b"fifo", b")"])), "bad archive: unknown file type 'fifo'");
    let mut padded = strings(&[b"(", b"type", b"regular", b"contents"]);
    padded.extend_from_slice(&1u64.to_le_bytes());
    padded.extend_from_slice(b"x\x01\x01\x01\x01\x01\x01\x01");
    padded.extend(string(b")"));
    assert_eq!(refused(padded), "bad archive: non-zero padding");
    for length in [u64::MAX - 7, u64::MAX, 1 << 40] {
        let mut huge = strings(&[b"(", b"type", b"regular", b"contents"]);
        huge.extend_from_slice(&length.to_le_bytes());
        huge.extend_from_slice(&[b'x'; 64]);
        assert!(matches!(read(huge), Err(NarError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof));
    }
    assert!(matches!(copy(&b"nix-archive-1"[..]), Err(NarError::NoMagic)));
    assert!(matches!(copy(&b""[..]), Err(NarError::NoMagic)));
}

#[test]
fn damaged_archives_do_no_harm() {
    for end in 0..TREE.len() {
        assert!(copy(&TREE[..end]).is_err());
    }
    for position in 0..TREE.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut damaged = TREE.to_vec();
            damaged[position] ^= bit;
            if let Ok((same, _)) = copy(damaged.as_slice()) {
                assert_eq!(same, damaged);
            }
        }
    }
}

#[test]
fn writer_refuses_what_is_no_archive() {
    let new = || NarWriter::new(Vec::new());
    assert!(matches!(new().finish(), Err(NarError::Misplaced { .. })));
    assert!(matches!(new().entry(b"a"), Err(NarError::Misplaced { .. })));
    assert!(matches!(new().end_directory(), Err(NarError::Misplaced { .. })));
    assert!(matches!(new().contents(b"a"), Err(NarError::Misplaced { .. })));

    let mut writer = new();
    writer.file(true, b"").unwrap();
    assert!(matches!(writer.symlink(b"x"), Err(NarError::Misplaced { .. })));

    // A file that shrinks or grows while it is read.
    assert!(matches!(
        new().file_from(false, 3, &b"xx"[..]),
        Err(NarError::WrongSize { found: 2, expected: 3 })
    ));
    assert!(matches!(
        new().file_from(false, 3, &b"xxxx"[..]),
        Err(NarError::WrongSize { .. })
    ));

    let mut writer = new();
    for _ in 0..MAX_DEPTH {
        writer.directory().unwrap();
        writer.entry(b"a").unwrap();
    }
    assert!(matches!(writer.directory(), Err(NarError::TooDeep)));
}

#[test]
fn large_contents_pass_in_pieces() {
    let contents: Vec<u8> = (0..300_001u32).map(|idx| (idx % 251) as u8).collect();
    let mut whole = NarWriter::new(Vec::new());
    whole.file(false, &contents).unwrap();
    let mut pieces = NarWriter::new(Vec::new());
    pieces.file_from(false, contents.len() as u64, contents.as_slice()).unwrap();
    let whole = whole.finish().unwrap();
    assert_eq!(whole, pieces.finish().unwrap());
    assert_eq!(whole.len() % 8, 0);
    assert_eq!(copy(whole.as_slice()).unwrap().0, whole);
}
