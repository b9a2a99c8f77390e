//! Versions of the two protocols and the greetings in which they are agreed on.
//!
//! Both sides say what they speak and the lower number counts. From 1.38 on the daemon protocol also exchanges names of
//! *features*; only what both have may be used. The surprising thing: features, not the number, decide about what came
//! after 2.34, so a peer that says 1.38 may be any newer program, and Lix stays at 1.35 for ever.
//!
//! Format source: `worker-protocol-connection.cc`, `serve-protocol-connection.cc` of the reference (2.34.8, and its master
//! after 2.35 for features and serve 2.8).

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
/// The serve protocol's version that we speak, that of Nix 2.35; 2.34 has 2.7, which is then agreed on.
pub const SERVE_LATEST: Number = Number::new(2, 8);
/// The oldest version of the serve protocol that the client speaks.
pub const SERVE_CLIENT_MINIMUM: Number = Number::new(2, 5);

/// A feature of the daemon protocol that is known here. Nix 2.34 has none of them, Nix 2.35 the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Feature {
    /// Realisations travel in the form of 2.35: by the derivation's path.
    RealisationsByPath = 1,
    /// Collections may be of what is dead among some paths, and take those that refer to them too.
    CollectAmongPaths = 2,
    /// The daemon takes no settings: a builder's own.
    NoSettings = 4,
}

impl Feature {
    /// All of them.
    pub const ALL: [Feature; 3] = [Feature::RealisationsByPath, Feature::CollectAmongPaths, Feature::NoSettings];

    /// Returns the name that travels.
    pub fn name(self) -> &'static str {
        match self {
            Feature::RealisationsByPath => "realisation-with-path-not-hash",
            Feature::CollectAmongPaths => "delete-dead-specific-referrers",
            Feature::NoSettings => "disable-set-options",
        }
    }
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features(u8);

impl Features {
    /// No feature.
    pub const NONE: Features = Features(0);

    /// Returns the set with one more.
    #[must_use]
    pub const fn with(self, feature: Feature) -> Features {
        Features(self.0 | feature as u8)
    }

    /// Returns the set without one.
    #[must_use]
    pub const fn without(self, feature: Feature) -> Features {
        Features(self.0 & !(feature as u8))
    }

    /// Tells whether a feature is in it.
    pub const fn has(self, feature: Feature) -> bool {
        self.0 & feature as u8 != 0
    }

    /// Returns what is in both.
    #[must_use]
    pub const fn common(self, other: Features) -> Features {
        Features(self.0 & other.0)
    }

    /// Returns the names that travel, in the order in which they do.
    pub fn names(self) -> Vec<&'static str> {
        let mut names: Vec<_> = Feature::ALL.into_iter().filter(|feature| self.has(*feature)).map(Feature::name).collect();
        names.sort_unstable();
        names
    }

    /// Reads names. There are few, and those that nobody here knows are dropped: only what both sides have counts.
    fn read(source: &mut dyn Read) -> Result<Features, WireError> {
        let names = source.read_list(64 * 1024)?;
        let known = Feature::ALL.into_iter().filter(|feature| names.iter().any(|name| name == feature.name().as_bytes()));
        Ok(known.fold(Features::NONE, Features::with))
    }
}

/// A version with its features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The number.
    pub number: Number,
    /// Features besides.
    pub features: Features,
}

impl Version {
    /// What a client of ours offers: everything.
    pub fn of_client() -> Version {
        Version { number: WORKER_LATEST, features: Feature::ALL.into_iter().fold(Features::NONE, Features::with) }
    }

    /// What a server of ours offers.
    pub fn of_server() -> Version {
        Version { features: Version::of_client().features.without(Feature::NoSettings), ..Version::of_client() }
    }

    /// Returns the protocol that this is a version of.
    pub fn protocol(self) -> Protocol {
        Protocol::Worker { number: self.number, features: self.features }
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
    let mut features = Features::NONE;
    if number >= Number::new(1, 38) {
        sink.write_list(ours.features.names())?;
        sink.flush()?;
        features = Features::read(source)?.common(ours.features);
    }
    let version = Version { number, features };
    // Once a processor to run on, and whether to keep space.
    sink.write_number(0)?;
    sink.write_number(0)?;
    sink.flush()?;
    let info = DaemonInfo::read(source, &Dialect { store_dir, protocol: version.protocol() })?;
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
    let mut features = Features::NONE;
    if number >= Number::new(1, 38) {
        features = Features::read(source)?.common(ours.features);
        sink.write_list(ours.features.names())?;
        sink.flush()?;
    }
    let version = Version { number, features };
    if source.read_number()? != 0 {
        source.read_number()?;
    }
    source.read_number()?;
    info.write(sink, &Dialect { store_dir, protocol: version.protocol() })?;
    Ok(version)
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
        let ours = Version::of_client();
        let (version, info) = greet_daemon(&mut source, &mut sent, &StoreDir::default(), &ours).unwrap();
        assert_eq!(version, Version { number: WORKER_LATEST, features: Features::NONE });
        assert_eq!(info, DaemonInfo { version: Some("2.34.8".into()), trust: Some(Trust::Trusted) });
        assert_eq!(source, b"stla\0\0\0\0");
        // Magic, version, names of features that it does not know, and the two zeros of old.
        let mut features = Vec::new();
        features.write_list(ours.features.names()).unwrap();
        assert_eq!(sent, [b"cxin\0\0\0\0\x26\x01\0\0\0\0\0\0".as_slice(), &features, &[0; 16]].concat());

        let mut answered = Vec::new();
        let none = Version { number: WORKER_LATEST, features: Features::NONE };
        greet_client(&mut sent.as_slice(), &mut answered, &StoreDir::default(), &none, &info).unwrap();
        assert_eq!(answered, &CAPTURED[..CAPTURED.len() - 8]);
    }

