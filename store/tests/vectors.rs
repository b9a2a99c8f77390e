//! The reference's characterisation data, both ways: bytes to values to JSON, and values back to the same bytes.
//!
//! `NIX_UPSTREAM_SRC` names a checkout of the reference: 2.34.8, or its master after 2.35 (88b09c64), which has the vectors of 2.34 with
//! other JSON beside them and new ones. A vector that nobody here knows is a failure, so that a newer checkout says what it added.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

use nixlang_store::content_address::ContentAddress;
use nixlang_store::derivation::{Derivation, DerivationOutput};
use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::narinfo::NarInfo;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::path_info::json::JsonFormat;
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::realisation::{DerivationKey, DerivationOutputId, Realisation, UnkeyedRealisation};
use nixlang_store::signature::{SecretKey, TrustedKeys};
use nixlang_store::wire::build_result::{BuildMode, BuildResult, KeyedBuildResult};
use nixlang_store::wire::derived_path::{DerivedPath, OutputsSpec, SingleDerivedPath};
use nixlang_store::wire::message::{Dialect, Message, Protocol, Trust};
use nixlang_store::wire::serve::ServeBuildOptions;
use nixlang_store::wire::version::{DaemonInfo, Feature, Features, Number};
use serde_json::{Value, json};

/// Returns the data's directory, or says why nothing is tested.
fn data() -> Option<PathBuf> {
    let Some(source) = std::env::var_os("NIX_UPSTREAM_SRC") else {
        eprintln!("skipped: NIX_UPSTREAM_SRC does not name a checkout of the reference");
        return None;
    };
    Some(Path::new(&source).join("src/libstore-tests/data"))
}

