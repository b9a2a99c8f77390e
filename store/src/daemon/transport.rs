//! The streams that a connection runs over, and who makes them.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::hang_up::HangUp;
use crate::error::{IoContext, Result};

/// A connection's streams. They are not buffered.
pub struct Transport {
    /// What the other side says.
    pub source: Box<dyn Read + Send>,
    /// What we say.
    pub sink: Box<dyn Write + Send>,
    /// Ends the connection so that a thread that reads from it wakes up.
    pub hang_up: HangUp,
    /// Kept as long as the connection: a child that the streams lead to.
    pub guard: Option<Box<dyn Send>>,
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// Makes connections to one daemon.
pub trait Connector: Send + Sync {
    /// Makes a connection.
    ///
    /// # Errors
    /// When the daemon can't be reached.
    fn connect(&self) -> Result<Transport>;

    /// Returns the address that names the daemon to users.
    fn address(&self) -> String;
}

/// Connects to a socket of the local machine.
#[derive(Debug, Clone)]
pub struct UnixConnector {
    /// The socket.
    pub socket: PathBuf,
    /// The address that names it to users.
    pub address: String,
}

impl Connector for UnixConnector {
    fn connect(&self) -> Result<Transport> {
        connect_unix(&self.socket)
    }

    fn address(&self) -> String {
        self.address.clone()
    }
}

fn connect_unix(socket: &Path) -> Result<Transport> {
    // An address has room for 108 bytes; a longer path is reached through its directory's descriptor.
    let stream = if socket.as_os_str().len() < 100 {
        UnixStream::connect(socket)
    } else {
        let parent = socket.parent().unwrap_or(Path::new("."));
        std::fs::File::open(parent).and_then(|directory| {
            use std::os::fd::AsRawFd;
            let name = socket.file_name().unwrap_or_default();
            UnixStream::connect(Path::new(&format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
        })
    };
    unix_transport(stream.at("cannot connect to socket at", socket)?).at("connecting to", socket)
}

/// Returns the streams of a socket.
///
/// # Errors
/// When the process has no descriptors left.
pub fn unix_transport(stream: UnixStream) -> std::io::Result<Transport> {
    let source = stream.try_clone()?;
    let sink = stream.try_clone()?;
    Ok(Transport {
        source: Box::new(source),
        sink: Box::new(sink),
        hang_up: Arc::new(move || drop(stream.shutdown(Shutdown::Both))),
        guard: None,
    })
}
