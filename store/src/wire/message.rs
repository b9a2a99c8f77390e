//! [`Message`]: values that travel, and the dialect that both sides agreed on.
//!
//! The daemon protocol and the older serve protocol share most values; where they differ, and where a version added
//! something, the [`Dialect`] decides. The surprising thing: a set travels in the order that the reference sorts it in,
//! which for signatures is not that of their text.
//!
//! Format source: `common-protocol.cc`, `worker-protocol.cc` of the reference and its captured vectors.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};

use super::version::{Feature, Features, Number};
use super::{DEFAULT_LIMIT, WireError, WireRead, WireWrite};
use crate::content_address::{ContentAddress, ContentAddressError, ContentAddressMethod};
use crate::hash::Algorithm;
use crate::path::{StoreDir, StorePath};
use crate::realisation::{DerivationKey, DerivationOutputId, Realisation, RealisationError, UnkeyedRealisation};
use crate::signature::Signature;

/// Which protocol is spoken, in which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// The one of the daemon, also called worker protocol.
    Worker {
        /// The version.
        number: Number,
        /// What was agreed on besides.
        features: Features,
    },
    /// The one of `nix-store --serve`.
    Serve(Number),
}

impl Protocol {
    /// The daemon's protocol without any feature.
    pub const fn worker(number: Number) -> Protocol {
        Protocol::Worker { number, features: Features::NONE }
    }

    /// Tells whether a feature of the daemon's protocol was agreed on.
    pub fn has(self, feature: Feature) -> bool {
        matches!(self, Protocol::Worker { features, .. } if features.has(feature))
    }

    /// Tells whether realisations travel in the form of 2.35, by the derivation's path.
    pub fn has_realisations_by_path(self) -> bool {
        self.has(Feature::RealisationsByPath) || self.is_serve_since(8)
    }

    /// Tells whether this is the daemon's protocol, at least in version 1.`minor`.
    pub fn is_worker_since(self, minor: u8) -> bool {
        matches!(self, Protocol::Worker { number, .. } if number >= Number::new(1, minor))
    }

    /// Tells whether this is the serve protocol, at least in version 2.`minor`.
    pub fn is_serve_since(self, minor: u8) -> bool {
        matches!(self, Protocol::Serve(number) if number >= Number::new(2, minor))
    }
}

/// What it takes to read or write a message.
#[derive(Clone, Copy, Debug)]
pub struct Dialect<'d> {
    /// The directory that store paths are written with.
    pub store_dir: &'d StoreDir,
    /// The protocol.
    pub protocol: Protocol,
}

impl<'d> Dialect<'d> {
    /// Returns the dialect of facts that an archive follows: in both protocols, and in every version, those of 1.16, with everything.
    pub fn before_archives(store_dir: &'d StoreDir) -> Dialect<'d> {
        Dialect { store_dir, protocol: Protocol::worker(Number::new(1, 16)) }
    }
}

/// A value that travels.
pub trait Message: Sized {
    /// Reads one.
    ///
    /// # Errors
    /// When the peer sent something else, or nothing.
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError>;

    /// Writes one.
    ///
    /// # Errors
    /// When the connection failed, or the protocol can't express the value in this version.
    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError>;
}

impl Message for Vec<u8> {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        source.read_bytes(DEFAULT_LIMIT)
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_bytes(self)?)
    }
}

impl Message for String {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        source.read_text(DEFAULT_LIMIT)
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_bytes(self.as_bytes())?)
    }
}

impl Message for smol_str::SmolStr {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        Ok(String::read(source, dialect)?.into())
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_bytes(self.as_bytes())?)
    }
}

impl Message for u64 {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        source.read_number()
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_number(*self)?)
    }
}

impl Message for bool {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        source.read_flag()
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_flag(*self)?)
    }
}

impl<T: Message> Message for Vec<T> {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let n_items = source.read_length(DEFAULT_LIMIT)?;
        // Nothing is set aside for what has not arrived: the number is a claim.
        let mut items = Vec::new();
        for _ in 0..n_items {
            items.push(T::read(source, dialect)?);
        }
        Ok(items)
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        sink.write_number(self.len() as u64)?;
        self.iter().try_for_each(|item| item.write(sink, dialect))
    }
}

impl<T: Message + Ord> Message for BTreeSet<T> {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let n_items = source.read_length(DEFAULT_LIMIT)?;
        let mut items = BTreeSet::new();
        for _ in 0..n_items {
            items.insert(T::read(source, dialect)?);
        }
        Ok(items)
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        sink.write_number(self.len() as u64)?;
        self.iter().try_for_each(|item| item.write(sink, dialect))
    }
}

