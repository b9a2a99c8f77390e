//! Derivation → ATerm, the text of a `.drv` file.
//!
//! `Derive([outputs],[input derivations],[input sources],system,builder,[args],[env])`, maps sorted
//! by bytes. Every byte takes part in the store path. The surprising thing: only `"`, `\`, newline,
//! carriage return and tab are escaped, and only in builder, arguments and environment; names, paths
//! and the system stand as they are.
//!
//! This is on the hot path of evaluation, so everything goes into one buffer, and [`Aterm`] remembers
//! where the input derivations stand: the text to be hashed differs from the file only there.
//!
//! Format source: manual of Nix 2.34, "Derivation ATerm Format".

use std::collections::BTreeSet;
use std::ops::Range;

use super::structured_attrs::ENV_NAME;
use super::{Derivation, DerivationOutput, InputOutputs, OutputName};
use crate::hash::HashFormat;
use crate::path::{MakePathError, StoreDir};

/// Why a derivation has no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrintError {
    /// The environment has the variable that structured attributes need.
    #[error(
        "Cannot have an environment variable named '__json'. This key is reserved for encoding structured attrs"
    )]
    ReservedVariable,
    /// The path of a fixed output can't be computed.
    #[error(transparent)]
    Output(#[from] MakePathError),
}

/// The text of a derivation, with the place of its list of input derivations.
#[derive(Clone, Debug)]
pub(super) struct Aterm {
    /// The whole text.
    pub(super) text: Vec<u8>,
    /// What stands between the brackets of the input derivations.
    pub(super) inputs: Range<usize>,
}

impl Derivation {
    /// Returns the bytes of the `.drv` file.
    ///
    /// # Errors
    /// When the environment has `__json`, or a fixed output has no valid path.
    pub fn to_aterm(&self, store_dir: &StoreDir) -> Result<Vec<u8>, PrintError> {
        Ok(self.print(store_dir, false, None)?.text)
    }

    /// Prints into one buffer. `mask_outputs` blanks the outputs' paths and variables;
    /// `replaced_inputs` stands in for the text of the input derivations.
    pub(super) fn print(
        &self,
        store_dir: &StoreDir,
        mask_outputs: bool,
        replaced_inputs: Option<&[u8]>,
    ) -> Result<Aterm, PrintError> {
        if self.env.contains_key(ENV_NAME) {
            return Err(PrintError::ReservedVariable);
        }
        let mut text = Vec::with_capacity(self.size_estimate(store_dir));
        let out = &mut text;
        out.extend_from_slice(if self.has_dynamic_inputs() {
            b"DrvWithVersion(\"xp-dyn-drv\",["
        } else {
            b"Derive(["
        });
        for (idx, (name, output)) in self.outputs.iter().enumerate() {
            separate(idx, out);
            self.print_output(store_dir, mask_outputs, name, output, out)?;
        }
        out.extend_from_slice(b"],[");
        let start = out.len();
        match replaced_inputs {
            Some(inputs) => out.extend_from_slice(inputs),
            None => {
                for (idx, (path, outputs)) in self.input_derivations.iter().enumerate() {
                    separate(idx, out);
                    out.extend_from_slice(b"(\"");
                    store_dir.append_to(path, out);
                    out.extend_from_slice(b"\",");
                    print_input_outputs(outputs, out);
                    out.push(b')');
                }
            }
        }
        let inputs = start..out.len();
        out.extend_from_slice(b"],[");
        for (idx, path) in self.input_sources.iter().enumerate() {
            separate(idx, out);
            out.push(b'"');
            store_dir.append_to(path, out);
            out.push(b'"');
        }
        out.extend_from_slice(b"],");
        print_plain(&self.system, out);
        out.push(b',');
        print_escaped(&self.builder, out);
        out.extend_from_slice(b",[");
        for (idx, arg) in self.args.iter().enumerate() {
            separate(idx, out);
            print_escaped(arg, out);
        }
        out.extend_from_slice(b"],[");
        self.print_env(mask_outputs, out);
        out.extend_from_slice(b"])");
        Ok(Aterm { text, inputs })
    }