fn dir() -> StoreDir {
    StoreDir::default()
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// What a value is in the JSON beside the bytes.
trait ToJson {
    fn to_json_value(&self) -> Value;
}

impl ToJson for Vec<u8> {
    fn to_json_value(&self) -> Value {
        std::str::from_utf8(self).unwrap().into()
    }
}

impl<T: ToJson> ToJson for Vec<T> {
    fn to_json_value(&self) -> Value {
        self.iter().map(ToJson::to_json_value).collect()
    }
}

impl<T: ToJson> ToJson for BTreeSet<T> {
    fn to_json_value(&self) -> Value {
        self.iter().map(ToJson::to_json_value).collect()
    }
}

impl ToJson for StorePath {
    fn to_json_value(&self) -> Value {
        self.base_name().into()
    }
}

impl<T: ToJson> ToJson for Option<T> {
    fn to_json_value(&self) -> Value {
        self.as_ref().map_or(Value::Null, ToJson::to_json_value)
    }
}

impl ToJson for ContentAddress {
    fn to_json_value(&self) -> Value {
        json!({ "method": self.method.name(), "hash": self.hash.format(HashFormat::Sri, true) })
    }
}

impl ToJson for DerivationOutputId {
    fn to_json_value(&self) -> Value {
        match &self.derivation {
            DerivationKey::Hash(_) => self.to_string().into(),
            DerivationKey::Path(path) => json!({ "drvPath": path.base_name(), "outputName": self.output.as_str() }),
        }
    }
}

impl ToJson for UnkeyedRealisation {
    fn to_json_value(&self) -> Value {
        self.to_json()
    }
}

impl ToJson for Realisation {
    fn to_json_value(&self) -> Value {
        self.to_json()
    }
}

impl ToJson for Trust {
    fn to_json_value(&self) -> Value {
        (*self == Trust::Trusted).into()
    }
}

impl ToJson for BuildMode {
    fn to_json_value(&self) -> Value {
        (*self as u64).into()
    }
}

impl ToJson for SingleDerivedPath {
    fn to_json_value(&self) -> Value {
        match self {
            SingleDerivedPath::Opaque(path) => path.to_json_value(),
            SingleDerivedPath::Built { derivation, output } => {
                json!({ "drvPath": derivation.to_json_value(), "output": output.as_str() })
            }
        }
    }
}

impl ToJson for DerivedPath {
    fn to_json_value(&self) -> Value {
        match self {
            DerivedPath::Opaque(path) => path.to_json_value(),
            DerivedPath::Built { derivation, outputs } => {
                let outputs: Vec<&str> = match outputs {
                    OutputsSpec::All => vec!["*"],
                    OutputsSpec::Names(names) => names.iter().map(AsRef::as_ref).collect(),
                };
                json!({ "drvPath": derivation.to_json_value(), "outputs": outputs })
            }
        }
    }
}

impl ToJson for BuildResult {
    fn to_json_value(&self) -> Value {
        self.to_json()
    }
}

impl ToJson for KeyedBuildResult {
    fn to_json_value(&self) -> Value {
        let mut json = self.result.to_json_value();
        json["path"] = self.path.to_json_value();
        json
    }
}

impl ToJson for UnkeyedPathInfo {
    fn to_json_value(&self) -> Value {
        self.to_json(&dir(), JsonFormat::V2, true)
    }
}

impl ToJson for PathInfo {
    fn to_json_value(&self) -> Value {
        let mut json = self.info.to_json_value();
        json["path"] = self.path.to_json_value();
        json
    }
}

/// Counts what was compared, and knows which files of a folder were.
struct Folder {
    path: PathBuf,
    seen: BTreeSet<String>,
    /// Whether the checkout is of a version after 2.34: what is the same must be read, what is new is named.
    is_newer: bool,
}

/// Whether a checkout is of a version after 2.34.
fn is_newer(data: &Path) -> bool {
    let version = std::fs::read_to_string(data.join("../../../.version")).unwrap_or_default();
    !version.trim().is_empty() && !version.starts_with("2.34")
}

/// JSON of newer versions as 2.34 writes it.
fn as_before(json: Value) -> Value {
    match json {
        Value::Array(values) => values.into_iter().map(as_before).collect(),
        Value::Object(fields) => {
            if let (Some(Value::String(key)), Some(Value::String(bytes))) = (fields.get("keyName"), fields.get("sig")) {
                return format!("{key}:{bytes}").into();
            }
            let kept = fields.into_iter().filter(|(key, _)| key != "version" && key != "dependentRealisations" && key != "id");
            Value::Object(kept.map(|(key, value)| (key, as_before(value))).collect())
        }
        other => other,
    }
}

impl Folder {
    fn bytes(&mut self, name: &str) -> Vec<u8> {
        self.seen.insert(format!("{name}.bin"));
        std::fs::read(self.path.join(format!("{name}.bin"))).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn json(&mut self, name: &str) -> Value {
        self.seen.insert(format!("{name}.json"));
        read_json(&self.path.join(format!("{name}.json")))
    }

    /// Values that stand one after the other, all of one type.
    fn check<T: Message + ToJson + Debug>(&mut self, name: &str, protocol: Protocol) {
        let (bytes, values) = self.read_all::<T>(name, protocol);
        let found = Value::from_iter(values.iter().map(ToJson::to_json_value));
        if self.is_newer {
            assert_eq!(as_before(found), as_before(self.json(name)), "{name}");
            // This form is no longer in use there; the file has signatures in a way in which no release wrote it.
            let is_left_over = name == "realisation";
            assert!(is_left_over || write_all(&values, protocol) == bytes, "{name}");
            return;
        }
        assert_eq!(found, self.json(name), "{name}");
        assert_eq!(write_all(&values, protocol), bytes, "{name}");
    }

    fn read_all<T: Message>(&mut self, name: &str, protocol: Protocol) -> (Vec<u8>, Vec<T>) {
        let bytes = self.bytes(name);
        let store_dir = dir();
        let dialect = Dialect { store_dir: &store_dir, protocol };
        let mut source = bytes.as_slice();
        let mut values = Vec::new();
        while !source.is_empty() {
            values.push(T::read(&mut source, &dialect).unwrap_or_else(|error| panic!("{name}: {error}")));
        }
        for end in (0..bytes.len()).step_by(8) {
            // Whatever is cut off, reading ends with an error or a value.
            let _ = T::read(&mut &bytes[..end], &dialect);
        }
        (bytes, values)
    }

    /// One value of the form of 2.35, whose JSON is the same here and there.
    fn check_one<T: Message + ToJson + Debug>(&mut self, name: &str, protocol: Protocol) {
        let (bytes, values) = self.read_all::<T>(name, protocol);
        assert_eq!(values.len(), 1, "{name}");
        assert_eq!(values[0].to_json_value(), self.json(name), "{name}");
        assert_eq!(write_all(&values, protocol), bytes, "{name}");
    }

    /// What the form of 2.35 has.
    fn check_newer(&mut self, suffix: &str, protocol: Protocol) {
        self.check::<BuildResult>(&format!("build-result-{suffix}"), protocol);
        self.check::<DerivationOutputId>(&format!("drv-output-{suffix}"), protocol);
        self.check_one::<Realisation>(&format!("realisation-{suffix}"), protocol);
        self.check_one::<UnkeyedRealisation>(&format!("unkeyed-realisation-{suffix}"), protocol);
    }

    /// Three lists of strings and a list of such lists.
    fn check_containers<T: Message + ToJson, N: Message + ToJson>(&mut self, name: &str, protocol: Protocol) {
        let bytes = self.bytes(name);
        let store_dir = dir();
        let dialect = Dialect { store_dir: &store_dir, protocol };
        let mut source = bytes.as_slice();
        let mut written = Vec::new();
        let mut json = Vec::new();
        for _ in 0..3 {
            let value = T::read(&mut source, &dialect).unwrap();
            value.write(&mut written, &dialect).unwrap();
            json.push(value.to_json_value());
        }
        let value = N::read(&mut source, &dialect).unwrap();
        value.write(&mut written, &dialect).unwrap();
        json.push(value.to_json_value());
        assert!(source.is_empty());
        assert_eq!(written, bytes, "{name}");
        assert_eq!(Value::from(json), self.json(name), "{name}");
    }

    fn check_common(&mut self, protocol: Protocol) {
        type Bytes = Vec<u8>;
        self.check::<Bytes>("string", protocol);
        self.check::<StorePath>("store-path", protocol);
        self.check::<Option<StorePath>>("optional-store-path", protocol);
        self.check::<ContentAddress>("content-address", protocol);
        self.check::<Option<ContentAddress>>("optional-content-address", protocol);
        self.check::<DerivationOutputId>("drv-output", protocol);
        self.check::<Realisation>("realisation", protocol);
        self.check_containers::<Vec<Bytes>, Vec<Vec<Bytes>>>("vector", protocol);
        self.check_containers::<BTreeSet<Bytes>, BTreeSet<BTreeSet<Bytes>>>("set", protocol);
        // Written by older programs; what it depends on is read over.
        let (_, realisations) = self.read_all::<Realisation>("realisation-with-deps", protocol);
        let mut expected = self.json("realisation-with-deps");
        expected[0]["dependentRealisations"] = json!({});
        assert!(self.is_newer || realisations.to_json_value() == expected);
    }

    fn finish(self) -> usize {
        let there: BTreeSet<String> = std::fs::read_dir(&self.path)
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_type().unwrap().is_file())
            .map(|entry| entry.file_name().into_string().unwrap())
            .collect();
        assert_eq!(there, self.seen, "{}", self.path.display());
        self.seen.len()
    }
}

fn write_all<T: Message>(values: &[T], protocol: Protocol) -> Vec<u8> {
    let store_dir = dir();
    let dialect = Dialect { store_dir: &store_dir, protocol };
    let mut bytes = Vec::new();
    for value in values {
        value.write(&mut bytes, &dialect).unwrap();
    }
    bytes
}

#[test]
fn protocols() {
    let Some(data) = data() else { return };
    let is_newer = is_newer(&data);
    let folder = |name: &str| Folder { path: data.join(name), seen: BTreeSet::new(), is_newer };
    let worker = |minor| Protocol::worker(Number::new(1, minor));
    let serve = |minor| Protocol::Serve(Number::new(2, minor));
    let mut n_files = 0;

    let mut common = folder("common-protocol");
    common.check_common(worker(10));
    n_files += common.finish();

    let mut files = folder("worker-protocol");
    files.check_common(worker(10));
    files.check::<BuildMode>("build-mode", worker(10));
    files.check::<Option<Trust>>("optional-trusted-flag", worker(10));
    for minor in [27, 28, 29, 37] {
        files.check::<BuildResult>(&format!("build-result-1.{minor}"), worker(minor));
    }
    for minor in [29, 30] {
        files.check::<DerivedPath>(&format!("derived-path-1.{minor}"), worker(minor));
    }
    files.check::<KeyedBuildResult>("keyed-build-result-1.29", worker(29));
    if is_newer {
        // What programs of 2.35 say to those of 2.34, and to each other.
        files.check::<BuildResult>("build-result-1.29-compat", worker(29));
        let features = Features::NONE.with(Feature::RealisationsByPath);
        let newest = Protocol::Worker { number: Number::new(1, 38), features };
        files.check_newer(Feature::RealisationsByPath.name(), newest);
    }
    files.check::<UnkeyedPathInfo>("unkeyed-valid-path-info-1.15", worker(15));
    files.check::<PathInfo>("valid-path-info-1.15", worker(15));
    files.check::<PathInfo>("valid-path-info-1.16", worker(16));
    let info = |version: &str, trust| DaemonInfo { version: Some(version.to_owned()), trust };
    for (minor, expected) in [
        (30, vec![]),
        (33, vec![info("foo", None), info("bar", None)]),
        (35, vec![info("foo", Some(Trust::NotTrusted)), info("bar", Some(Trust::Trusted))]),
    ] {
        let (bytes, infos) = files.read_all::<DaemonInfo>(&format!("client-handshake-info_1_{minor}"), worker(minor));
        assert_eq!(infos, expected);
        assert_eq!(write_all(&infos, worker(minor)), bytes);
    }
    let greeting = files.bytes("handshake-to-client");
    assert_eq!(greeting, greeting_bytes(0x6478_696f, Number::new(1, 10)));
    n_files += files.finish();

    let mut files = folder("serve-protocol");
    files.check_common(serve(0));
    for minor in [2, 3, 6] {
        files.check::<BuildResult>(&format!("build-result-2.{minor}"), serve(minor));
    }
    if is_newer {
        files.check::<BuildResult>("build-result-2.7-compat", serve(7));
        files.check_newer("2.8", serve(8));
    }
    // Before 2.4 the hash of the archive does not travel: a value nobody uses stands for it.
    let (bytes, infos) = files.read_all::<UnkeyedPathInfo>("unkeyed-valid-path-info-2.3", serve(3));
    assert_eq!(write_all(&infos, serve(3)), bytes);
    for (info, mut expected) in infos.iter().zip(files.json("unkeyed-valid-path-info-2.3").as_array().unwrap().clone()) {
        let mut json = info.to_json_value();
        json["narHash"].take();
        expected["narHash"].take();
        assert!(json == expected || is_newer && as_before(json) == as_before(expected));
    }
    files.check::<UnkeyedPathInfo>("unkeyed-valid-path-info-2.4", serve(4));
    let full = ServeBuildOptions {
        max_silent_time: 5,
        timeout: 6,
        max_log_size: 7,
        n_repeats: 8,
        enforce_determinism: true,
        keep_failed: false,
    };
    for (minor, expected) in [
        (1, ServeBuildOptions { max_log_size: 0, n_repeats: 0, enforce_determinism: false, ..full }),
        (2, ServeBuildOptions { n_repeats: 0, enforce_determinism: false, ..full }),
        (3, full),
        (7, ServeBuildOptions { enforce_determinism: false, keep_failed: true, ..full }),
    ] {
        let (bytes, options) = files.read_all::<ServeBuildOptions>(&format!("build-options-2.{minor}"), serve(minor));
        assert_eq!(options, [expected]);
        assert_eq!(write_all(&options, serve(minor)), bytes);
    }
    let greeting = files.bytes("handshake-to-client");
    assert_eq!(greeting, greeting_bytes(0x5452_eecb, Number::new(2, 5)));
    n_files += files.finish();

    println!("compared {n_files} files");
}

fn greeting_bytes(magic: u64, number: Number) -> Vec<u8> {
    [magic.to_le_bytes(), number.to_wire().to_le_bytes()].concat()
}

/// All `.json` files of a folder and below it.
fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        for entry in std::fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_dir() {
                pending.push(entry);
            } else if entry.extension().is_some_and(|extension| extension == "json") {
                files.push(entry);
            }
        }
    }
    files.sort();
    assert!(!files.is_empty(), "{}", folder.display());
    files
}

