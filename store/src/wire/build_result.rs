//! Results of builds on the wire.
//!
//! The surprising thing: a success carries an empty error message and a failure an empty map of outputs, because the
//! layout is older than the idea that only one of them makes sense. And an output carries a realisation of the form that is
//! spoken, though nobody reads more of it than its name and path: so one form can be made of the other.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use serde_json::Value;

use super::derived_path::DerivedPath;
use super::message::{Dialect, Message, Protocol};
use super::path_info::read_time;
use super::{DEFAULT_LIMIT, WireError, WireRead, WireWrite};
use crate::derivation::OutputName;
use crate::path::StorePath;
use crate::realisation::{DerivationKey, DerivationOutputId, Realisation, RealisationError, UnkeyedRealisation};

/// How a build ended, in the numbering of both protocols.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are all there is to say")]
pub enum BuildStatus {
    Built = 0,
    Substituted = 1,
    AlreadyValid = 2,
    PermanentFailure = 3,
    InputRejected = 4,
    OutputRejected = 5,
    TransientFailure = 6,
    CachedFailure = 7,
    TimedOut = 8,
    MiscFailure = 9,
    DependencyFailed = 10,
    LogLimitExceeded = 11,
    NotDeterministic = 12,
    ResolvesToAlreadyValid = 13,
    NoSubstituters = 14,
}

impl BuildStatus {
    /// All of them, by number.
    pub const ALL: [BuildStatus; 15] = [
        BuildStatus::Built,
        BuildStatus::Substituted,
        BuildStatus::AlreadyValid,
        BuildStatus::PermanentFailure,
        BuildStatus::InputRejected,
        BuildStatus::OutputRejected,
        BuildStatus::TransientFailure,
        BuildStatus::CachedFailure,
        BuildStatus::TimedOut,
        BuildStatus::MiscFailure,
        BuildStatus::DependencyFailed,
        BuildStatus::LogLimitExceeded,
        BuildStatus::NotDeterministic,
        BuildStatus::ResolvesToAlreadyValid,
        BuildStatus::NoSubstituters,
    ];

    /// Tells whether the outputs are there.
    pub fn is_success(self) -> bool {
        matches!(
            self,
            BuildStatus::Built
                | BuildStatus::Substituted
                | BuildStatus::AlreadyValid
                | BuildStatus::ResolvesToAlreadyValid
        )
    }
}

impl Message for BuildStatus {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let number = source.read_number()?;
        let status = usize::try_from(number).ok().and_then(|number| BuildStatus::ALL.get(number));
        status.copied().ok_or(WireError::OutOfRange { number })
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_number(*self as u64)?)
    }
}

/// What to do with what is valid already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildMode {
    /// Nothing.
    #[default]
    Normal,
    /// Make it anew if it is damaged.
    Repair,
    /// Build it again and compare.
    Check,
}

impl Message for BuildMode {
    fn read(source: &mut dyn Read, _dialect: &Dialect<'_>) -> Result<Self, WireError> {
        match source.read_number()? {
            0 => Ok(BuildMode::Normal),
            1 => Ok(BuildMode::Repair),
            2 => Ok(BuildMode::Check),
            number => Err(WireError::OutOfRange { number }),
        }
    }

    fn write(&self, sink: &mut dyn Write, _dialect: &Dialect<'_>) -> Result<(), WireError> {
        Ok(sink.write_number(*self as u64)?)
    }
}

/// An output that a build made or found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltOutput {
    /// Its path, and who says so.
    pub made: UnkeyedRealisation,
    /// What its realisation is called, if that is known: 2.35 does not say.
    pub id: Option<DerivationOutputId>,
}

impl BuiltOutput {
    /// Returns an output of which no more than the path is known.
    pub fn new(path: StorePath) -> BuiltOutput {
        BuiltOutput { made: UnkeyedRealisation { path, signatures: Default::default() }, id: None }
    }

    fn of(realisation: &Realisation) -> BuiltOutput {
        BuiltOutput { made: realisation.unkeyed(), id: Some(realisation.id.clone()) }
    }

    /// Returns the realisation in the form of 2.34, if its name is known in that form.
    fn by_hash(&self) -> Option<Realisation> {
        let id = self.id.as_ref().filter(|id| matches!(id.derivation, DerivationKey::Hash(_)))?;
        Some(self.made.clone().with_id(id.clone()))
    }

    /// Returns the JSON object: with the realisation's name if it has one in the form of 2.34.
    fn to_json(&self) -> Value {
        self.by_hash().map_or_else(|| self.made.to_json(), |realisation| realisation.to_json())
    }