impl<K: Message + Ord, V: Message> Message for BTreeMap<K, V> {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let n_items = source.read_length(DEFAULT_LIMIT)?;
        let mut items = BTreeMap::new();
        for _ in 0..n_items {
            let key = K::read(source, dialect)?;
            items.insert(key, V::read(source, dialect)?);
        }
        Ok(items)
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        sink.write_number(self.len() as u64)?;
        self.iter().try_for_each(|(key, value)| {
            key.write(sink, dialect)?;
            value.write(sink, dialect)
        })
    }
}

impl Message for StorePath {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let text = source.read_bytes(DEFAULT_LIMIT)?;
        dialect.store_dir.parse(&text).map_err(|error| WireError::malformed("store path", error))
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        let mut text = Vec::with_capacity(128);
        dialect.store_dir.append_to(self, &mut text);
        Ok(sink.write_bytes(&text)?)
    }
}

impl Message for Option<StorePath> {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let text = source.read_bytes(DEFAULT_LIMIT)?;
        if text.is_empty() {
            return Ok(None);
        }
        dialect.store_dir.parse(&text).map(Some).map_err(|error| WireError::malformed("store path", error))
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        match self {
            Some(path) => path.write(sink, dialect),
            None => Ok(sink.write_bytes(b"")?),
        }
    }
}

impl Message for ContentAddress {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let text = source.read_text(DEFAULT_LIMIT)?;
        text.parse().map_err(|error| WireError::malformed("content address", error))
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_bytes(self.to_string().as_bytes())?)
    }
}

impl Message for Option<ContentAddress> {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let text = source.read_text(DEFAULT_LIMIT)?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|error| WireError::malformed("content address", error))
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        match self {
            Some(address) => address.write(sink, dialect),
            None => Ok(sink.write_bytes(b"")?),
        }
    }
}

/// A content-addressing method with its algorithm, as `text:sha256`, `fixed:sha256`, `fixed:r:sha256`. Derivations write
/// them without `fixed:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MethodAndAlgorithm {
    /// What is hashed.
    pub method: ContentAddressMethod,
    /// With what.
    pub algorithm: Algorithm,
}

impl Message for MethodAndAlgorithm {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let text = source.read_text(DEFAULT_LIMIT)?;
        let malformed = |error| WireError::malformed("content-addressing method", error);
        let (method, algorithm) = match text.strip_prefix("fixed:") {
            Some(rest) => ContentAddressMethod::parse_with_algorithm(rest).map_err(malformed)?,
            None => ContentAddressMethod::parse_with_algorithm(&text).map_err(malformed)?,
        };
        // Only texts go without the word.
        if (method == ContentAddressMethod::Text) == text.starts_with("fixed:") {
            let source = ContentAddressError::UnknownPrefix { prefix: text.split(':').next().unwrap_or_default().into() };
            return Err(WireError::malformed("content-addressing method", source));
        }
        Ok(MethodAndAlgorithm { method, algorithm })
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        let prefix = if self.method == ContentAddressMethod::Text { "" } else { "fixed:" };
        let text = format!("{prefix}{}", self.method.with_algorithm(self.algorithm));
        Ok(sink.write_bytes(text.as_bytes())?)
    }
}

/// Reads signatures; each must have a name and base 64.
pub fn read_signatures(source: &mut dyn Read) -> Result<BTreeSet<String>, WireError> {
    let n_items = source.read_length(DEFAULT_LIMIT)?;
    let mut signatures = BTreeSet::new();
    for _ in 0..n_items {
        let text = source.read_text(DEFAULT_LIMIT)?;
        let signature: Signature = text.parse().map_err(|error| WireError::malformed("signature", error))?;
        signatures.insert(signature.to_string());
    }
    Ok(signatures)
}

/// Writes signatures in the reference's order.
pub fn write_signatures(sink: &mut dyn Write, signatures: &BTreeSet<String>) -> Result<(), WireError> {
    Ok(sink.write_list(crate::signature::in_reference_order(signatures))?)
}

