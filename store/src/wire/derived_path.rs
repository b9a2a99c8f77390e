//! What somebody can want: a path, or outputs of a derivation, which may itself be an output (`dynamic-derivations`).
//!
//! On the wire this is text: `/nix/store/…-x.drv!out,dev`, `…!*` for all outputs. The surprising thing: before 1.30 a
//! derivation without outputs behind it meant all of them, so that a `.drv` file as such could not be asked for.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{Read, Write};

use serde_json::Value;

use super::message::{Dialect, Message};
use super::{DEFAULT_LIMIT, WireError, WireRead, WireWrite};
use crate::derivation::{MAX_DYNAMIC_DEPTH, OutputName};
use crate::path::{StoreDir, StorePath, StorePathError, StorePathName};

/// One path, known now or after a build.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SingleDerivedPath {
    /// Known now.
    Opaque(StorePath),
    /// An output of a derivation.
    Built {
        /// The derivation.
        derivation: Box<SingleDerivedPath>,
        /// Its output.
        output: OutputName,
    },
}

/// Which outputs of a derivation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutputsSpec {
    /// All.
    All,
    /// These; at least one.
    Names(BTreeSet<OutputName>),
}

/// Something wanted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DerivedPath {
    /// A path as such.
    Opaque(StorePath),
    /// Outputs of a derivation.
    Built {
        /// The derivation.
        derivation: SingleDerivedPath,
        /// Its outputs.
        outputs: OutputsSpec,
    },
}

/// Why text is no derived path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DerivedPathError {
    /// The path in it.
    #[error(transparent)]
    Path(#[from] StorePathError),
    /// The name of an output.
    #[error("invalid output name '{name}'")]
    OutputName {
        /// The name.
        name: String,
    },
    /// Names of outputs as JSON.
    #[error("'{json}' is no set of outputs")]
    BadOutputs {
        /// The JSON.
        json: String,
    },
    /// Outputs of outputs of outputs.
    #[error("derived path is nested deeper than {MAX_DYNAMIC_DEPTH} levels")]
    TooDeep,
}

impl SingleDerivedPath {
    /// Returns an output of this.
    pub fn output(self, output: impl Into<OutputName>) -> SingleDerivedPath {
        SingleDerivedPath::Built { derivation: Box::new(self), output: output.into() }
    }

    /// Returns the names of outputs from the root on.
    pub fn names(&self) -> Vec<&OutputName> {
        let mut names = Vec::new();
        let mut path = self;
        while let SingleDerivedPath::Built { derivation, output } = path {
            names.push(output);
            path = derivation;
        }
        names.reverse();
        names
    }

    /// Returns it as the command line writes it: `/nix/store/…-x.drv^out^out`.
    pub fn display(&self, store_dir: &StoreDir) -> String {
        self.to_text(store_dir, '^')
    }

    /// Returns the store path that it begins with.
    pub fn root(&self) -> &StorePath {
        let mut path = self;
        loop {
            match path {
                SingleDerivedPath::Opaque(path) => return path,
                SingleDerivedPath::Built { derivation, .. } => path = derivation,
            }
        }
    }

    /// Returns the text, with `!` before the outputs (on the wire) or `^` (to people).
    pub fn to_text(&self, store_dir: &StoreDir, separator: char) -> String {
        let mut text = store_dir.display(self.root());
        for name in self.names() {
            text.push(separator);
            text.push_str(name);
        }
        text
    }

    fn parse(store_dir: &StoreDir, text: &str, separator: char) -> Result<Self, DerivedPathError> {
        let mut parts = text.split(separator);
        let mut path = SingleDerivedPath::Opaque(store_dir.parse(parts.next().unwrap_or_default())?);
        for (depth, part) in parts.enumerate() {
            if depth >= MAX_DYNAMIC_DEPTH {
                return Err(DerivedPathError::TooDeep);
            }
            path = SingleDerivedPath::Built { derivation: Box::new(path), output: output_name(part)? };
        }
        Ok(path)
    }
}