#[test]
fn path_infos_and_narinfos() {
    let Some(data) = data() else { return };
    for file in json_files(&data.join("path-info")) {
        let json = read_json(&file);
        let info = UnkeyedPathInfo::from_json(&dir(), &json).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let format = JsonFormat::from_number(json.get("version").map_or(1, |version| version.as_u64().unwrap())).unwrap();
        let mut expected = json.clone();
        // Not there in what older programs wrote.
        expected["version"] = format.number().into();
        expected["storeDir"] = "/nix/store".into();
        let is_impure = json.get("deriver").is_some();
        assert_eq!(info.to_json(&dir(), format, is_impure), expected, "{}", file.display());
    }
    for file in json_files(&data.join("nar-info")) {
        let json = read_json(&file);
        let info = UnkeyedPathInfo::from_json(&dir(), &json).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let format = JsonFormat::from_number(json.get("version").map_or(1, |version| version.as_u64().unwrap())).unwrap();
        let text = |key: &str| json.get(key).and_then(Value::as_str).unwrap_or_default();
        let narinfo = NarInfo {
            path_info: PathInfo { path: StorePath::new([0; 20], "foo").unwrap(), info },
            url: text("url").to_owned(),
            compression: text("compression").to_owned(),
            file_hash: json.get("downloadHash").map(|_| {
                Hash::parse_sri(text("downloadHash")).unwrap()
            }),
            file_size: json.get("downloadSize").map_or(0, |size| size.as_u64().unwrap()),
        };
        let mut expected = json.clone();
        // Not there in what older programs wrote.
        expected["version"] = format.number().into();
        expected["storeDir"] = "/nix/store".into();
        let is_impure = json.get("deriver").is_some();
        assert_eq!(narinfo.to_json(&dir(), format, is_impure), expected, "{}", file.display());
    }
}

