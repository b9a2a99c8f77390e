//! Derivations whose inputs are known, by the reference's characterisation data (`derivation/try-resolve`, in its master only). Its case
//! `export-ref-subpath-sa` has a variable `__json` beside the attributes that it stands for, which no `.drv` file can have.
//!
//! `NIX_UPSTREAM_SRC` names a checkout of the reference. Without it, or if it is of 2.34.8, nothing is tested, and the test says so.

use std::collections::BTreeMap;
use std::path::Path;

use nixlang_build::{BuildError, resolve};
use nixlang_store::derivation::{Derivation, OutputName};
use nixlang_store::path::{StoreDir, StorePath};
use serde_json::Value;

fn read(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

#[test]
fn inputs_are_replaced_as_the_reference_does() {
    let source = std::env::var_os("NIX_UPSTREAM_SRC");
    let folder = source.map(|source| Path::new(&source).join("src/libstore-tests/data/derivation/try-resolve"));
    let Some(folder) = folder.filter(|folder| folder.exists()) else {
        eprintln!("skipped: NIX_UPSTREAM_SRC names no checkout that has these vectors");
        return;
    };
    let dir = StoreDir::default();
    for (name, after) in [
        ("no-inputs", Some("after")),
        ("with-inputs", Some("after")),
        ("export-ref-subpath", Some("resolved")),
        ("resolution-failure", None),
    ] {
        let file = |part: &str| read(&folder.join(format!("{name}-{part}.json"))).unwrap_or_else(|| panic!("{name}-{part}"));
        let derivation = Derivation::from_json(&file("before")).unwrap();
        let known: BTreeMap<(StorePath, OutputName), StorePath> = file("buildTrace")
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                let path = |json: &Value| StorePath::from_base_name(json.as_str().unwrap()).unwrap();
                ((path(&pair[0]["drvPath"]), pair[0]["output"].as_str().unwrap().into()), path(&pair[1]))
            })
            .collect();
        let output = |input: &StorePath, output: &OutputName| {
            let found = known.get(&(input.clone(), output.clone())).cloned();
            found.ok_or_else(|| BuildError::Missing { message: input.to_string() })
        };
        let path = StorePath::new([1; 20], &format!("{name}.drv")).unwrap();
        let resolved = resolve(&dir, &path, &derivation, &output);
        let Some(after) = after else {
            assert!(matches!(resolved, Err(BuildError::Missing { .. })), "{name}");
            continue;
        };
        // There are no derivations among the inputs any more, so there the rest stands alone.
        let mut json = file(after);
        json["inputs"] = serde_json::json!({ "srcs": json["inputs"], "drvs": {} });
        assert_eq!(resolved.unwrap().1.to_json().unwrap(), json, "{name}");
    }
}
