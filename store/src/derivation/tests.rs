//! Derivations against captured files of the reference (`store/fixtures`), and hostile text.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::path::StoreDir;

const DYN: &str = "kss6qrm6176g20q6ai3lw7irf23ah6yx-dyn.drv";

/// All captured `.drv` files by store path.
fn captured() -> BTreeMap<StorePath, Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/derivations");
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".drv") {
            files.insert(StorePath::from_base_name(name).unwrap(), std::fs::read(entry.path()).unwrap());
        }
    }
    assert_eq!(files.len(), 12, "captured files");
    files
}

fn parse(path: &StorePath, text: &[u8]) -> Derivation {
    Derivation::parse_aterm(&StoreDir::default(), path.derivation_name().unwrap(), text).unwrap()
}

fn lookup_in(files: &BTreeMap<StorePath, Vec<u8>>) -> impl FnMut(&StorePath) -> Result<Derivation, LookupError> {
    |path| Ok(parse(path, files.get(path).ok_or("not captured")?))
}

#[test]
fn captured_files_round_trip() {
    let dir = StoreDir::default();
    for (path, text) in captured() {
        let derivation = parse(&path, &text);
        let printed = derivation.to_aterm(&dir).unwrap();
        assert_eq!(String::from_utf8_lossy(&printed), String::from_utf8_lossy(&text));
        assert_eq!(derivation.store_path(&dir).unwrap(), path);
    }
}

#[test]
fn captured_outputs_are_checked_and_found_again() {
    let dir = StoreDir::default();
    let files = captured();
    for (path, text) in &files {
        let mut cache = HashMap::new();
        let derivation = parse(path, text);
        derivation.check_output_paths(&dir, &mut cache, &mut lookup_in(&files)).unwrap();

        // What the evaluator starts from: no paths, empty variables.
        let mut blank = derivation.clone();
        for (name, output) in &mut blank.outputs {
            let is_input_addressed =
                matches!(output, DerivationOutput::InputAddressed(_) | DerivationOutput::Deferred);
            if is_input_addressed {
                *output = DerivationOutput::Deferred;
                blank.env.insert(name.as_bytes().to_vec(), Vec::new());
            } else if matches!(output, DerivationOutput::Fixed(_)) {
                blank.env.remove(name.as_bytes());
            }
        }
        let mut filled = blank.clone();
        filled.fill_in_output_paths(&dir, &mut cache, &mut lookup_in(&files)).unwrap();
        assert_eq!(filled, derivation);

        let mut instantiated = blank.clone();
        let result = instantiated.instantiate(&dir, &mut cache, &mut lookup_in(&files)).unwrap();
        assert_eq!((&result.path, &result.contents), (path, text));
        assert_eq!(instantiated, derivation);
        let plain =
            derivation.hash_modulo(&dir, false, &mut HashMap::new(), &mut lookup_in(&files)).unwrap();
        assert_eq!(result.hash_modulo, plain);
        assert_eq!(cache.get(path), Some(&plain));
    }
}

