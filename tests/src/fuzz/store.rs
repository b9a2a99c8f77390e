//! Targets of the store's formats: what is read and written again is the same.

use std::io::Cursor;

use nixlang_store::derivation::Derivation;
use nixlang_store::nar::{NarReader, NarWriter};
use nixlang_store::narinfo::NarInfo;
use nixlang_store::path::StoreDir;
use nixlang_store::wire::message::{Dialect, Message, Protocol};
use nixlang_store::wire::version::{Number, SERVE_LATEST, WORKER_LATEST, WORKER_MINIMUM};

pub(super) fn nar(data: &[u8]) {
    let mut reader = NarReader::new(Cursor::new(data));
    let mut writer = NarWriter::new(Vec::new());
    loop {
        match reader.next_event() {
            Ok(Some(event)) => writer.event(event).expect("what was read can be written"),
            Ok(None) => break,
            Err(_) => return,
        }
    }
    let length = reader.position() as usize;
    assert_eq!(writer.finish().expect("it is complete"), &data[..length], "an archive has one form");
}

pub(super) fn narinfo(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let store_dir = StoreDir::default();
    let Ok(info) = NarInfo::parse(&store_dir, text) else { return };
    let written = info.to_text(&store_dir);
    let again = NarInfo::parse(&store_dir, &written).unwrap_or_else(|error| panic!("{error}: {written}"));
    assert_eq!(again.to_text(&store_dir), written, "it is written as it was");
}

pub(super) fn derivation(data: &[u8]) {
    let store_dir = StoreDir::default();
    let Ok(parsed) = Derivation::parse_aterm(&store_dir, "fuzz", data) else { return };
    // A fixed output's path follows from its name, and not every name that can be read makes one.
    let Ok(written) = parsed.to_aterm(&store_dir) else { return };
    // Names of outputs and the system are written as they are, here as in the reference, which reads them with escapes.
    let is_plain = |text: &[u8]| !text.iter().any(|byte| b"\"\\\n\r\t".contains(byte));
    let mut names: Vec<_> = parsed.outputs.keys().collect();
    let mut inputs: Vec<_> = parsed.input_derivations.values().collect();
    while let Some(input) = inputs.pop() {
        names.extend(input.outputs.iter().chain(input.dynamic.keys()));
        inputs.extend(input.dynamic.values());
    }
    if !is_plain(&parsed.system) || !names.into_iter().all(|name| is_plain(name.as_ref())) {
        return;
    }
    let again = Derivation::parse_aterm(&store_dir, "fuzz", &written).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&written)));
    assert_eq!(again, parsed, "{}", String::from_utf8_lossy(&written));
    assert_eq!(again.to_aterm(&store_dir).expect("it could be written before"), written, "it is written as it was");
}

/// Reads a message, writes it, and reads that: nothing may get lost.
fn round_trip<M: Message>(data: &[u8], dialect: &Dialect<'_>) {
    let Ok(message) = M::read(&mut Cursor::new(data), dialect) else { return };
    let mut written = Vec::new();
    // What an older version cannot say is an error.
    if message.write(&mut written, dialect).is_err() {
        return;
    }
    let again = M::read(&mut Cursor::new(&written), dialect).unwrap_or_else(|error| panic!("{error}: {written:?}"));
    let mut twice = Vec::new();
    again.write(&mut twice, dialect).expect("it could be written before");
    assert_eq!(twice, written, "it is written as it was");
}

pub(super) fn wire(data: &[u8]) {
    use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
    use nixlang_store::realisation::{Realisation, UnkeyedRealisation};
    use nixlang_store::wire::build_result::{BuildResult, KeyedBuildResult};
    use nixlang_store::wire::derived_path::DerivedPath;
    use nixlang_store::wire::log::ServerMessage;
    use nixlang_store::wire::operations::{ClientOptions, GcRequest, Missing};
    use nixlang_store::wire::version::Version;
    let Some((&first, data)) = data.split_first() else { return };
    let store_dir = StoreDir::default();
    let newest = Version::of_client().protocol();
    let protocols = [newest, Protocol::worker(WORKER_LATEST), Protocol::worker(WORKER_MINIMUM), Protocol::worker(Number::new(1, 30)), Protocol::Serve(SERVE_LATEST), Protocol::Serve(Number::new(2, 7))];
    let dialect = Dialect { store_dir: &store_dir, protocol: protocols[usize::from(first >> 4) % protocols.len()] };
    match first % 12 {
        0 => round_trip::<UnkeyedPathInfo>(data, &dialect),
        1 => round_trip::<PathInfo>(data, &dialect),
        2 => round_trip::<BuildResult>(data, &dialect),
        3 => round_trip::<KeyedBuildResult>(data, &dialect),
        4 => round_trip::<DerivedPath>(data, &dialect),
        5 => round_trip::<ServerMessage>(data, &dialect),
        6 => round_trip::<ClientOptions>(data, &dialect),
        7 => round_trip::<GcRequest>(data, &dialect),
        8 => round_trip::<Missing>(data, &dialect),
        9 => round_trip::<Realisation>(data, &dialect),
        11 => round_trip::<Option<UnkeyedRealisation>>(data, &dialect),
        _ => round_trip::<Vec<String>>(data, &dialect),
    }
}