    fn from_json(json: &Value) -> Result<BuiltOutput, RealisationError> {
        if json.get("id").is_some() || json.get("key").is_some() {
            return Ok(BuiltOutput::of(&Realisation::from_json(json)?));
        }
        Ok(BuiltOutput { made: UnkeyedRealisation::from_json(json)?, id: None })
    }
}

/// The result of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildResult {
    /// How it ended.
    pub status: BuildStatus,
    /// Why it failed; may have several lines and terminal colours.
    pub error: String,
    /// How often it was built; 0 if it was not.
    pub times_built: u64,
    /// Whether two builds were different.
    pub is_non_deterministic: bool,
    /// When it began, in seconds since 1970; 0 if it did not.
    pub start_time: i64,
    /// When it ended, in seconds since 1970.
    pub stop_time: i64,
    /// Processor time in user mode, in microseconds.
    pub cpu_user_us: Option<i64>,
    /// Processor time in the kernel, in microseconds.
    pub cpu_system_us: Option<i64>,
    /// What was built.
    pub outputs: BTreeMap<OutputName, BuiltOutput>,
}

impl BuildResult {
    /// Makes a result with a status and a message, and nothing else.
    pub fn new(status: BuildStatus, error: impl Into<String>) -> BuildResult {
        BuildResult {
            status,
            error: error.into(),
            times_built: 0,
            is_non_deterministic: false,
            start_time: 0,
            stop_time: 0,
            cpu_user_us: None,
            cpu_system_us: None,
            outputs: BTreeMap::new(),
        }
    }
}

impl BuildResult {
    /// Returns the JSON object that the reference makes of it (`build-result.cc`, 2.34.8).
    pub fn to_json(&self) -> Value {
        let mut json = serde_json::json!({
            "success": self.status.is_success(),
            "status": format!("{:?}", self.status),
            "timesBuilt": self.times_built,
            "startTime": self.start_time,
            "stopTime": self.stop_time,
        });
        if self.status.is_success() {
            let outputs = self.outputs.iter().map(|(name, output)| (name.to_string(), output.to_json()));
            json["builtOutputs"] = Value::Object(outputs.collect());
        } else {
            json["errorMsg"] = self.error.as_str().into();
            json["isNonDeterministic"] = self.is_non_deterministic.into();
        }
        for (key, time) in [("cpuUser", self.cpu_user_us), ("cpuSystem", self.cpu_system_us)] {
            if let Some(time) = time {
                json[key] = time.into();
            }
        }
        json
    }

    /// Reads the JSON object.
    ///
    /// # Errors
    /// When a field is missing or makes no sense, or the status does not fit `success`.
    pub fn from_json(json: &Value) -> Result<BuildResult, BuildResultError> {
        let invalid = |key| BuildResultError::InvalidField { key };
        let number = |key| json.get(key).and_then(Value::as_i64).ok_or(invalid(key));
        let flag = |key| json.get(key).and_then(Value::as_bool).ok_or(invalid(key));
        let text = |key| json.get(key).and_then(Value::as_str).ok_or(invalid(key));
        let time = |key| if json.get(key).is_some_and(|time| !time.is_null()) { number(key).map(Some) } else { Ok(None) };
        let name = text("status")?;
        let status = BuildStatus::ALL.into_iter().find(|status| format!("{status:?}") == name);
        let status = status.filter(|status| flag("success") == Ok(status.is_success())).ok_or(invalid("status"))?;
        let mut result = BuildResult {
            times_built: u64::try_from(number("timesBuilt")?).map_err(|_| invalid("timesBuilt"))?,
            start_time: number("startTime")?,
            stop_time: number("stopTime")?,
            cpu_user_us: time("cpuUser")?,
            cpu_system_us: time("cpuSystem")?,
            ..BuildResult::new(status, "")
        };
        if !status.is_success() {
            result.error = text("errorMsg")?.to_owned();
            result.is_non_deterministic = flag("isNonDeterministic")?;
            return Ok(result);
        }
        for (name, output) in json.get("builtOutputs").and_then(Value::as_object).ok_or(invalid("builtOutputs"))? {
            result.outputs.insert(name.as_str().into(), BuiltOutput::from_json(output)?);
        }
        Ok(result)
    }
}

/// What is wrong with a build's result as JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BuildResultError {
    /// A field is missing or makes no sense.
    #[error("field '{key}' is missing or makes no sense")]
    InvalidField {
        /// Its name.
        key: &'static str,
    },
    /// An output is none.
    #[error(transparent)]
    Realisation(#[from] RealisationError),
}