#[test]
fn wrong_outputs_are_found() {
    let dir = StoreDir::default();
    let files = captured();
    let check = |name: &str, spoil: &dyn Fn(&mut Derivation), message: &str| {
        let (path, text) = files.iter().find(|(path, _)| path.name() == name).unwrap();
        let mut derivation = parse(path, text);
        spoil(&mut derivation);
        let error = derivation
            .check_output_paths(&dir, &mut HashMap::new(), &mut lookup_in(&files))
            .unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    check(
        "structured.drv",
        &|derivation| {
            let other = derivation.outputs["bin"].clone();
            derivation.outputs.insert("out".into(), other);
        },
        "derivation has incorrect output '/nix/store/nz6hkz2774jpb4b2g6ks4mdwfr336ja5-structured-bin', \
         should be '/nix/store/rm7qycdv9b8qnm5isczmnjbb3g63w06m-structured'",
    );
    check(
        "recursive.drv",
        &|derivation| {
            derivation.env.insert(b"out".to_vec(), b"/x".to_vec());
        },
        "derivation has incorrect environment variable 'out', \
         should be '/nix/store/hfrcc4l5wfaxdljbvvzv02knkbsibrkh-recursive' but is actually '/x'",
    );
    check(
        "recursive.drv",
        &|derivation| {
            derivation.env.remove(&b"out"[..]);
        },
        "derivation has missing environment variable 'out', \
         should be '/nix/store/hfrcc4l5wfaxdljbvvzv02knkbsibrkh-recursive' but is not present",
    );
    check(
        "merged.drv",
        &|derivation| {
            for input in derivation.input_derivations.values_mut() {
                input.outputs.insert("doc".into());
            }
        },
        "no hash for output 'doc' of derivation 'merged'",
    );
}

#[test]
fn json_is_what_the_reference_shows() {
    let expected = include_str!("../../fixtures/derivations/show.json").trim_end();
    let parsed: BTreeMap<StorePath, Derivation> =
        captured().iter().map(|(path, text)| (path.clone(), parse(path, text))).collect();
    let shown = derivations_to_json(&parsed).unwrap();
    assert_eq!(crate::json::to_string(&shown), expected);
    for (path, derivation) in &parsed {
        let json = &shown["derivations"][path.base_name()];
        assert_eq!(&Derivation::from_json(json).unwrap(), derivation);
    }
}

#[test]
fn hostile_json_is_refused() {
    let good = parse(captured().keys().next().unwrap(), captured().values().next().unwrap());
    let good = good.to_json().unwrap();
    for key in ["name", "version", "outputs", "inputs", "system", "builder", "args", "env"] {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(key);
        assert!(Derivation::from_json(&without).is_err(), "without {key}");
        let mut wrong = good.clone();
        wrong[key] = serde_json::Value::Null;
        assert!(Derivation::from_json(&wrong).is_err(), "null {key}");
    }
    let mut other_version = good;
    other_version["version"] = 3.into();
    assert_eq!(
        Derivation::from_json(&other_version).unwrap_err().to_string(),
        "Unsupported derivation JSON format version 3, only format version 4 is currently supported.",
    );
}

#[test]
fn strings_are_bytes() {
    let dir = StoreDir::default();
    let mut derivation = Derivation { name: "x".into(), ..Derivation::default() };
    derivation.env.insert(b"\xff\"\\\n\r\t\0x".to_vec(), (0..=255).collect());
    derivation.args.push(vec![b'"'; 40]);
    derivation.builder = b"\\".to_vec();
    let text = derivation.to_aterm(&dir).unwrap();
    assert_eq!(Derivation::parse_aterm(&dir, "x", &text).unwrap(), derivation);
    assert!(matches!(derivation.to_json(), Err(JsonError::NotUtf8 { key: "env", .. })));
    derivation.env.insert(b"__json".to_vec(), b"{}".to_vec());
    assert_eq!(derivation.to_aterm(&dir), Err(PrintError::ReservedVariable));
}

/// Every prefix and every flipped byte of real files: no panic, and nothing that is accepted may
/// print differently from how it reads back.
#[test]
fn damaged_text_does_no_harm() {
    let dir = StoreDir::default();
    for (path, text) in captured() {
        let name = path.derivation_name().unwrap();
        for end in 0..text.len() {
            assert!(Derivation::parse_aterm(&dir, name, &text[..end]).is_err());
        }
        for position in 0..text.len() {
            let mut damaged = text.clone();
            damaged[position] ^= 0x55;
            if let Ok(derivation) = Derivation::parse_aterm(&dir, name, &damaged)
                && let Ok(printed) = derivation.to_aterm(&dir)
            {
                assert_eq!(Derivation::parse_aterm(&dir, name, &printed).unwrap(), derivation);
            }
        }
    }
}

#[test]
fn errors_say_where() {
    let check = |text: &str, message: &str| {
        let error = Derivation::parse_aterm(&StoreDir::default(), "x", text.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    let at = "error parsing derivation at byte";
    check("", &format!("{at} 0: derivation does not start with 'Derive' or 'DrvWithVersion'"));
    check("DrvWithVersion(\"x\",", &format!("{at} 15: unknown derivation ATerm format version 'x'"));
    check("Derive([],[],[],\"s\"", &format!("{at} 19: expected string ','"));
    check("Derive([(\"out", &format!("{at} 9: unterminated string in derivation"));
    check("Derive([(\"out\\", &format!("{at} 9: unterminated string in derivation"));
    check("Derive([],[],[\"x\"]", &format!("{at} 14: bad path 'x' in derivation"));
    check("Derive([],[],[\"/x\"]", &format!("{at} 14: path '/x' is not in the Nix store"));
    check(
        "Derive([(\"out\",\"/x\",\"r:sha256\",\"impure\")]",
        &format!("{at} 15: impure derivation output should not specify output path"),
    );
    check(
        "Derive([(\"out\",\"\",\"\",\"\"),(\"out\",\"\",\"\",\"\")]",
        &format!("{at} 25: duplicate output 'out'"),
    );
    check("Derive([],[],[],\"s\",\"b\",[],[]) ", &format!("{at} 30: trailing bytes after the derivation"));
    check(
        "Derive([],[],[],\"s\",\"b\",[],[(\"__json\",\"[]\")])",
        &format!("{at} 38: cannot process __json attribute: expected a JSON object"),
    );
}

#[test]
fn nesting_is_bounded() {
    let deep = |n: usize| {
        let input = "([],[(\"a\",".repeat(n) + "[\"out\"]" + &")])".repeat(n);
        format!("DrvWithVersion(\"xp-dyn-drv\",[],[(\"/nix/store/{DYN}\",{input})],[],\"s\",\"b\",[],[])")
    };
    let dir = StoreDir::default();
    let text = deep(MAX_DYNAMIC_DEPTH);
    let derivation = Derivation::parse_aterm(&dir, "x", text.as_bytes()).unwrap();
    assert_eq!(derivation.to_aterm(&dir).unwrap(), text.as_bytes());
    assert_eq!(Derivation::from_json(&derivation.to_json().unwrap()).unwrap(), derivation);
    let error = Derivation::parse_aterm(&dir, "x", deep(100_000).as_bytes()).unwrap_err();
    assert!(matches!(error.kind, ParseErrorKind::TooDeep));
}

fn chain_path(idx: usize) -> StorePath {
    let hash = crate::hash::Hash::digest(crate::hash::Algorithm::Sha1, &idx.to_le_bytes());
    StorePath::new(hash.compress_to_20(), "link.drv").unwrap()
}

fn link(input: usize) -> Derivation {
    let mut derivation = Derivation { name: "link".into(), ..Derivation::default() };
    derivation.outputs.insert("out".into(), DerivationOutput::Deferred);
    derivation.input_derivations.insert(chain_path(input), InputOutputs::plain(["out"]));
    derivation
}

#[test]
fn deep_graphs_do_not_overflow_the_stack() {
    const DEPTH: usize = 20_000;
    let mut links = 0..=DEPTH;
    let mut lookup = |path: &StorePath| -> Result<Derivation, LookupError> {
        let idx = links.next().ok_or("asked for too much")?;
        assert_eq!(path, &chain_path(idx));
        let mut derivation = link(idx + 1);
        if idx == DEPTH {
            derivation.input_derivations.clear();
        }
        Ok(derivation)
    };
    let mut cache = HashMap::new();
    link(0).hash_modulo(&StoreDir::default(), true, &mut cache, &mut lookup).unwrap();
    assert_eq!(cache.len(), DEPTH + 1);
}

#[test]
fn circles_are_found() {
    for length in [1, 2, 5] {
        let mut lookup = |path: &StorePath| -> Result<Derivation, LookupError> {
            let idx = (0..length).find(|idx| chain_path(*idx) == *path).ok_or("no such link")?;
            Ok(link((idx + 1) % length))
        };
        let error = link(0)
            .hash_modulo(&StoreDir::default(), true, &mut HashMap::new(), &mut lookup)
            .unwrap_err();
        assert!(matches!(error, HashModuloError::Cycle { .. }), "{error}");
    }
}

#[test]
fn placeholders_are_the_reference_ones() {
    // Both stand in the captured files of `dep` and `dyn`.
    let ca = StorePath::from_base_name("54v4ql0h8vircfk8vkf7kcbc531ab30a-ca.drv").unwrap();
    assert_eq!(
        Placeholder::content_addressed_output(&ca, "doc").to_string(),
        "/0c3csp7jc0vg4cymm8rd0xqdkp9dsp53xsly2riqlr5svfpkdc11",
    );
    let text = StorePath::from_base_name("sccggs2pwcyy10f55pb29ypa6132f39s-text.drv.drv").unwrap();
    assert_eq!(
        Placeholder::content_addressed_output(&text, "out").output("out").to_string(),
        "/01hdr8j8imla95bw3lq70gsc2pl6jjxcjmjlr22lw1w0s0xsm1mg",
    );
}
