//! A build's log: bytes from the terminal become lines, a compressed file, and the tail that an error shows.
//!
//! Lines are made as the reference makes them: a carriage return goes back to the start of the line, so progress bars
//! show their last state. Lines `@nix {…}` are messages to the host, not text; from a builder only few are believed.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bzip2::Compression;
use bzip2::write::BzEncoder;
use nixlang_store::path::StorePath;

/// A line longer than this is cut; a builder shall not exhaust the host's memory.
const MAX_LINE: usize = 1 << 20;

/// Where the log of `derivation` is kept under the log directory, without the `.bz2` of a compressed one.
pub fn log_path(log_dir: &Path, derivation: &StorePath) -> PathBuf {
    let base_name = derivation.base_name();
    let (start, rest) = base_name.split_at(2);
    log_dir.join("drvs").join(start).join(rest)
}

/// What a log says.
pub(crate) enum LogItem<'l> {
    /// A line of text.
    Line(&'l [u8]),
    /// A new phase.
    Phase(&'l str),
    /// A message that makes no sense.
    Warning(&'l str),
}

/// Collects one build's output.
pub(crate) struct BuildLog {
    line: Vec<u8>,
    position: usize,
    tail: VecDeque<Vec<u8>>,
    n_tail: usize,
    file: Option<LogFile>,
}

enum LogFile {
    Plain(File),
    /// Compressed, with nothing in it yet: an encoder takes megabytes, and many builds say nothing.
    Empty(File),
    Compressed(Box<BzEncoder<File>>),
}

/// What compressing nothing gives.
const EMPTY_BZIP2: &[u8] = b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0";

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            LogFile::Plain(file) => file.write(bytes),
            LogFile::Empty(file) => {
                let mut encoder = Box::new(BzEncoder::new(file.try_clone()?, Compression::best()));
                let n_bytes = encoder.write(bytes);
                *self = LogFile::Compressed(encoder);
                n_bytes
            }
            LogFile::Compressed(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            LogFile::Plain(file) | LogFile::Empty(file) => file.flush(),
            LogFile::Compressed(encoder) => encoder.flush(),
        }
    }
}

impl BuildLog {
    /// Returns a log that remembers its last `n_tail` lines.
    pub(crate) fn new(n_tail: usize) -> BuildLog {
        BuildLog { line: Vec::new(), position: 0, tail: VecDeque::new(), n_tail, file: None }
    }

    /// Also keeps the log in a file. A log that can't be kept is no reason to fail a build; the error is for a warning.
    pub(crate) fn keep(&mut self, log_dir: &Path, derivation: &StorePath, compress: bool) -> io::Result<()> {
        let mut path = log_path(log_dir, derivation);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        if compress {
            path.as_mut_os_string().push(".bz2");
        }
        let file = File::create(path)?;
        self.file = Some(if compress {
            LogFile::Empty(file)
        } else {
            LogFile::Plain(file)
        });
        Ok(())
    }

