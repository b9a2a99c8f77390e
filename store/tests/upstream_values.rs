//! More of the reference's data: what derivations ask of builders, sets of outputs, and whole stores as JSON.
//!
//! `NIX_UPSTREAM_SRC` names a checkout of the reference (2.34.8, or its master after 2.35). Without it nothing here is tested, and says so. Vectors
//! of protocols and of single values are in `vectors.rs`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use nixlang_store::copy::copy_closure;
use nixlang_store::derivation::Derivation;
use nixlang_store::derivation::options::{DerivationOptions, OutputCheck, OutputChecks, Reference};
use nixlang_store::hash::{Algorithm, Hash, HashFormat};
use nixlang_store::memory::MemoryStore;
use nixlang_store::nar::NarWriter;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::path_info::{PathInfo, UnkeyedPathInfo};
use nixlang_store::realisation::{DerivationKey, DerivationOutputId, Realisation, UnkeyedRealisation};
use nixlang_store::store::{AddOptions, Store};
use nixlang_store::wire::build_result::BuildResult;
use nixlang_store::wire::derived_path::{DerivedPath, OutputsSpec};
use serde_json::{Value, json};

/// Returns the data's directory, or says why nothing is tested.
fn data() -> Option<PathBuf> {
    let Some(source) = std::env::var_os("NIX_UPSTREAM_SRC") else {
        eprintln!("skipped: NIX_UPSTREAM_SRC does not name a checkout of the reference");
        return None;
    };
    Some(Path::new(&source).join("src/libstore-tests/data"))
}

fn read_json(path: &Path) -> Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

/// The options as the reference writes them. Paths that are outputs of other derivations are known there by derivation
/// and name, here by their path or placeholder.
fn options_json(options: &DerivationOptions) -> Value {
    let reference = |reference: &Reference| match reference {
        Reference::Output(name) => json!({ "drvPath": "self", "output": name }),
        Reference::Path(path) => path.base_name().into(),
    };
    let references = |all: &BTreeSet<Reference>| {
        let mut all: Vec<Value> = all.iter().map(reference).collect();
        // Objects come first there.
        all.sort_by_key(|one| one.is_string());
        Value::from(all)
    };
    let check = |check: &OutputCheck| {
        json!({
            "allowedReferences": check.allowed_references.as_ref().map(references),
            "allowedRequisites": check.allowed_requisites.as_ref().map(references),
            "disallowedReferences": references(&check.disallowed_references),
            "disallowedRequisites": references(&check.disallowed_requisites),
            "ignoreSelfRefs": check.ignore_self_references,
            "maxClosureSize": check.max_closure_size,
            "maxSize": check.max_size,
        })
    };
    let checks = match &options.output_checks {
        OutputChecks::ForAll(all) => json!({ "forAllOutputs": check(all) }),
        OutputChecks::PerOutput(each) => {
            let each: BTreeMap<String, Value> = each.iter().map(|(name, one)| (name.to_string(), check(one))).collect();
            json!({ "perOutput": each })
        }
    };
    let discard: BTreeMap<String, bool> = options.discard_references.iter().map(|name| (name.to_string(), true)).collect();
    let graph: BTreeMap<&String, Vec<String>> =
        options.export_references_graph.iter().map(|(name, paths)| (name, paths.iter().map(StorePath::base_name).collect())).collect();
    let files: Vec<&str> = options.pass_as_file.iter().map(|name| std::str::from_utf8(name).unwrap()).collect();
    json!({
        "additionalSandboxProfile": options.additional_sandbox_profile,
        "allowLocalNetworking": options.allow_local_networking,
        "allowSubstitutes": options.allow_substitutes,
        "exportReferencesGraph": graph,
        "impureEnvVars": options.impure_env_vars,
        "impureHostDeps": options.impure_host_deps,
        "noChroot": options.no_chroot,
        "outputChecks": checks,
        "passAsFile": files,
        "preferLocalBuild": options.prefer_local_build,
        "requiredSystemFeatures": options.required_system_features,
        "unsafeDiscardReferences": discard,
    })
}

