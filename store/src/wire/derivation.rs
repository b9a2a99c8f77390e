//! Derivations on the wire: without input derivations, as a builder needs them.
//!
//! The surprising thing: input derivations do not travel. What is sent has been *resolved*, its inputs are paths, and
//! its own name travels as part of its path only.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use super::message::{Dialect, Message};
use super::{DEFAULT_LIMIT, WireError, WireRead, WireWrite};
use crate::content_address::{ContentAddress, ContentAddressMethod};
use crate::derivation::{Derivation, DerivationOutput, OutputName, StructuredAttrs};
use crate::hash::{Hash, HashFormat};

/// The variable that stands for structured attributes.
const STRUCTURED_ATTRS: &[u8] = b"__json";

/// Reads a derivation called `name`.
///
/// # Errors
/// When it is malformed.
pub fn read_derivation(source: &mut dyn Read, dialect: &Dialect<'_>, name: &str) -> Result<Derivation, WireError> {
    let mut derivation = Derivation { name: name.into(), ..Derivation::default() };
    for _ in 0..source.read_length(DEFAULT_LIMIT)? {
        let output: OutputName = source.read_text(DEFAULT_LIMIT)?.into();
        derivation.outputs.insert(output, read_output(source, dialect)?);
    }
    derivation.input_sources = Message::read(source, dialect)?;
    derivation.system = source.read_bytes(DEFAULT_LIMIT)?;
    derivation.builder = source.read_bytes(DEFAULT_LIMIT)?;
    derivation.args = Message::read(source, dialect)?;
    derivation.env = <BTreeMap<Vec<u8>, Vec<u8>> as Message>::read(source, dialect)?;
    if let Some(text) = derivation.env.remove(STRUCTURED_ATTRS) {
        let attrs = StructuredAttrs::parse(&text).map_err(|error| WireError::malformed("derivation", error))?;
        derivation.structured_attrs = Some(attrs);
    }
    Ok(derivation)
}

/// Writes a derivation without its name and input derivations.
///
/// # Errors
/// When the connection failed, or a fixed output has no path.
pub fn write_derivation(
    sink: &mut dyn Write,
    dialect: &Dialect<'_>,
    derivation: &Derivation,
) -> Result<(), WireError> {
    sink.write_number(derivation.outputs.len() as u64)?;
    for (name, output) in &derivation.outputs {
        sink.write_bytes(name.as_bytes())?;
        let path = output
            .path(dialect.store_dir, &derivation.name, name)
            .map_err(|error| WireError::malformed("derivation output", error))?;
        path.write(sink, dialect)?;
        let (method, hash) = match output {
            DerivationOutput::InputAddressed(_) | DerivationOutput::Deferred => (String::new(), String::new()),
            DerivationOutput::Fixed(address) => {
                (address.method_and_algorithm(), address.hash.format(HashFormat::Base16, false))
            }
            DerivationOutput::Floating { method, algorithm } => (method.with_algorithm(*algorithm), String::new()),
            DerivationOutput::Impure { method, algorithm } => {
                (method.with_algorithm(*algorithm), "impure".to_owned())
            }
        };
        sink.write_bytes(method.as_bytes())?;
        sink.write_bytes(hash.as_bytes())?;
    }
    derivation.input_sources.write(sink, dialect)?;
    sink.write_bytes(&derivation.system)?;
    sink.write_bytes(&derivation.builder)?;
    sink.write_list(&derivation.args)?;
    let mut env: BTreeMap<&[u8], &[u8]> =
        derivation.env.iter().map(|(key, value)| (key.as_slice(), value.as_slice())).collect();
    if let Some(attrs) = &derivation.structured_attrs {
        env.insert(STRUCTURED_ATTRS, attrs.as_text().as_bytes());
    }
    sink.write_number(env.len() as u64)?;
    for (key, value) in env {
        sink.write_bytes(key)?;
        sink.write_bytes(value)?;
    }
    Ok(())
}

/// Reads path, method and hash of an output.
fn read_output(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<DerivationOutput, WireError> {
    let path = source.read_bytes(DEFAULT_LIMIT)?;
    let method = source.read_text(DEFAULT_LIMIT)?;
    let hash = source.read_text(DEFAULT_LIMIT)?;
    let what = "derivation output";
    if method.is_empty() {
        return Ok(if path.is_empty() {
            DerivationOutput::Deferred
        } else {
            let path = dialect.store_dir.parse(&path).map_err(|error| WireError::malformed(what, error))?;
            DerivationOutput::InputAddressed(path)
        });
    }
    let (method, algorithm) =
        ContentAddressMethod::parse_with_algorithm(&method).map_err(|error| WireError::malformed(what, error))?;
    // The path of a fixed output is worked out, never believed.
    Ok(match hash.as_str() {
        "" => DerivationOutput::Floating { method, algorithm },
        "impure" => DerivationOutput::Impure { method, algorithm },
        digits => {
            let hash = Hash::parse_unprefixed(digits, algorithm).map_err(|error| WireError::malformed(what, error))?;
            DerivationOutput::Fixed(ContentAddress { method, hash })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::message::Protocol;
    use super::super::version::WORKER_LATEST;
    use super::*;
    use crate::path::{StoreDir, StorePath};

    #[test]
    fn all_kinds_of_output_round_trip() {
        let dir = StoreDir::default();
        let dialect = Dialect { store_dir: &dir, protocol: Protocol::worker(WORKER_LATEST) };
        let path = StorePath::new([7; 20], "x").unwrap();
        let method = ContentAddressMethod::Nar;
        let hash = Hash::sha256([1; 32]);
        let algorithm = hash.algorithm();
        for output in [
            DerivationOutput::InputAddressed(path.clone()),
            DerivationOutput::Deferred,
            DerivationOutput::Fixed(ContentAddress { method, hash }),
            DerivationOutput::Floating { method, algorithm },
            DerivationOutput::Impure { method, algorithm },
        ] {
            let derivation = Derivation {
                name: "x".into(),
                outputs: [("out".into(), output)].into(),
                input_sources: [path.clone()].into(),
                system: b"s".to_vec(),
                builder: b"/b".to_vec(),
                args: vec![b"a".to_vec(), Vec::new()],
                env: [(b"k".to_vec(), b"\xff".to_vec())].into(),
                structured_attrs: Some(StructuredAttrs::parse(br#"{"a":1}"#).unwrap()),
                ..Derivation::default()
            };
            let mut bytes = Vec::new();
            write_derivation(&mut bytes, &dialect, &derivation).unwrap();
            assert_eq!(read_derivation(&mut bytes.as_slice(), &dialect, "x").unwrap(), derivation);
            for end in (0..bytes.len()).step_by(8) {
                assert!(read_derivation(&mut &bytes[..end], &dialect, "x").is_err());
            }
        }
    }
}
