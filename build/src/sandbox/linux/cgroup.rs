//! A control group per build (version 2): counts what it uses, limits it, and ends all of it at once.
//!
//! The surprising part: where the machine has both versions mounted the one wanted is found by its file system, not by its
//! place.

use std::fs;
use std::io::{self, Read, Seek};
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

impl ResourceLimits {
    /// Sets them for a group; its parent hands down what controllers that takes.
    fn write_to(&self, parent: &Path, group: &Path) -> io::Result<()> {
        let mut files = Vec::new();
        files.extend(self.memory_bytes.map(|bytes| ("memory", "memory.max", bytes.to_string())));
        files.extend(self.cpu_percent.map(|percent| ("cpu", "cpu.max", format!("{} 100000", u64::from(percent) * 1000))));
        files.extend(self.n_processes.map(|number| ("pids", "pids.max", number.to_string())));
        for (controller, file, value) in files {
            let place = group.join(file);
            let written = if place.exists() {
                fs::write(&place, value)
            } else {
                // Refused where the parent has processes of its own, or not the controller itself.
                let handed_down = write_to(&parent.join("cgroup.subtree_control"), &format!("+{controller}"));
                handed_down.and_then(|()| write_to(&place, &value))
            };
            written.map_err(|error| io::Error::new(error.kind(), format!("setting {file}: {error}")))?;
        }
        Ok(())
    }
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
        Cgroup::make_below(&root.join(own.trim_start_matches('/')), name, limits)
    }

    /// Makes a group below another one.
    fn make_below(parent: &Path, name: &str, limits: &ResourceLimits) -> io::Result<Cgroup> {
        let group = Cgroup { path: parent.join(name) };
        if group.path.exists() {
            // What a killed build left there.
            group.kill();
            let _ = fs::remove_dir(&group.path);
        }
        fs::create_dir(&group.path)?;
        limits.write_to(parent, &group.path)?;
        Ok(group)
    }

    /// Puts a process into the group.
    pub(crate) fn add(&self, pid: i32) -> io::Result<()> {
        write_to(&self.path.join("cgroup.procs"), &pid.to_string())
    }

    /// Ends everything in the group.
    pub(crate) fn kill(&self) {
        let _ = write_to(&self.path.join("cgroup.kill"), "1");
    }

    /// Returns processor time used so far in microseconds: user, system.
    pub(crate) fn cpu_us(&self) -> Option<(u64, u64)> {
        parse_cpu(&fs::read_to_string(self.path.join("cpu.stat")).ok()?)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.kill();
        let mut events = fs::File::open(self.path.join("cgroup.events"));
        for _ in 0..100 {
            // Without reading it stays ready.
            let _ = events.as_mut().map(|events| events.rewind().and_then(|()| events.read_to_end(&mut Vec::new())));
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

/// Writes to a file that must be there: the kernel makes those of a group, nobody else can.
fn write_to(path: &Path, value: &str) -> io::Result<()> {
    use std::io::Write;
    fs::File::options().write(true).open(path)?.write_all(value.as_bytes())
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

    /// A directory that looks like a group, with these files in each group below it.
    fn fake(files: &[&str]) -> tempfile::TempDir {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("cgroup.subtree_control"), "").unwrap();
        fs::create_dir(parent.path().join("build")).unwrap();
        for file in files {
            fs::write(parent.path().join("build").join(file), "").unwrap();
        }
        parent
    }

    #[test]
    fn limits_are_written_where_the_kernel_looks_for_them() {
        let limits = ResourceLimits { memory_bytes: Some(1 << 30), cpu_percent: Some(150), n_processes: Some(99) };
        let parent = fake(&[]);
        fs::remove_dir(parent.path().join("build")).unwrap();
        // The kernel would make the files; here nobody does.
        let error = Cgroup::make_below(parent.path(), "build", &limits).unwrap_err();
        assert!(error.to_string().starts_with("setting memory.max: "), "{error}");
        assert_eq!(fs::read_to_string(parent.path().join("cgroup.subtree_control")).unwrap(), "+memory");
        assert!(!parent.path().join("build").exists(), "a group that is of no use does not stay");

        let files = ["memory.max", "cpu.max", "pids.max"];
        let parent = fake(&[files.as_slice(), &["cgroup.procs", "cgroup.kill"]].concat());
        let group = Cgroup { path: parent.path().join("build") };
        limits.write_to(parent.path(), &group.path).unwrap();
        let read = |file: &str| fs::read_to_string(group.path.join(file)).unwrap();
        assert_eq!(files.map(read), ["1073741824", "150000 100000", "99"]);
        assert_eq!(fs::read_to_string(parent.path().join("cgroup.subtree_control")).unwrap(), "", "nothing had to be handed down");
        group.add(17).unwrap();
        group.kill();
        assert_eq!(["cgroup.procs", "cgroup.kill"].map(read), ["17", "1"]);
    }

    #[test]
    fn a_group_ends_all_that_is_in_it() {
        let group = match Cgroup::make(&format!("nixlang-test-{}", std::process::id()), &ResourceLimits::default()) {
            Ok(group) => group,
            Err(error) => {
                println!("skipped: {error}");
                return;
            }
        };
        let mut children: Vec<_> = (0..3).map(|_| std::process::Command::new("sleep").arg("1000").spawn().unwrap()).collect();
        for child in &children {
            group.add(child.id().cast_signed()).unwrap();
        }
        assert!(group.cpu_us().is_some());
        let path = group.path.clone();
        drop(group);
        for child in &mut children {
            assert!(!child.wait().unwrap().success(), "it was killed");
        }
        assert!(!path.exists());
    }

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