#[test]
fn realisations() {
    let Some(data) = data() else { return };
    let is_newer = is_newer(&data);
    let folder = data.join("realisation");
    for file in json_files(&folder) {
        let name = file.file_stem().unwrap().to_str().unwrap();
        let mut json = read_json(&file);
        if name.ends_with("-sig") {
            continue;
        }
        if name.starts_with("unkeyed-") {
            assert_eq!(UnkeyedRealisation::from_json(&json).unwrap().to_json(), json, "{name}");
            continue;
        }
        let realisation = Realisation::from_json(&json).unwrap();
        if name.ends_with("-unstructured") {
            // Read, and written as today.
            json = read_json(&folder.join(format!("{}.json", name.trim_end_matches("-unstructured"))));
        } else if !is_newer {
            json["dependentRealisations"] = json!({});
        }
        assert_eq!(realisation.to_json(), json, "{name}");
        if !is_newer || name.ends_with("-unstructured") {
            continue;
        }
        // What is signed, and what comes of it.
        assert_eq!(realisation.fingerprint(), std::fs::read_to_string(folder.join(format!("{name}-fingerprint.txt"))).unwrap());
        let key: SecretKey = "test-key:tU7tTvLcScf8pmz/eTV0BEtLmRsPpZfKaRcd0nCN+pysBZPHSeg61/u2oc7mIOewfuAY1V1BiX32homTaDJ2Jw==".parse().unwrap();
        let mut signed = Realisation { signatures: BTreeSet::new(), ..realisation };
        signed.sign(&key);
        assert_eq!(signed.to_json()["value"]["signatures"][0], read_json(&folder.join(format!("{name}-sig.json"))));
        assert_eq!(signed.n_good_signatures(&TrustedKeys::new([key.public_key()])), 1);
    }
}

