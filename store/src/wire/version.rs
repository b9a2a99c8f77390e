//! Versions of the two protocols and the greetings in which they are agreed on.
//!
//! Both sides say what they speak and the lower number counts. From 1.38 on the daemon protocol also exchanges names of
//! *features*; only what both have may be used. The surprising thing: features, not the number, decide about what came
//! after 2.34, so a peer that says 1.38 may be any newer program, and Lix stays at 1.35 for ever.
//!
//! Format source: `worker-protocol-connection.cc`, `serve-protocol-connection.cc` of the reference (2.34.8).

use std::collections::BTreeSet;
use std::fmt;
use std::io::{Read, Write};

use super::message::{Dialect, Message, Protocol, Trust};
use super::{DEFAULT_LIMIT, WireError, WireRead, WireWrite};
use crate::path::StoreDir;

/// What a client of the daemon begins with.
pub const WORKER_MAGIC_CLIENT: u64 = 0x6e69_7863;
/// What the daemon answers.
pub const WORKER_MAGIC_SERVER: u64 = 0x6478_696f;
/// What a client of `nix-store --serve` begins with.
pub const SERVE_MAGIC_CLIENT: u64 = 0x390c_9deb;
/// What `nix-store --serve` answers.
pub const SERVE_MAGIC_SERVER: u64 = 0x5452_eecb;

/// The number of a protocol's version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Number {
    /// 1 for the daemon protocol, 2 for the serve protocol.
    pub major: u8,
    /// What changes.
    pub minor: u8,
}

impl Number {
    /// Makes a number.
    pub const fn new(major: u8, minor: u8) -> Number {
        Number { major, minor }
    }

    /// Returns the number that travels.
    pub fn to_wire(self) -> u64 {
        u64::from(self.major) << 8 | u64::from(self.minor)
    }

    /// Reads the number that travels; higher bytes are ignored, as the reference does.
    pub fn from_wire(number: u64) -> Number {
        let [.., major, minor] = number.to_be_bytes();
        Number { major, minor }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The daemon protocol's version that we speak, that of Nix 2.34.
pub const WORKER_LATEST: Number = Number::new(1, 38);
/// The oldest version of the daemon protocol that the server speaks.
pub const WORKER_MINIMUM: Number = Number::new(1, 18);
/// The oldest version of the daemon protocol that the client speaks: Nix 2.15 and Lix.
pub const WORKER_CLIENT_MINIMUM: Number = Number::new(1, 35);
/// The serve protocol's version that we speak.
pub const SERVE_LATEST: Number = Number::new(2, 7);
/// The oldest version of the serve protocol that the client speaks.
pub const SERVE_CLIENT_MINIMUM: Number = Number::new(2, 5);

/// A version with its features.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The number.
    pub number: Number,
    /// Names of features; none were in use in 2.34.
    pub features: BTreeSet<String>,
}

impl Version {
    /// What we speak.
    pub fn latest() -> Version {
        Version { number: WORKER_LATEST, features: BTreeSet::new() }
    }

    fn agreed(&self, number: Number, theirs: &BTreeSet<String>) -> Version {
        Version { number, features: self.features.intersection(theirs).cloned().collect() }
    }

    /// Tells whether a feature may be used.
    pub fn has(&self, feature: &str) -> bool {
        self.features.contains(feature)
    }
}

/// Why a greeting failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GreetingError {
    /// The connection, or what came over it.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The peer is something else.
    #[error("protocol mismatch")]
    Magic,
    /// The peer speaks another language, or one that nobody speaks any more.
    #[error("protocol version {found} is not supported")]
    Unsupported {
        /// The version that the peer speaks.
        found: Number,
    },
}

impl From<std::io::Error> for GreetingError {
    fn from(error: std::io::Error) -> Self {
        GreetingError::Wire(error.into())
    }
}

/// What a daemon says of itself after the greeting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DaemonInfo {
    /// Its program's version, since 1.33.
    pub version: Option<String>,
    /// What it thinks of the client, since 1.35; nothing if it does not know.
    pub trust: Option<Trust>,
}

impl Message for DaemonInfo {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let mut info = DaemonInfo::default();
        if dialect.protocol.is_worker_since(33) {
            info.version = Some(source.read_text(DEFAULT_LIMIT)?);
        }
        if dialect.protocol.is_worker_since(35) {
            info.trust = Message::read(source, dialect)?;
        }
        Ok(info)
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        if dialect.protocol.is_worker_since(33) {
            sink.write_bytes(self.version.as_deref().unwrap_or_default().as_bytes())?;
        }
        if dialect.protocol.is_worker_since(35) {
            self.trust.write(sink, dialect)?;
        }
        Ok(())
    }
}