impl OutputsSpec {
    /// Reads `*` or names separated by commas.
    pub fn parse(text: &str) -> Result<Self, DerivedPathError> {
        if text == "*" {
            return Ok(OutputsSpec::All);
        }
        Ok(OutputsSpec::Names(text.split(',').map(output_name).collect::<Result<_, _>>()?))
    }

    /// Returns `*` or the names separated by commas.
    pub fn to_text(&self) -> String {
        match self {
            OutputsSpec::All => "*".to_owned(),
            OutputsSpec::Names(names) => {
                names.iter().map(OutputName::as_str).collect::<Vec<_>>().join(",")
            }
        }
    }

    /// Returns the JSON array of the names, or of `*` alone.
    pub fn to_json(&self) -> Value {
        match self {
            OutputsSpec::All => serde_json::json!(["*"]),
            OutputsSpec::Names(names) => names.iter().map(OutputName::as_str).collect(),
        }
    }

    /// Reads the JSON array. Where the default may be meant, `null` stands for it: see [`OutputsSpec::from_json_or_default`].
    ///
    /// # Errors
    /// When it is empty, or something in it is no name.
    pub fn from_json(json: &Value) -> Result<Self, DerivedPathError> {
        let invalid = || DerivedPathError::BadOutputs { json: json.to_string() };
        let names = json.as_array().filter(|names| !names.is_empty()).ok_or_else(invalid)?;
        if names.len() == 1 && names[0] == "*" {
            return Ok(OutputsSpec::All);
        }
        let names = names.iter().map(|name| output_name(name.as_str().ok_or_else(invalid)?));
        Ok(OutputsSpec::Names(names.collect::<Result<_, _>>()?))
    }

    /// As [`OutputsSpec::from_json`]; `None` for `null`, where whoever reads it decides.
    ///
    /// # Errors
    /// As [`OutputsSpec::from_json`].
    pub fn from_json_or_default(json: &Value) -> Result<Option<Self>, DerivedPathError> {
        if json.is_null() { Ok(None) } else { OutputsSpec::from_json(json).map(Some) }
    }

    /// Tells whether an output is among them.
    pub fn contains(&self, output: &str) -> bool {
        match self {
            OutputsSpec::All => true,
            OutputsSpec::Names(names) => names.contains(output),
        }
    }
}

impl From<StorePath> for SingleDerivedPath {
    fn from(path: StorePath) -> SingleDerivedPath {
        SingleDerivedPath::Opaque(path)
    }
}

/// Writes `*` or the names with commas.
impl fmt::Display for OutputsSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text())
    }
}

impl DerivedPath {
    /// Returns outputs of a derivation, or of an output that is one.
    pub fn built(derivation: impl Into<SingleDerivedPath>, outputs: OutputsSpec) -> DerivedPath {
        DerivedPath::Built { derivation: derivation.into(), outputs }
    }

    /// Returns the store path that it begins with.
    pub fn root(&self) -> &StorePath {
        match self {
            DerivedPath::Opaque(path) => path,
            DerivedPath::Built { derivation, .. } => derivation.root(),
        }
    }

    /// Returns all outputs of a derivation, and anything else as such.
    pub fn from_path(path: StorePath) -> DerivedPath {
        if path.is_derivation() {
            DerivedPath::Built { derivation: SingleDerivedPath::Opaque(path), outputs: OutputsSpec::All }
        } else {
            DerivedPath::Opaque(path)
        }
    }

    /// Returns the text, with `!` before the outputs (on the wire) or `^` (to people).
    pub fn to_text(&self, store_dir: &StoreDir, separator: char) -> String {
        match self {
            DerivedPath::Opaque(path) => store_dir.display(path),
            DerivedPath::Built { derivation, outputs } => {
                format!("{}{separator}{}", derivation.to_text(store_dir, separator), outputs.to_text())
            }
        }
    }