#[test]
fn derivations() {
    let Some(data) = data() else { return };
    let folder = data.join("derivation");
    let mut n_pairs = 0;
    for file in json_files(&folder) {
        let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
        // The first has a test of its own in `upstream_values.rs`, the second in `nixlang-build`.
        if file.parent().is_some_and(|parent| parent.ends_with("derivation-options") || parent.ends_with("try-resolve")) {
            continue;
        }
        let json = read_json(&file);
        if name.starts_with("output-") {
            assert_eq!(DerivationOutput::from_json(&json).unwrap().to_json(), json, "{name}");
            continue;
        }
        let derivation = Derivation::from_json(&json).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(derivation.to_json().unwrap(), json, "{name}");
        let aterm = file.with_extension("drv");
        if aterm.exists() {
            let bytes = std::fs::read(&aterm).unwrap();
            // These files end in a line end, which derivations don't.
            let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
            assert_eq!(derivation.to_aterm(&dir()).unwrap(), bytes, "{name}");
            let parsed = Derivation::parse_aterm(&dir(), &derivation.name, bytes).unwrap();
            assert_eq!(parsed, derivation, "{name}");
            n_pairs += 1;
        }
    }
    assert!(n_pairs >= 10);
    for name in ["hello", "firefox"] {
        let bytes = std::fs::read(folder.join(format!("{name}.drv"))).unwrap();
        let derivation = Derivation::parse_aterm(&dir(), name, &bytes).unwrap();
        // Inputs for a benchmark, with made-up names that are not sorted.
        let printed = derivation.to_aterm(&dir()).unwrap();
        assert!(printed.len() == bytes.len() && Derivation::parse_aterm(&dir(), name, &printed).unwrap() == derivation);
    }
    for name in ["bad-old-version-dyn-deps", "bad-version"] {
        let bytes = std::fs::read(folder.join(format!("{name}.drv"))).unwrap();
        assert!(Derivation::parse_aterm(&dir(), name, &bytes).is_err(), "{name}");
    }
}