    fn print_output(
        &self,
        store_dir: &StoreDir,
        mask_outputs: bool,
        name: &OutputName,
        output: &DerivationOutput,
        out: &mut Vec<u8>,
    ) -> Result<(), PrintError> {
        out.push(b'(');
        print_plain(name.as_bytes(), out);
        out.extend_from_slice(b",\"");
        if !mask_outputs
            && let Some(path) = output.path(store_dir, &self.name, name)?
        {
            store_dir.append_to(&path, out);
        }
        out.extend_from_slice(b"\",\"");
        match output {
            DerivationOutput::InputAddressed(_) | DerivationOutput::Deferred => {
                out.extend_from_slice(b"\",\"");
            }
            DerivationOutput::Fixed(address) => {
                out.extend_from_slice(address.method_and_algorithm().as_bytes());
                out.extend_from_slice(b"\",\"");
                out.extend_from_slice(address.hash.format(HashFormat::Base16, false).as_bytes());
            }
            DerivationOutput::Floating { method, algorithm } => {
                out.extend_from_slice(method.with_algorithm(*algorithm).as_bytes());
                out.extend_from_slice(b"\",\"");
            }
            DerivationOutput::Impure { method, algorithm } => {
                out.extend_from_slice(method.with_algorithm(*algorithm).as_bytes());
                out.extend_from_slice(b"\",\"impure");
            }
        }
        out.extend_from_slice(b"\")");
        Ok(())
    }

    fn print_env(&self, mask_outputs: bool, out: &mut Vec<u8>) {
        let mut attrs = self.structured_attrs.as_ref();
        let mut n_printed = 0;
        for (key, value) in &self.env {
            if let Some(json) = attrs
                && key.as_slice() > ENV_NAME
            {
                print_variable(n_printed, ENV_NAME, json.as_text().as_bytes(), out);
                n_printed += 1;
                attrs = None;
            }
            let is_masked = mask_outputs
                && std::str::from_utf8(key).is_ok_and(|key| self.outputs.contains_key(key));
            print_variable(n_printed, key, if is_masked { b"" } else { value }, out);
            n_printed += 1;
        }
        if let Some(json) = attrs {
            print_variable(n_printed, ENV_NAME, json.as_text().as_bytes(), out);
        }
    }

    /// A little more than the text will need, so that the buffer grows at most once.
    fn size_estimate(&self, store_dir: &StoreDir) -> usize {
        let path = store_dir.as_str().len() + 80;
        let env: usize = self.env.iter().map(|(key, value)| key.len() + value.len() + 8).sum();
        let args: usize = self.args.iter().map(|arg| arg.len() + 3).sum();
        let json = self.structured_attrs.as_ref().map_or(0, |attrs| attrs.as_text().len());
        let n_paths = self.outputs.len() + self.input_derivations.len() + self.input_sources.len();
        128 + n_paths * path + env + env / 16 + args + json + json / 8 + self.builder.len()
    }
}

/// Prints the outputs that are needed of an input. Nesting is as deep as the value is, which
/// parsing bounds.
fn print_input_outputs(input: &InputOutputs, out: &mut Vec<u8>) {
    if input.dynamic.is_empty() {
        print_names(&input.outputs, out);
        return;
    }
    out.push(b'(');
    print_names(&input.outputs, out);
    out.extend_from_slice(b",[");
    for (idx, (name, inner)) in input.dynamic.iter().enumerate() {
        separate(idx, out);
        out.push(b'(');
        print_plain(name.as_bytes(), out);
        out.push(b',');
        print_input_outputs(inner, out);
        out.push(b')');
    }
    out.extend_from_slice(b"])");
}

/// Prints `["a","b"]`.
pub(super) fn print_names(names: &BTreeSet<OutputName>, out: &mut Vec<u8>) {
    out.push(b'[');
    for (idx, name) in names.iter().enumerate() {
        separate(idx, out);
        print_plain(name.as_bytes(), out);
    }
    out.push(b']');
}

fn print_variable(idx: usize, key: &[u8], value: &[u8], out: &mut Vec<u8>) {
    separate(idx, out);
    out.push(b'(');
    print_escaped(key, out);
    out.push(b',');
    print_escaped(value, out);
    out.push(b')');
}

pub(super) fn separate(idx: usize, out: &mut Vec<u8>) {
    if idx > 0 {
        out.push(b',');
    }
}

fn print_plain(string: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(string);
    out.push(b'"');
}

/// Prints a string with its five escapes, copying whole runs between them.
fn print_escaped(string: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    // Carriage returns and tabs are rare: one search for both allows the other three to be searched together.
    if memchr::memchr2(b'\r', b'\t', string).is_none() {
        print_runs(string, memchr::memchr3_iter(b'"', b'\\', b'\n', string), out);
    } else {
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\' | b'\n' | b'\r' | b'\t');
        print_runs(string, string.iter().enumerate().filter(|(_, byte)| is_special(byte)).map(|(place, _)| place), out);
    }
    out.push(b'"');
}

/// Prints a string whose bytes at `specials` need an escape.
fn print_runs(string: &[u8], specials: impl Iterator<Item = usize>, out: &mut Vec<u8>) {
    let mut printed = 0;
    for special in specials {
        out.extend_from_slice(&string[printed..special]);
        let escape = match string[special] {
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            quote_or_backslash => quote_or_backslash,
        };
        out.extend_from_slice(&[b'\\', escape]);
        printed = special + 1;
    }
    out.extend_from_slice(&string[printed..]);
}
