//! Builders of other machines' kinds that are programs of this one (`external-builders`).
//!
//! Such a program gets a file that says what to build, `build.json`, and does whatever it takes: starts a virtual machine, say. The
//! surprising part: it runs without a sandbox and with this program's own environment; what it builds shall not see either.
//!
//! Source of the format: `external-derivation-builder.cc` of the reference, 2.34.8. Version 1.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nixlang_store::derivation::Derivation;
use nixlang_store::local::LocalStore;
use nixlang_store::path::StorePath;
use nixlang_store::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::bytes::Bytes;
use crate::error::BuildError;
use crate::executor::Program;
use crate::options::BuildOptions;

/// The experimental feature.
pub(crate) const FEATURE: &str = "external-builders";

/// Where the builder shall believe its build directory to be.
pub(super) const BUILD_DIR: &str = "/build";

/// A program that builds derivations of some kinds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExternalBuilder {
    /// The kinds (`system` of a derivation).
    pub systems: BTreeSet<String>,
    /// The program.
    pub program: PathBuf,
    /// Its arguments; the path of the file is added.
    pub args: Vec<String>,
}

/// What an external builder is told.
pub(super) struct Order<'o> {
    pub(super) store: &'o LocalStore,
    pub(super) derivation: &'o Derivation,
    /// Arguments of the derivation's builder.
    pub(super) args: Vec<Vec<u8>>,
    /// Its environment.
    pub(super) env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Directories of the build on this machine: the upper one, and the one that the builder sees.
    pub(super) top: &'o Path,
    pub(super) build_dir: &'o Path,
    pub(super) inputs: &'o BTreeSet<StorePath>,
    /// Names and paths of outputs.
    pub(super) outputs: Vec<(String, StorePath)>,
}

/// Returns the external builder for a derivation, if there is one.
pub(crate) fn find<'o>(options: &'o BuildOptions, derivation: &Derivation) -> Option<&'o ExternalBuilder> {
    let system = std::str::from_utf8(&derivation.system).ok()?;
    options.external_builders.iter().find(|builder| builder.systems.contains(system))
}

/// Writes the file and returns the program to run.
pub(super) fn program(builder: &ExternalBuilder, options: &BuildOptions, order: &Order<'_>) -> Result<Program, BuildError> {
    let file = order.top.join("build.json");
    super::write_new_file(&file, order.to_json().to_string().as_bytes())?;
    let text = |path: &Path| Bytes::from(path.as_os_str().as_bytes());
    let mut arguments = vec![text(&builder.program)];
    arguments.extend(builder.args.iter().map(|argument| Bytes::from(argument.as_bytes())));
    arguments.push(text(&file));
    let environment: Vec<_> = match &options.environment {
        Some(environment) => environment.clone().into_iter().collect(),
        None => std::env::vars_os().collect(),
    };
    let environment = environment.iter().map(|(name, value)| Bytes([name.as_bytes(), b"=", value.as_bytes()].concat()));
    Ok(Program::Execute { path: text(&builder.program), arguments, environment: environment.collect(), linux32: false })
}

impl Order<'_> {
    fn to_json(&self) -> Value {
        let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes));
        let path = |path: &Path| text(path.as_os_str().as_bytes());
        let dir = self.store.store_dir();
        let env: Map<String, Value> =
            self.env.iter().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), text(value))).collect();
        let outputs: Map<String, Value> =
            self.outputs.iter().map(|(name, path)| (name.clone(), dir.display(path).into())).collect();
        json!({
            "version": 1,
            "builder": text(&self.derivation.builder),
            "args": self.args.iter().map(|argument| text(argument)).collect::<Vec<_>>(),
            "env": env,
            "topTmpDir": path(self.top),
            "tmpDir": path(self.build_dir),
            "tmpDirInSandbox": BUILD_DIR,
            "storeDir": dir.as_str(),
            "realStoreDir": path(&self.store.layout().real_store_dir),
            "system": text(&self.derivation.system),
            "inputPaths": self.inputs.iter().map(|path| dir.display(path)).collect::<Vec<_>>(),
            "outputs": outputs,
        })
    }
}

/// Passes on the log of an external builder from where it says, with a line of the character 2, that the builder itself begins.
#[derive(Debug, Default)]
pub(crate) struct SetupFilter {
    held: Vec<u8>,
    is_over: bool,
}

impl SetupFilter {
    /// Takes what was written and calls `pass` with what belongs to the builder.
    pub(crate) fn write(&mut self, bytes: &[u8], pass: &mut dyn FnMut(&[u8])) {
        if self.is_over {
            return pass(bytes);
        }
        self.held.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(length) = self.held[start..].iter().position(|byte| *byte == b'\n') {
            let line = &self.held[start..start + length];
            start += length + 1;
            if line == b"\x02" {
                self.is_over = true;
                let held = std::mem::take(&mut self.held);
                return if start < held.len() { pass(&held[start..]) };
            }
        }
    }

    /// At the end: if the builder never began, all that was said is why.
    pub(crate) fn finish(self, pass: &mut dyn FnMut(&[u8])) {
        if !self.is_over && !self.held.is_empty() {
            pass(&self.held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_begins_with_the_builder() {
        let check = |parts: &[&str], expected: &str| {
            let (mut filter, mut log) = (SetupFilter::default(), Vec::new());
            parts.iter().for_each(|part| filter.write(part.as_bytes(), &mut |bytes| log.extend_from_slice(bytes)));
            filter.finish(&mut |bytes| log.extend_from_slice(bytes));
            assert_eq!(String::from_utf8_lossy(&log), expected, "{parts:?}");
        };
        check(&["\x02\nhello\n", "x"], "hello\nx");
        check(&["boo", "ting\n\x02", "\n", "hello"], "hello");
        check(&["x\x02\nhello"], "x\x02\nhello");
        check(&["it does not start\n"], "it does not start\n");
    }
}