#[test]
fn options_of_derivations() {
    let Some(data) = data() else { return };
    let folder = data.join("derivation/ia");
    for (derivation, expected) in [
        ("advanced-attributes-defaults", "defaults"),
        ("advanced-attributes", "all_set"),
        ("advanced-attributes-structured-attrs-defaults", "structuredAttrs_defaults"),
        ("advanced-attributes-structured-attrs", "structuredAttrs_all_set"),
    ] {
        let derivation = Derivation::from_json(&read_json(&folder.join(format!("{derivation}.json")))).unwrap();
        let options = DerivationOptions::read(&StoreDir::default(), &derivation).unwrap();
        let expected_json = read_json(&folder.join(format!("derivation-options/{expected}.json")));
        assert_eq!(options_json(&options), expected_json, "{expected}");
    }
}

#[test]
fn sets_of_outputs() {
    let Some(data) = data() else { return };
    for name in ["all", "name", "names"] {
        let json = read_json(&data.join(format!("outputs-spec/{name}.json")));
        let names: Vec<&str> = json.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        let text = format!("/nix/store/g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q-x.drv^{}", names.join(","));
        let DerivedPath::Built { outputs, .. } = DerivedPath::parse(&StoreDir::default(), &text, '^').unwrap() else {
            panic!("{text}");
        };
        assert_eq!(outputs.to_json(), json);
        assert_eq!(OutputsSpec::from_json(&json).unwrap(), outputs);
        assert_eq!(read_json(&data.join(format!("outputs-spec/extended/{name}.json"))), json);
    }
    let default = read_json(&data.join("outputs-spec/extended/def.json"));
    assert_eq!(OutputsSpec::from_json_or_default(&default), Ok(None));
    assert_eq!(OutputsSpec::from_json_or_default(&json!(["*"])), Ok(Some(OutputsSpec::All)));
    for wrong in [json!([]), json!([1]), json!("a"), json!(["a", "*"]), json!([""])] {
        assert!(OutputsSpec::from_json(&wrong).is_err(), "{wrong}");
    }
}

#[test]
fn results_of_builds() {
    let Some(data) = data() else { return };
    for name in ["not-deterministic", "output-rejected", "success"] {
        let json = read_json(&data.join(format!("build-result/{name}.json")));
        let result = BuildResult::from_json(&json).unwrap();
        assert_eq!((result.status.is_success(), result.outputs.len()), if name == "success" { (true, 2) } else { (false, 0) });
        assert_eq!(result.to_json(), json, "{name}");
        for key in ["status", "success", "timesBuilt", "startTime"] {
            let mut wrong = json.clone();
            wrong[key] = json!([]);
            assert!(BuildResult::from_json(&wrong).is_err(), "{key}");
        }
    }
}

/// Makes a store of what the reference wrote about one, looking whether everything in it belongs together.
fn load(json: &Value) -> (MemoryStore, BTreeSet<StorePath>) {
    let dir = StoreDir::new(json["config"]["store"].as_str().unwrap()).unwrap();
    let store = MemoryStore::new(dir.clone());
    let mut paths = BTreeSet::new();
    for (name, json) in json["derivations"].as_object().unwrap() {
        let derivation = Derivation::from_json(json).unwrap();
        let path = StorePath::from_base_name(name).unwrap();
        let bytes = derivation.to_aterm(&dir).unwrap();
        let made = dir.text_path(path.name(), &Hash::digest(Algorithm::Sha256, &bytes), &derivation.references());
        assert_eq!(made.unwrap(), path);
        paths.insert(path);
    }
    let mut infos = Vec::new();
    for (name, object) in json["contents"].as_object().unwrap() {
        let contents = &object["contents"];
        assert_eq!(contents["type"], "regular", "{name}");
        let mut nar = NarWriter::new(Vec::new());
        nar.file(contents["executable"].as_bool().unwrap(), contents["contents"].as_str().unwrap().as_bytes()).unwrap();
        let nar = nar.finish().unwrap();
        let info = UnkeyedPathInfo::from_json(&dir, &object["info"]).unwrap();
        assert_eq!((info.nar_hash, info.nar_size), (Hash::digest(Algorithm::Sha256, &nar), nar.len() as u64), "{name}");
        infos.push((PathInfo { path: StorePath::from_base_name(name).unwrap(), info }, nar));
    }
    // What is referred to comes first.
    while !infos.is_empty() {
        let ready = infos.iter().position(|(info, _)| info.references.iter().all(|path| *path == info.path || paths.contains(path)));
        let (info, nar) = infos.remove(ready.expect("references are in the store"));
        assert!(info.is_content_addressed(&dir), "{}", info.path);
        store.add_nar(&info, &mut nar.as_slice(), &AddOptions::trusted()).unwrap();
        paths.insert(info.path);
    }
    (store, paths)
}