impl Message for BuildResult {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let layout = Layout::new(dialect.protocol);
        let status = Message::read(source, dialect)?;
        let error = String::from_utf8_lossy(&source.read_bytes(DEFAULT_LIMIT)?).into_owned();
        let mut result = BuildResult::new(status, error);
        if layout.times {
            result.times_built = source.read_number()?;
            result.is_non_deterministic = source.read_flag()?;
            result.start_time = read_time(source)?;
            result.stop_time = read_time(source)?;
        }
        if layout.cpu {
            result.cpu_user_us = read_optional(source)?;
            result.cpu_system_us = read_optional(source)?;
        }
        if layout.outputs {
            result.outputs = read_outputs(source, dialect)?;
        }
        Ok(result)
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        let layout = Layout::new(dialect.protocol);
        self.status.write(sink, dialect)?;
        sink.write_bytes(self.error.as_bytes())?;
        if layout.times {
            sink.write_number(self.times_built)?;
            sink.write_flag(self.is_non_deterministic)?;
            sink.write_number(self.start_time.cast_unsigned())?;
            sink.write_number(self.stop_time.cast_unsigned())?;
        }
        if layout.cpu {
            write_optional(sink, self.cpu_user_us)?;
            write_optional(sink, self.cpu_system_us)?;
        }
        if layout.outputs {
            write_outputs(sink, dialect, &self.outputs)?;
        }
        Ok(())
    }
}

fn read_outputs(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<BTreeMap<OutputName, BuiltOutput>, WireError> {
    if dialect.protocol.has_realisations_by_path() {
        let outputs: BTreeMap<OutputName, UnkeyedRealisation> = Message::read(source, dialect)?;
        return Ok(outputs.into_iter().map(|(name, made)| (name, BuiltOutput { made, id: None })).collect());
    }
    let outputs: BTreeMap<DerivationOutputId, Realisation> = Message::read(source, dialect)?;
    let output = |(id, realisation): (DerivationOutputId, Realisation)| {
        let mut output = BuiltOutput::of(&realisation);
        output.id = output.id.filter(|id| *id != DerivationOutputId::dummy(&id.output));
        (id.output, output)
    };
    Ok(outputs.into_iter().map(output).collect())
}

fn write_outputs(
    sink: &mut dyn Write,
    dialect: &Dialect<'_>,
    outputs: &BTreeMap<OutputName, BuiltOutput>,
) -> Result<(), WireError> {
    // In the old form their order is that of the names of realisations, all of one derivation.
    sink.write_number(outputs.len() as u64)?;
    for (name, output) in outputs {
        if dialect.protocol.has_realisations_by_path() {
            name.write(sink, dialect)?;
            output.made.write(sink, dialect)?;
            continue;
        }
        if let Some(realisation) = output.by_hash() {
            realisation.id.write(sink, dialect)?;
            realisation.write(sink, dialect)?;
            continue;
        }
        let id = DerivationOutputId::dummy(name);
        id.write(sink, dialect)?;
        let json = serde_json::json!({ "id": id.to_string(), "outPath": output.made.path.base_name() });
        sink.write_bytes(crate::json::to_string(&json).as_bytes())?;
    }
    Ok(())
}

/// Which parts a version has.
struct Layout {
    times: bool,
    cpu: bool,
    outputs: bool,
}

impl Layout {
    fn new(protocol: Protocol) -> Layout {
        Layout {
            times: protocol.is_worker_since(29) || protocol.is_serve_since(3),
            cpu: protocol.is_worker_since(37),
            outputs: protocol.is_worker_since(28) || protocol.is_serve_since(6),
        }
    }
}

fn read_optional(source: &mut dyn Read) -> Result<Option<i64>, WireError> {
    match source.read_number()? {
        0 => Ok(None),
        1 => Ok(Some(source.read_number()?.cast_signed())),
        number => Err(WireError::OutOfRange { number }),
    }
}

fn write_optional(sink: &mut dyn Write, number: Option<i64>) -> Result<(), WireError> {
    match number {
        None => Ok(sink.write_number(0)?),
        Some(number) => {
            sink.write_number(1)?;
            Ok(sink.write_number(number.cast_unsigned())?)
        }
    }
}

/// The result of one build and what was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedBuildResult {
    /// What was asked for.
    pub path: DerivedPath,
    /// What became of it.
    pub result: BuildResult,
}

impl Message for KeyedBuildResult {
    fn read(source: &mut dyn Read, dialect: &Dialect<'_>) -> Result<Self, WireError> {
        let path = Message::read(source, dialect)?;
        Ok(KeyedBuildResult { path, result: Message::read(source, dialect)? })
    }

    fn write(&self, sink: &mut dyn Write, dialect: &Dialect<'_>) -> Result<(), WireError> {
        self.path.write(sink, dialect)?;
        self.result.write(sink, dialect)
    }
}