impl Message for DerivationOutputId {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let malformed = |error| WireError::malformed("derivation output", error);
        if dialect.protocol.has_realisations_by_path() {
            let path = StorePath::read(source, dialect)?;
            let output = source.read_text(DEFAULT_LIMIT)?;
            return format!("{}^{output}", path.base_name()).parse().map_err(malformed);
        }
        let id: DerivationOutputId = source.read_text(DEFAULT_LIMIT)?.parse().map_err(malformed)?;
        match id.derivation {
            DerivationKey::Hash(_) => Ok(id),
            DerivationKey::Path(_) => Err(malformed(RealisationError::InvalidId { text: id.to_string() })),
        }
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        match (&self.derivation, dialect.protocol.has_realisations_by_path()) {
            (DerivationKey::Path(path), true) => {
                path.write(sink, dialect)?;
                Ok(sink.write_bytes(self.output.as_bytes())?)
            }
            (DerivationKey::Hash(_), false) => Ok(sink.write_bytes(self.to_string().as_bytes())?),
            (DerivationKey::Path(_), false) => Err(WireError::Inexpressible { what: "a realisation of a derivation's path" }),
            (DerivationKey::Hash(_), true) => Err(WireError::Inexpressible { what: "a realisation of a derivation's hash" }),
        }
    }
}

/// Only in the form of 2.35.
impl Message for UnkeyedRealisation {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        Ok(UnkeyedRealisation { path: Message::read(source, dialect)?, signatures: read_signatures(source)? })
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        self.path.write(sink, dialect)?;
        write_signatures(sink, &self.signatures)
    }
}

impl Message for Option<UnkeyedRealisation> {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        match source.read_number()? {
            0 => Ok(None),
            1 => UnkeyedRealisation::read(source, dialect).map(Some),
            number => Err(WireError::OutOfRange { number }),
        }
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        sink.write_flag(self.is_some())?;
        self.as_ref().map_or(Ok(()), |realisation| realisation.write(sink, dialect))
    }
}

impl Message for Realisation {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        if dialect.protocol.has_realisations_by_path() {
            let id = Message::read(source, dialect)?;
            return Ok(UnkeyedRealisation::read(source, dialect)?.with_id(id));
        }
        let text = source.read_text(DEFAULT_LIMIT)?;
        Realisation::parse(&text).map_err(|error| WireError::malformed("realisation", error))
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        if dialect.protocol.has_realisations_by_path() {
            self.id.write(sink, dialect)?;
            return self.unkeyed().write(sink, dialect);
        }
        if matches!(self.id.derivation, DerivationKey::Path(_)) {
            return Err(WireError::Inexpressible { what: "a realisation of a derivation's path" });
        }
        Ok(sink.write_bytes(crate::json::to_string(&self.to_json()).as_bytes())?)
    }
}

/// What a daemon thinks of its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// It may do everything.
    Trusted,
    /// It may do what can't harm others.
    NotTrusted,
}

impl Message for Option<Trust> {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        match source.read_number()? {
            0 => Ok(None),
            1 => Ok(Some(Trust::Trusted)),
            2 => Ok(Some(Trust::NotTrusted)),
            number => Err(WireError::OutOfRange { number }),
        }
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        let number = match self {
            None => 0,
            Some(Trust::Trusted) => 1,
            Some(Trust::NotTrusted) => 2,
        };
        Ok(sink.write_number(number)?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::version::WORKER_LATEST;
    use super::*;

    /// What `nix-store --add`, `--add-fixed sha256` and `nix-instantiate` 2.34.8 send.
    #[test]
    fn methods_of_contents() {
        let dir = StoreDir::default();
        let dialect = Dialect { store_dir: &dir, protocol: Protocol::worker(WORKER_LATEST) };
        let check = |text: &str, expected: Option<ContentAddressMethod>| {
            let mut bytes = Vec::new();
            bytes.write_bytes(text.as_bytes()).unwrap();
            let read = MethodAndAlgorithm::read(&mut bytes.as_slice(), &dialect).ok();
            assert_eq!(read.map(|read| read.method), expected, "{text}");
            if let Some(read) = read {
                let mut written = Vec::new();
                read.write(&mut written, &dialect).unwrap();
                assert_eq!(written, bytes);
            }
        };
        check("fixed:r:sha256", Some(ContentAddressMethod::Nar));
        check("fixed:sha256", Some(ContentAddressMethod::Flat));
        check("fixed:git:sha1", Some(ContentAddressMethod::Git));
        check("text:sha256", Some(ContentAddressMethod::Text));
        for text in ["r:sha256", "sha256", "fixed:text:sha256", "fixed:r:sha3", ""] {
            check(text, None);
        }
    }
}