/// What is hashed of derivations, written out: only newer checkouts have that.
#[test]
fn hashes_of_derivations() {
    let Some(data) = data() else { return };
    let folder = data.join("derivation/hash-modulo");
    if !folder.exists() {
        eprintln!("skipped: this checkout is older than these vectors");
        return;
    }
    let mut derivations = std::collections::HashMap::new();
    for file in json_files(&folder) {
        let derivation = Derivation::from_json(&read_json(&file)).unwrap();
        let aterm = derivation.to_aterm(&dir()).unwrap();
        let hash = Hash::digest(Algorithm::Sha256, &aterm);
        let path = dir().text_path(&format!("{}.drv", derivation.name), &hash, &derivation.references()).unwrap();
        derivations.insert(path, (file, derivation));
    }
    let mut n_compared = 0;
    for (file, derivation) in derivations.values() {
        let text = file.with_file_name(format!("{}-modulo.drv", file.file_stem().unwrap().to_str().unwrap()));
        let Ok(text) = std::fs::read(&text) else { continue };
        let mut lookup = |path: &StorePath| derivations.get(path).map(|(_, found)| found.clone()).ok_or_else(|| "missing".into());
        let modulo = derivation.hash_modulo(&dir(), true, &mut std::collections::HashMap::new(), &mut lookup).unwrap();
        assert_eq!(modulo.hash, Hash::digest(Algorithm::Sha256, &text), "{}", file.display());
        n_compared += 1;
    }
    assert_eq!(n_compared, 4);
}

/// Output paths are filled in, kept, or refused.
#[test]
fn derivation_invariants() {
    let Some(data) = data() else { return };
    let read = |name: &str| {
        Derivation::from_json(&read_json(&data.join(format!("derivation/invariants/{name}.json")))).unwrap()
    };
    let fill = |derivation: &mut Derivation| {
        let mut memo = std::collections::HashMap::new();
        let mut lookup = |_: &StorePath| Err("it has no inputs".into());
        derivation.instantiate(&dir(), &mut memo, &mut lookup).map(drop)
    };
    for name in ["filled-in-deferred-empty-env-var", "filled-in-deferred-no-env-var"] {
        let mut derivation = read(&format!("{name}-pre"));
        fill(&mut derivation).unwrap();
        assert_eq!(derivation, read(&format!("{name}-post")));
    }
    let mut derivation = read("filled-in-idempotent");
    fill(&mut derivation).unwrap();
    assert_eq!(derivation, read("filled-in-idempotent"));
    for name in ["bad-path", "bad-env-var"] {
        assert!(fill(&mut read(name)).is_err(), "{name}");
    }
}

#[test]
fn other_values() {
    let Some(data) = data() else { return };
    for file in json_files(&data.join("content-address")) {
        let json = read_json(&file);
        let address = ContentAddress {
            method: json["method"].as_str().unwrap().parse().unwrap(),
            hash: Hash::parse_sri(json["hash"].as_str().unwrap()).unwrap(),
        };
        assert_eq!(address.to_json_value(), json);
        assert_eq!(address.to_string().parse(), Ok(address));
    }
    for file in json_files(&data.join("store-path")) {
        let json = read_json(&file);
        assert_eq!(StorePath::from_base_name(json.as_str().unwrap()).unwrap().to_json_value(), json);
    }
    // Text of the wire gives the same value as the JSON does.
    for file in json_files(&data.join("derived-path")) {
        let json = read_json(&file);
        if json.get("output").is_some() {
            continue;
        }
        let text = legacy_text(&json);
        let path = DerivedPath::parse(&dir(), &text, '!').unwrap();
        assert_eq!(path.to_json_value(), json, "{}", file.display());
        assert_eq!(path.to_text(&dir(), '!'), text);
    }
}

fn legacy_text(json: &Value) -> String {
    match json {
        Value::String(path) => format!("/nix/store/{path}"),
        _ => {
            let outputs = match (json.get("outputs"), json.get("output")) {
                (Some(outputs), _) => {
                    outputs.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(",")
                }
                (None, output) => output.unwrap().as_str().unwrap().to_owned(),
            };
            format!("{}!{outputs}", legacy_text(&json["drvPath"]))
        }
    }
}
