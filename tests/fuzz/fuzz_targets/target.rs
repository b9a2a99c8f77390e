//! One binary for all targets: `FUZZ_TARGET` names the one to run, since libFuzzer keeps the arguments for itself.
#![no_main]

use std::sync::OnceLock;

use nixlang_tests::fuzz::{TARGETS, Target};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        TARGETS.iter().find(|target| target.name == name).expect("FUZZ_TARGET names a target that there is")
    });
    (target.run)(data);
});