#[test]
fn stores_as_json() {
    let Some(data) = data() else { return };
    for name in ["empty", "one-derivation", "one-flat-file", "one-realisation"] {
        load(&read_json(&data.join(format!("dummy-store/{name}.json"))));
    }
    for scenario in ["single", "with-dep", "ca-drv", "issue-11928"] {
        let (from, paths) = load(&read_json(&data.join(format!("worker-substitution/{scenario}/substituter.json"))));
        // What is substituted is what the reference had in the end.
        let files = ["store-after", "store"].map(|name| data.join(format!("worker-substitution/{scenario}/{name}.json")));
        let expected: BTreeSet<StorePath> = match files.iter().find(|file| file.exists()) {
            Some(file) => load(&read_json(file)).1,
            None => paths,
        };
        let expected: BTreeSet<StorePath> = expected.into_iter().filter(|path| !path.is_derivation()).collect();
        let to = MemoryStore::default();
        let copied = copy_closure(&from, &to, &expected.iter().cloned().collect::<Vec<_>>()).unwrap();
        assert_eq!(copied.into_iter().collect::<BTreeSet<_>>(), expected, "{scenario}");
    }
}

/// Realisations of the build trace name derivations by the hash that we compute of them.
#[test]
fn build_traces() {
    let Some(data) = data() else { return };
    for scenario in ["ca-drv", "issue-11928"] {
        let json = read_json(&data.join(format!("worker-substitution/{scenario}/store-after.json")));
        let dir = StoreDir::default();
        let derivations: HashMap<StorePath, Derivation> = json["derivations"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, json)| (StorePath::from_base_name(name).unwrap(), Derivation::from_json(json).unwrap()))
            .collect();
        let mut hashes = BTreeSet::new();
        for derivation in derivations.values() {
            let mut lookup = |path: &StorePath| derivations.get(path).cloned().ok_or_else(|| "missing".into());
            let hash = derivation.hash_modulo(&dir, true, &mut HashMap::new(), &mut lookup).unwrap().hash;
            hashes.insert(hash.format(HashFormat::Base64, false));
        }
        for (key, outputs) in json["buildTrace"].as_object().unwrap() {
            // Since 2.35 by the derivation's path.
            let derivation = match StorePath::from_base_name(key) {
                Ok(path) => {
                    // One whose inputs had to be built first is known as what it became then.
                    let is_known = derivations.contains_key(&path) || derivations.keys().any(|known| known.name() == path.name());
                    assert!(is_known, "{scenario}: {key}");
                    DerivationKey::Path(path)
                }
                Err(_) => {
                    assert!(hashes.contains(key), "{scenario}: {key}");
                    DerivationKey::Hash(Hash::parse(key, Some(Algorithm::Sha256)).unwrap())
                }
            };
            for (name, made) in outputs.as_object().unwrap() {
                let id = DerivationOutputId { derivation: derivation.clone(), output: name.as_str().into() };
                let realisation = UnkeyedRealisation::from_json(made).unwrap().with_id(id.clone());
                assert_eq!(Realisation::from_json(&realisation.to_json()).unwrap(), realisation);
                let mut full = made.clone();
                if matches!(id.derivation, DerivationKey::Path(_)) {
                    assert_eq!(realisation.to_json()["value"], full);
                } else {
                    full["id"] = id.to_string().into();
                    assert_eq!(realisation.to_json(), full);
                }
            }
        }
    }
}