/// Greets a daemon and returns what both speak and what it says of itself. Its first words (log messages, or the error
/// that nobody may connect) follow; read them as those of any request.
pub fn greet_daemon(
    source: &mut dyn Read,
    sink: &mut dyn Write,
    store_dir: &StoreDir,
    ours: &Version,
) -> Result<(Version, DaemonInfo), GreetingError> {
    sink.write_number(WORKER_MAGIC_CLIENT)?;
    sink.write_number(ours.number.to_wire())?;
    sink.flush()?;
    if source.read_number()? != WORKER_MAGIC_SERVER {
        return Err(GreetingError::Magic);
    }
    let theirs = Number::from_wire(source.read_number()?);
    if theirs.major != ours.number.major || theirs < WORKER_CLIENT_MINIMUM {
        return Err(GreetingError::Unsupported { found: theirs });
    }
    let number = theirs.min(ours.number);
    let mut features = BTreeSet::new();
    if number >= Number::new(1, 38) {
        sink.write_list(&ours.features)?;
        sink.flush()?;
        features = read_features(source)?;
    }
    let version = ours.agreed(number, &features);
    // Once a processor to run on, and whether to keep space.
    sink.write_number(0)?;
    sink.write_number(0)?;
    sink.flush()?;
    let dialect = Dialect { store_dir, protocol: Protocol::Worker(number) };
    let info = DaemonInfo::read(source, &dialect)?;
    Ok((version, info))
}

/// Answers the greeting of a daemon's client and returns what both speak. `info` is what the client learns of us.
pub fn greet_client(
    source: &mut dyn Read,
    sink: &mut dyn Write,
    store_dir: &StoreDir,
    ours: &Version,
    info: &DaemonInfo,
) -> Result<Version, GreetingError> {
    if source.read_number()? != WORKER_MAGIC_CLIENT {
        return Err(GreetingError::Magic);
    }
    sink.write_number(WORKER_MAGIC_SERVER)?;
    sink.write_number(ours.number.to_wire())?;
    sink.flush()?;
    let theirs = Number::from_wire(source.read_number()?);
    if theirs.major != ours.number.major || theirs < WORKER_MINIMUM {
        return Err(GreetingError::Unsupported { found: theirs });
    }
    let number = theirs.min(ours.number);
    let mut features = BTreeSet::new();
    if number >= Number::new(1, 38) {
        features = read_features(source)?;
        sink.write_list(&ours.features)?;
        sink.flush()?;
    }
    if source.read_number()? != 0 {
        source.read_number()?;
    }
    source.read_number()?;
    let dialect = Dialect { store_dir, protocol: Protocol::Worker(number) };
    info.write(sink, &dialect)?;
    Ok(ours.agreed(number, &features))
}

/// Greets `nix-store --serve` and returns the version that both speak.
pub fn greet_serve_server(source: &mut dyn Read, sink: &mut dyn Write) -> Result<Number, GreetingError> {
    sink.write_number(SERVE_MAGIC_CLIENT)?;
    sink.write_number(SERVE_LATEST.to_wire())?;
    sink.flush()?;
    if source.read_number()? != SERVE_MAGIC_SERVER {
        return Err(GreetingError::Magic);
    }
    let theirs = Number::from_wire(source.read_number()?);
    if theirs.major != SERVE_LATEST.major || theirs < SERVE_CLIENT_MINIMUM {
        return Err(GreetingError::Unsupported { found: theirs });
    }
    Ok(theirs.min(SERVE_LATEST))
}

/// Answers the greeting of a client of `nix-store --serve` and returns the version that both speak.
pub fn greet_serve_client(source: &mut dyn Read, sink: &mut dyn Write) -> Result<Number, GreetingError> {
    if source.read_number()? != SERVE_MAGIC_CLIENT {
        return Err(GreetingError::Magic);
    }
    sink.write_number(SERVE_MAGIC_SERVER)?;
    sink.write_number(SERVE_LATEST.to_wire())?;
    sink.flush()?;
    let theirs = Number::from_wire(source.read_number()?);
    if theirs.major != SERVE_LATEST.major {
        return Err(GreetingError::Unsupported { found: theirs });
    }
    Ok(theirs.min(SERVE_LATEST))
}

