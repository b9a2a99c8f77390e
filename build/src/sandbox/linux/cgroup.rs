//! A control group per build (version 2): counts what it uses, limits it, and ends all of it at once.
//!
//! The surprising part: where the machine has both versions mounted the one wanted is found by its file system, not by its
//! place.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

/// What a build may use; no limit without a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceLimits {
    /// Bytes of memory, swap not counted.
    pub memory_bytes: Option<u64>,
    /// Processor time, in percent of one processor.
    pub cpu_percent: Option<u32>,
    /// Processes and threads.
    pub n_processes: Option<u64>,
}

/// A control group for one build; removed when dropped.
#[derive(Debug)]
pub(crate) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes a group called `name` below the calling process's own.
    pub(crate) fn make(name: &str, limits: &ResourceLimits) -> io::Result<Cgroup> {
        let missing = |what: &str| io::Error::new(io::ErrorKind::Unsupported, what.to_owned());
        let root = mount_point(&fs::read_to_string("/proc/self/mounts")?).ok_or_else(|| missing("no cgroup2 file system is mounted"))?;
        let own = own_group(&fs::read_to_string("/proc/self/cgroup")?).ok_or_else(|| missing("this process has no cgroup of version 2"))?;
        let parent = root.join(own.trim_start_matches('/'));
        let path = parent.join(name);
        let group = Cgroup { path };
        if group.path.exists() {
            // What a killed build left there.
            group.kill();
            let _ = fs::remove_dir(&group.path);
        }
        fs::create_dir(&group.path)?;
        let mut files = Vec::new();
        files.extend(limits.memory_bytes.map(|bytes| ("memory.max", bytes.to_string())));
        files.extend(limits.cpu_percent.map(|percent| ("cpu.max", format!("{} 100000", u64::from(percent) * 1000))));
        files.extend(limits.n_processes.map(|number| ("pids.max", number.to_string())));
        for (file, value) in files {
            fs::write(group.path.join(file), value).map_err(|error| io::Error::new(error.kind(), format!("setting {file}: {error}")))?;
        }
        Ok(group)
    }

    /// Puts a process into the group.
    pub(crate) fn add(&self, pid: i32) -> io::Result<()> {
        fs::write(self.path.join("cgroup.procs"), pid.to_string())
    }

    /// Ends everything in the group.
    pub(crate) fn kill(&self) {
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }

    /// Returns processor time used so far in microseconds: user, system.
    pub(crate) fn cpu_us(&self) -> Option<(u64, u64)> {
        parse_cpu(&fs::read_to_string(self.path.join("cpu.stat")).ok()?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
        let events = fs::File::open(self.path.join("cgroup.events"));
        for _ in 0..100 {
            match fs::remove_dir(&self.path) {
                // Processes take a moment to go; the file changes when the last one has.
                Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                    let limit = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
                    let mut changes: Vec<PollFd<'_>> = events.iter().map(|events| PollFd::new(events, PollFlags::PRI)).collect();
                    let _ = poll(&mut changes, Some(&limit));
                }
                _ => return,
            }
        }
    }
}

fn mount_point(mounts: &str) -> Option<PathBuf> {
    let entry = |line: &str| {
        let mut fields = line.split(' ');
        let (_, place, kind) = (fields.next()?, fields.next()?, fields.next()?);
        (kind == "cgroup2").then(|| Path::new(place).to_owned())
    };
    mounts.lines().find_map(entry)
}

fn own_group(text: &str) -> Option<String> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

fn parse_cpu(text: &str) -> Option<(u64, u64)> {
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    Some((value("user_usec ")?, value("system_usec ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_texts_are_read() {
        let mounts = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mount_point(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mount_point("tmpfs /sys/fs/cgroup tmpfs rw 0 0\n"), None);
        assert_eq!(own_group("5:cpu:/x\n0::/user.slice/a\n"), Some("/user.slice/a".to_owned()));
        assert_eq!(parse_cpu("usage_usec 5\nuser_usec 3\nsystem_usec 2\n"), Some((3, 2)));
        assert_eq!(parse_cpu("usage_usec 5\n"), None);
    }
}
