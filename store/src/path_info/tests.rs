//! Path info against what Nix 2.34.8 printed for the captured objects.

use super::json::{JsonError, JsonFormat};
use super::*;
use crate::json::to_string;
use crate::narinfo::NarInfo;

const TREE: &str = include_str!("../../fixtures/nar/tree.narinfo");
const SIGNED: &str = include_str!("../../fixtures/nar/signed.narinfo");

/// `nix path-info --json --json-format 1` and `2` of the captured objects in the cache and in a store.
const TREE_V1: &str = r#"{"ca":"fixed:r:sha256:0p5l6vi6b75jx9wzj7r45mihdpw748mj56hp4sc8nxq3n83fa3x0","compression":"xz","deriver":null,"downloadHash":"sha256-OhSM/7TX3gM23POhPQz0It6CglCjJcaSOtfYELnGlfc=","downloadSize":292,"narHash":"sha256-oA/lBrIDd4uYJheaIisih98GYy0kH/l56rKcZeI2tFw=","narSize":1424,"references":[],"registrationTime":null,"signatures":[],"storeDir":"/nix/store","ultimate":false,"url":"nar/1xwmqswi1n6p7a9cc9d3a2185pi2yh63v8gkvhv07pnpnkzqq51s.nar.xz","version":1}"#;
const TREE_V2: &str = r#"{"ca":{"hash":"sha256-oA/lBrIDd4uYJheaIisih98GYy0kH/l56rKcZeI2tFw=","method":"nar"},"compression":"xz","deriver":null,"downloadHash":"sha256-OhSM/7TX3gM23POhPQz0It6CglCjJcaSOtfYELnGlfc=","downloadSize":292,"narHash":"sha256-oA/lBrIDd4uYJheaIisih98GYy0kH/l56rKcZeI2tFw=","narSize":1424,"references":[],"registrationTime":null,"signatures":[],"storeDir":"/nix/store","ultimate":false,"url":"nar/1xwmqswi1n6p7a9cc9d3a2185pi2yh63v8gkvhv07pnpnkzqq51s.nar.xz","version":2}"#;
const SIGNED_V1: &str = r#"{"ca":"text:sha256:1ap88v7s6lfma9cgy3lnfjwxkvnjhnqr8q1kan4zdskrplibdh2w","deriver":null,"narHash":"sha256-jmDuGMzmRb6ti5roArwL5IEv8ClVoqv8yfsXz96CLfI=","narSize":1088,"references":["/nix/store/39jrpsdaw854xlfg7iwxknvcjsvmi3xb-src.tar.drv","/nix/store/61d20cwys71nr57zl1qhazrg8pwvfs3q-recursive.drv","/nix/store/vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo"],"registrationTime":1795355605,"signatures":["test-1:QbpwdQxLi0z9zvo6GfFmtRjVnECNapPLWiq9I3Z3eY0xzg+q0mOkMHuZfGZrDqvnQxBTJ6qY1G1F6eAbErIzDg=="],"storeDir":"/nix/store","ultimate":false,"version":1}"#;
const SIGNED_V2: &str = r#"{"ca":{"hash":"sha256-XMC2Ir156vaJVTNglLGF0u7ZuXSWDv9YUtVRo89G6Ko=","method":"text"},"deriver":null,"narHash":"sha256-jmDuGMzmRb6ti5roArwL5IEv8ClVoqv8yfsXz96CLfI=","narSize":1088,"references":["39jrpsdaw854xlfg7iwxknvcjsvmi3xb-src.tar.drv","61d20cwys71nr57zl1qhazrg8pwvfs3q-recursive.drv","vxjiwkjkn7x4079qvh1jkl5pn05j2aw0-foo"],"registrationTime":1795355605,"signatures":["test-1:QbpwdQxLi0z9zvo6GfFmtRjVnECNapPLWiq9I3Z3eY0xzg+q0mOkMHuZfGZrDqvnQxBTJ6qY1G1F6eAbErIzDg=="],"storeDir":"/nix/store","ultimate":false,"version":2}"#;

fn narinfo(text: &str) -> NarInfo {
    NarInfo::parse(&StoreDir::default(), text).unwrap()
}