    /// A client of the reference's master offers this; its names are in `worker-protocol.hh` there.
    #[test]
    fn newer_programs_are_understood() {
        let names = ["add-to-store-scanning", "delete-dead-specific-referrers", "disable-set-options", "realisation-with-path-not-hash", "submit-output"];
        let mut sent = Vec::new();
        sent.write_number(WORKER_MAGIC_CLIENT).unwrap();
        sent.write_number(WORKER_LATEST.to_wire()).unwrap();
        sent.write_list(names).unwrap();
        sent.extend([0; 16]);
        let mut answered = Vec::new();
        let dir = StoreDir::default();
        let info = DaemonInfo { version: Some("2.34.8".into()), trust: Some(Trust::Trusted) };
        let agreed = greet_client(&mut sent.as_slice(), &mut answered, &dir, &Version::of_server(), &info).unwrap();
        assert_eq!(agreed, Version::of_server());
        assert_eq!(agreed.features.names(), ["delete-dead-specific-referrers", "realisation-with-path-not-hash"]);
        // Lix says 1.35 and has never heard of features.
        let mut old = Vec::new();
        old.write_number(WORKER_MAGIC_CLIENT).unwrap();
        old.write_number(Number::new(1, 35).to_wire()).unwrap();
        old.extend([0; 16]);
        let agreed = greet_client(&mut old.as_slice(), &mut Vec::new(), &dir, &Version::of_server(), &info).unwrap();
        assert_eq!(agreed, Version { number: Number::new(1, 35), features: Features::NONE });
        let mut answer = Vec::new();
        for number in [WORKER_MAGIC_SERVER, Number::new(1, 35).to_wire()] {
            answer.write_number(number).unwrap();
        }
        answer.write_bytes(b"2.96 (Lix)").unwrap();
        answer.write_number(2).unwrap();
        let (agreed, info) = greet_daemon(&mut answer.as_slice(), &mut Vec::new(), &dir, &Version::of_client()).unwrap();
        assert_eq!(agreed, Version { number: Number::new(1, 35), features: Features::NONE });
        assert_eq!(info.trust, Some(Trust::NotTrusted));
    }

    /// Each side has features that the other does not.
    #[test]
    fn only_common_features_are_used() {
        use Feature::{CollectAmongPaths, NoSettings, RealisationsByPath};
        let version = |features: &[Feature]| Version {
            number: WORKER_LATEST,
            features: features.iter().copied().fold(Features::NONE, Features::with),
        };
        let (client, server) = std::os::unix::net::UnixStream::pair().unwrap();
        let info = DaemonInfo { version: Some("x".into()), trust: None };
        let expected = info.clone();
        let theirs = version(&[CollectAmongPaths, NoSettings]);
        let answering = std::thread::spawn(move || {
            let (mut source, mut sink) = (&server, std::io::BufWriter::new(&server));
            let agreed = greet_client(&mut source, &mut sink, &StoreDir::default(), &theirs, &info).unwrap();
            sink.flush().unwrap();
            agreed
        });
        let (mut source, mut sink) = (&client, &client);
        let ours = version(&[RealisationsByPath, CollectAmongPaths]);
        let (agreed, info) = greet_daemon(&mut source, &mut sink, &StoreDir::default(), &ours).unwrap();
        assert_eq!(agreed, version(&[CollectAmongPaths]));
        assert_eq!(answering.join().unwrap(), agreed);
        assert_eq!(info, expected);
    }

    #[test]
    fn strangers_and_elders_are_refused() {
        let refused = |bytes: &[u8]| {
            greet_daemon(&mut { bytes }, &mut Vec::new(), &StoreDir::default(), &Version::of_client()).unwrap_err()
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
        assert_eq!(greet(Number::new(2, 9)).unwrap(), SERVE_LATEST);
        assert_eq!(greet(Number::new(2, 7)).unwrap(), Number::new(2, 7), "Nix 2.34");
        assert_eq!(greet(Number::new(2, 5)).unwrap(), Number::new(2, 5));
        assert!(greet(Number::new(2, 4)).is_err());
        assert!(greet(Number::new(3, 7)).is_err());
        assert!(matches!(
            greet_serve_client(&mut { CAPTURED }, &mut Vec::new()),
            Err(GreetingError::Magic)
        ));
    }
}