    /// Takes what a builder wrote.
    pub(crate) fn write(&mut self, bytes: &[u8], sink: &mut dyn FnMut(LogItem<'_>)) {
        if let Some(file) = &mut self.file
            && file.write_all(bytes).is_err()
        {
            self.file = None;
        }
        for &byte in bytes {
            match byte {
                b'\r' => self.position = 0,
                b'\n' => self.end_line(sink),
                _ if self.position >= MAX_LINE => {}
                _ => {
                    match self.line.get_mut(self.position) {
                        Some(place) => *place = byte,
                        None => self.line.push(byte),
                    }
                    self.position += 1;
                }
            }
        }
    }

    fn end_line(&mut self, sink: &mut dyn FnMut(LogItem<'_>)) {
        self.line.truncate(self.position);
        self.position = 0;
        match message(&self.line) {
            Some(Message::Phase(phase)) => sink(LogItem::Phase(&phase)),
            Some(Message::Text(text)) => {
                for line in text.split('\n') {
                    sink(LogItem::Line(line.as_bytes()));
                    self.remember(line.as_bytes().to_vec());
                }
            }
            Some(Message::Other) => {}
            Some(Message::Bad(reason)) => {
                sink(LogItem::Warning(&format!("Unable to handle a JSON message from the derivation builder: {reason}")));
                sink(LogItem::Line(&self.line));
                let line = self.line.clone();
                self.remember(line);
            }
            None => {
                sink(LogItem::Line(&self.line));
                let line = self.line.clone();
                self.remember(line);
            }
        }
        self.line.clear();
    }

    fn remember(&mut self, line: Vec<u8>) {
        if self.n_tail == 0 {
            return;
        }
        if self.tail.len() == self.n_tail {
            self.tail.pop_front();
        }
        self.tail.push_back(line);
    }

    /// Ends the log. Returns its last lines, oldest first.
    pub(crate) fn finish(mut self, sink: &mut dyn FnMut(LogItem<'_>)) -> Vec<Vec<u8>> {
        if !self.line.is_empty() {
            self.end_line(sink);
        }
        match self.file.take() {
            Some(LogFile::Compressed(encoder)) => drop(encoder.finish()),
            Some(LogFile::Empty(mut file)) => drop(file.write_all(EMPTY_BZIP2)),
            Some(LogFile::Plain(_)) | None => {}
        }
        self.tail.into()
    }
}

enum Message {
    Phase(String),
    Text(String),
    Other,
    /// JSON, but no message.
    Bad(&'static str),
}

/// Reads an `@nix` line. What doesn't parse is text.
fn message(line: &[u8]) -> Option<Message> {
    let json = line.strip_prefix(b"@nix ")?;
    let value: serde_json::Value = shallow_json(json)?;
    let text = |name: &str| value.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    Some(match (text("action").as_deref(), &value) {
        (_, value) if !value.is_object() => Message::Bad("it is no object"),
        (None, _) => Message::Bad("type of 'action' must be string"),
        (Some("setPhase"), _) => text("phase").map_or(Message::Bad("type of 'phase' must be string"), Message::Phase),
        (Some("msg"), _) => text("msg").map_or(Message::Bad("type of 'msg' must be string"), Message::Text),
        _ => Message::Other,
    })
}

/// Parses JSON that is not nested deeply; the workspace's JSON library has no limit of its own.
fn shallow_json(json: &[u8]) -> Option<serde_json::Value> {
    let n_open = json.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if n_open > 64 { None } else { serde_json::from_slice(json).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(input: &[u8], n_tail: usize) -> (Vec<String>, Vec<String>) {
        let mut seen = Vec::new();
        let mut sink = |item: LogItem<'_>| {
            seen.push(match item {
                LogItem::Line(line) => String::from_utf8_lossy(line).into_owned(),
                LogItem::Phase(phase) => format!("phase {phase}"),
                LogItem::Warning(warning) => format!("warning {}", &warning[70..]),
            });
        };
        let mut log = BuildLog::new(n_tail);
        // One byte at a time: chunks must not matter.
        for byte in input {
            log.write(std::slice::from_ref(byte), &mut sink);
        }
        let tail = log.finish(&mut sink);
        (seen, tail.into_iter().map(|line| String::from_utf8_lossy(&line).into_owned()).collect())
    }

    #[test]
    fn carriage_returns_overwrite_and_the_tail_is_bounded() {
        let (seen, tail) = lines(b"10%\r100%\na\n\nlong\rx\nend", 2);
        assert_eq!(seen, ["100%", "a", "", "x", "end"]);
        assert_eq!(tail, ["x", "end"]);
    }

    #[test]
    fn messages_are_not_text_unless_broken() {
        let (seen, tail) = lines(
            b"@nix {\"action\":\"setPhase\",\"phase\":\"buildPhase\"}\n@nix {\"action\":\"start\",\"id\":1}\n@nix {broken\n",
            25,
        );
        assert_eq!(seen, ["phase buildPhase", "@nix {broken"]);
        assert_eq!(tail, ["@nix {broken"]);
    }

    #[test]
    fn kept_logs_read_back() {
        let scratch = tempfile::tempdir().unwrap();
        let derivation = StorePath::new([7; 20], "x.drv").unwrap();
        let mut log = BuildLog::new(1);
        log.keep(scratch.path(), &derivation, true).unwrap();
        log.write(b"hello\r\n", &mut |_| {});
        log.finish(&mut |_| {});
        let mut path = log_path(scratch.path(), &derivation);
        path.as_mut_os_string().push(".bz2");
        let mut text = String::new();
        io::Read::read_to_string(&mut bzip2::read::BzDecoder::new(File::open(path).unwrap()), &mut text).unwrap();
        assert_eq!(text, "hello\r\n");

        let encoder = BzEncoder::new(Vec::new(), Compression::best());
        assert_eq!(encoder.finish().unwrap(), EMPTY_BZIP2);
    }
}