#[test]
fn json_is_what_the_reference_prints() {
    let dir = StoreDir::default();
    let tree = narinfo(TREE);
    assert_eq!(to_string(&tree.to_json(&dir, JsonFormat::V1, true)), TREE_V1);
    assert_eq!(to_string(&tree.to_json(&dir, JsonFormat::V2, true)), TREE_V2);
    let mut signed = narinfo(SIGNED).path_info.info;
    signed.registration_time = 1_795_355_605;
    for (format, expected) in [(JsonFormat::V1, SIGNED_V1), (JsonFormat::V2, SIGNED_V2)] {
        let json = signed.to_json(&dir, format, true);
        assert_eq!(to_string(&json), expected);
        assert_eq!(UnkeyedPathInfo::from_json(&dir, &json).unwrap(), signed);
    }
    let pure = signed.to_json(&dir, JsonFormat::V2, false);
    assert!(pure.get("signatures").is_none() && pure.get("deriver").is_none());
}

#[test]
fn hostile_json_is_refused() {
    let dir = StoreDir::default();
    let good: serde_json::Value = serde_json::from_str(SIGNED_V2).unwrap();
    for key in ["narHash", "narSize", "references", "ca"] {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(key);
        assert_eq!(UnkeyedPathInfo::from_json(&dir, &without), Err(JsonError::InvalidField { key }));
    }
    for key in ["narHash", "narSize", "references", "ca", "signatures", "ultimate", "registrationTime"] {
        let mut wrong = good.clone();
        wrong[key] = serde_json::json!({});
        assert!(UnkeyedPathInfo::from_json(&dir, &wrong).is_err(), "{key}");
    }
    let mut future = good;
    future["version"] = 4.into();
    assert_eq!(
        UnkeyedPathInfo::from_json(&dir, &future).unwrap_err().to_string(),
        "unsupported path info JSON format version 4; supported versions are 1 to 3",
    );
}

#[test]
fn captured_signature_is_good_and_made_again() {
    let dir = StoreDir::default();
    let secret: SecretKey =
        "test-1:+a4Jl+0R4YXpLLxkHIhJodh6d7n2KmzQhqzRz4XoFfXlIB2QLXMfUKHgl/mHpivyVsxij6Lzanznr1QU9R7oLQ=="
            .parse()
            .unwrap();
    let captured = narinfo(SIGNED).path_info;
    let mut again = captured.clone();
    again.info.signatures.clear();
    again.sign(&dir, &secret).unwrap();
    assert_eq!(again, captured);

    let keys = TrustedKeys::new([secret.public_key()]);
    assert_eq!(captured.n_good_signatures(&dir, &keys), 1);
    let mut other = captured.clone();
    other.info.references.pop_first();
    assert_eq!(other.n_good_signatures(&dir, &keys), 0);
    other.info.nar_size = 0;
    assert_eq!(other.n_good_signatures(&dir, &keys), 0);
    assert!(other.fingerprint(&dir).is_err());
}

#[test]
fn content_address_must_make_the_path() {
    let dir = StoreDir::default();
    for text in [TREE, SIGNED] {
        let captured = narinfo(text).path_info;
        assert!(captured.is_content_addressed(&dir));
        let mut renamed = captured.clone();
        renamed.path = StorePath::new(captured.path.hash_part(), "other").unwrap();
        assert!(!renamed.is_content_addressed(&dir));
        let mut plain = captured;
        plain.info.content_address = None;
        assert!(!plain.is_content_addressed(&dir));
    }
}

#[test]
fn a_signature_of_version_3_is_an_object() {
    let dir = StoreDir::default();
    let mut json: serde_json::Value = serde_json::from_str(SIGNED_V2).unwrap();
    let info = UnkeyedPathInfo::from_json(&dir, &json).unwrap();
    let written = info.to_json(&dir, JsonFormat::V3, true);
    for signature in json["signatures"].as_array_mut().unwrap() {
        let (key, bytes) = signature.as_str().unwrap().split_once(':').unwrap();
        *signature = serde_json::json!({ "keyName": key, "sig": bytes });
    }
    json["version"] = 3.into();
    assert!(!info.signatures.is_empty());
    assert_eq!(written, json);
    assert_eq!(UnkeyedPathInfo::from_json(&dir, &written).unwrap(), info);
    json["signatures"][0] = "k:AAAA".into();
    assert!(UnkeyedPathInfo::from_json(&dir, &json).is_err());
}