    /// Reads the text, with `!` or `^` before the outputs.
    ///
    /// # Errors
    /// When there is no path in front, or what stands behind is no list of outputs.
    pub fn parse(store_dir: &StoreDir, text: &str, separator: char) -> Result<Self, DerivedPathError> {
        match text.rsplit_once(separator) {
            None => Ok(DerivedPath::Opaque(store_dir.parse(text)?)),
            Some((derivation, outputs)) => Ok(DerivedPath::Built {
                derivation: SingleDerivedPath::parse(store_dir, derivation, separator)?,
                outputs: OutputsSpec::parse(outputs)?,
            }),
        }
    }

    /// Reads the text of before 1.30, and of the serve protocol.
    fn parse_old(store_dir: &StoreDir, text: &str) -> Result<Self, DerivedPathError> {
        let Some((derivation, outputs)) = text.split_once('!') else {
            return Ok(DerivedPath::from_path(store_dir.parse(text)?));
        };
        let outputs = match outputs {
            "" => OutputsSpec::All,
            outputs => OutputsSpec::Names(outputs.split(',').map(output_name).collect::<Result<_, _>>()?),
        };
        Ok(DerivedPath::Built { derivation: SingleDerivedPath::Opaque(store_dir.parse(derivation)?), outputs })
    }
}

fn output_name(name: &str) -> Result<OutputName, DerivedPathError> {
    match StorePathName::new(name) {
        Ok(_) => Ok(name.into()),
        Err(_) => Err(DerivedPathError::OutputName { name: name.to_owned() }),
    }
}

impl Message for DerivedPath {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let text = source.read_text(DEFAULT_LIMIT)?;
        let path = if dialect.protocol.is_worker_since(30) {
            DerivedPath::parse(dialect.store_dir, &text, '!')
        } else {
            DerivedPath::parse_old(dialect.store_dir, &text)
        };
        path.map_err(|error| WireError::malformed("derived path", error))
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        let dir = dialect.store_dir;
        if dialect.protocol.is_worker_since(30) {
            return Ok(sink.write_bytes(self.to_text(dir, '!').as_bytes())?);
        }
        let text = match self {
            DerivedPath::Opaque(path) if path.is_derivation() => {
                return Err(WireError::Inexpressible { what: "a derivation file" });
            }
            DerivedPath::Opaque(path) => dir.display(path),
            DerivedPath::Built { derivation: SingleDerivedPath::Built { .. }, .. } => {
                return Err(WireError::Inexpressible { what: "an output of a derivation that is itself built" });
            }
            DerivedPath::Built { derivation: SingleDerivedPath::Opaque(path), outputs } => match outputs {
                OutputsSpec::All => dir.display(path),
                OutputsSpec::Names(_) => format!("{}!{}", dir.display(path), outputs.to_text()),
            },
        };
        Ok(sink.write_bytes(text.as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let dir = StoreDir::default();
        let hash = "g1w7hy3qg1w7hy3qg1w7hy3qg1w7hy3q";
        for text in ["x", "x.drv", "x.drv!*", "x.drv!a,b", "x.drv!a!b!*"] {
            let text = format!("/nix/store/{hash}-{text}");
            let path = DerivedPath::parse(&dir, &text, '!').unwrap();
            assert_eq!(path.to_text(&dir, '!'), text);
        }
        for text in ["x.drv!", "x.drv!a,", "x.drv!a b", "x.drv!/!a", "x.drv!.."] {
            let text = format!("/nix/store/{hash}-{text}");
            assert!(DerivedPath::parse(&dir, &text, '!').is_err(), "{text}");
        }
        let deep = format!("/nix/store/{hash}-x.drv{}", "!a".repeat(100_000));
        assert_eq!(DerivedPath::parse(&dir, &deep, '!'), Err(DerivedPathError::TooDeep));
    }
}