/// Names of features are short and few.
fn read_features(source: &mut dyn Read) -> Result<BTreeSet<String>, WireError> {
    let names = source.read_list(64 * 1024)?;
    names.into_iter().map(|name| String::from_utf8(name).map_err(|_| WireError::NotUtf8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the daemon of Nix 2.34.8 answers to a client of 1.38 that is trusted, up to the end of its first words.
    const CAPTURED: &[u8] = b"oixd\0\0\0\0\x26\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\
        \x06\0\0\0\0\0\0\x002.34.8\0\0\x01\0\0\0\0\0\0\0stla\0\0\0\0";

    #[test]
    fn the_real_daemon_is_understood() {
        let mut sent = Vec::new();
        let mut source = CAPTURED;
        let (version, info) = greet_daemon(&mut source, &mut sent, &StoreDir::default(), &Version::latest()).unwrap();
        assert_eq!(version, Version::latest());
        assert_eq!(info, DaemonInfo { version: Some("2.34.8".into()), trust: Some(Trust::Trusted) });
        assert_eq!(source, b"stla\0\0\0\0");
        // Magic, version, no features, and the two zeros of old.
        assert_eq!(sent, [b"cxin\0\0\0\0\x26\x01\0\0\0\0\0\0".as_slice(), &[0; 24]].concat());

        let mut answered = Vec::new();
        greet_client(&mut sent.as_slice(), &mut answered, &StoreDir::default(), &Version::latest(), &info).unwrap();
        assert_eq!(answered, &CAPTURED[..CAPTURED.len() - 8]);
    }

    /// Each side has features that the other does not.
    #[test]
    fn only_common_features_are_used() {
        let version = |names: &[&str]| Version {
            number: WORKER_LATEST,
            features: names.iter().map(|&name| name.to_owned()).collect(),
        };
        let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        let info = DaemonInfo { version: Some("x".into()), trust: None };
        let expected = info.clone();
        let answering = std::thread::spawn(move || {
            let (mut source, mut sink) = (&server, std::io::BufWriter::new(&server));
            let agreed =
                greet_client(&mut source, &mut sink, &StoreDir::default(), &version(&["b", "c"]), &info).unwrap();
            sink.flush().unwrap();
            agreed
        });
        let (mut source, mut sink) = (&client, &client);
        let (agreed, info) = greet_daemon(&mut source, &mut sink, &StoreDir::default(), &version(&["a", "b"])).unwrap();
        assert_eq!(agreed, version(&["b"]));
        assert_eq!(answering.join().unwrap(), agreed);
        assert!(agreed.has("b") && !agreed.has("a"));
        assert_eq!(info, expected);
    }

    #[test]
    fn strangers_and_elders_are_refused() {
        let refused = |bytes: &[u8]| {
            greet_daemon(&mut { bytes }, &mut Vec::new(), &StoreDir::default(), &Version::latest()).unwrap_err()
        };
        assert!(matches!(refused(b"HTTP/1.1 400 Bad Request\r\n"), GreetingError::Magic));
        assert!(matches!(refused(b""), GreetingError::Wire(_)));
        assert!(matches!(refused(&CAPTURED[..20]), GreetingError::Wire(_)));
        let old = [&CAPTURED[..8], &Number::new(1, 21).to_wire().to_le_bytes()].concat();
        assert!(matches!(refused(&old), GreetingError::Unsupported { found: Number { major: 1, minor: 21 } }));
        let other = [&CAPTURED[..8], &Number::new(2, 38).to_wire().to_le_bytes()].concat();
        assert!(matches!(refused(&other), GreetingError::Unsupported { .. }));
        // A number of features that nobody has.
        let many = [&CAPTURED[..16], &u64::MAX.to_le_bytes()].concat();
        assert!(matches!(refused(&many), GreetingError::Wire(WireError::TooLong { .. })));
    }

    #[test]
    fn serve_versions() {
        let greet = |number: Number| {
            let mut sent = Vec::new();
            let answer = [SERVE_MAGIC_SERVER.to_le_bytes(), number.to_wire().to_le_bytes()].concat();
            greet_serve_server(&mut answer.as_slice(), &mut sent)
        };
        assert_eq!(greet(Number::new(2, 8)).unwrap(), SERVE_LATEST);
        assert_eq!(greet(Number::new(2, 5)).unwrap(), Number::new(2, 5));
        assert!(greet(Number::new(2, 4)).is_err());
        assert!(greet(Number::new(3, 7)).is_err());
        assert!(matches!(
            greet_serve_client(&mut { CAPTURED }, &mut Vec::new()),
            Err(GreetingError::Magic)
        ));
    }
}
