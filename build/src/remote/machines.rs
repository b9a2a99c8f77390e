//! Descriptions of other machines, as the setting `builders` and machines files have them.
//!
//! One per line or between semicolons: store, systems, key, jobs, speed, features, mandatory features, host key; `-` stands
//! for a default and `@file` for the lines of a file. The surprising part: a name without a scheme is a host for `ssh://`.
//!
//! Source of the format: `machines.cc` of the reference (2.34.8).

use std::collections::BTreeSet;

use nixlang_store::open::StoreReference;

/// A machine that builds.
#[derive(Clone, Debug, PartialEq)]
pub struct Machine {
    /// The address of its store.
    pub store: String,
    /// Kinds of derivations that it builds.
    pub systems: BTreeSet<String>,
    /// The key to log in with; empty for the usual ones.
    pub ssh_key: String,
    /// Builds at the same time.
    pub max_jobs: usize,
    /// How fast it is, compared to others.
    pub speed: f64,
    /// What derivations may require of it.
    pub features: BTreeSet<String>,
    /// What derivations must require to be built there.
    pub mandatory_features: BTreeSet<String>,
    /// Its public key, in base 64 once more; empty if it is known otherwise.
    pub public_host_key: String,
}

impl Machine {
    /// Returns the address of its store as messages have it: in its standard form, parameters in order.
    pub fn address(&self) -> String {
        StoreReference::parse(&self.store).map_or_else(|_| self.store.clone(), |reference| reference.to_string())
    }
}

/// What is wrong with a description.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad machine specification: {reason} in a row: '{line}'")]
pub struct MachineError {
    /// What.
    pub reason: String,
    /// The description.
    pub line: String,
}

/// Files may name files, so deep.
const MAX_DEPTH: usize = 16;

/// Reads descriptions. `read_file` gives the text of a file, or none if it is not there, which is no error.
///
/// # Errors
///
/// A description makes no sense.
pub fn parse_machines(
    text: &str,
    default_system: &str,
    read_file: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Machine>, MachineError> {
    let mut lines = Vec::new();
    expand(text, read_file, 0, &mut lines)?;
    lines.iter().map(|line| parse_machine(line, default_system)).collect()
}

fn expand(
    text: &str,
    read_file: &dyn Fn(&str) -> Option<String>,
    depth: usize,
    lines: &mut Vec<String>,
) -> Result<(), MachineError> {
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        for entry in line.split(';').map(str::trim).filter(|entry| !entry.is_empty()) {
            match entry.strip_prefix('@') {
                None => lines.push(entry.to_owned()),
                Some(_) if depth >= MAX_DEPTH => {
                    return Err(MachineError { reason: "files name each other".into(), line: entry.to_owned() });
                }
                Some(path) => {
                    if let Some(text) = read_file(path.trim()) {
                        expand(&text, read_file, depth + 1, lines)?;
                    }
                }
            }
        }
    }
    Ok(())
}

fn parse_machine(line: &str, default_system: &str) -> Result<Machine, MachineError> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let column = |index: usize| columns.get(index).copied().filter(|text| *text != "-");
    let error = |reason: String| MachineError { reason, line: line.to_owned() };
    let list = |index: usize| -> BTreeSet<String> {
        let words = column(index).unwrap_or_default().split(',');
        words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let store = column(0).ok_or_else(|| error("store URL was not found at the first column".into()))?;
    let max_jobs = match column(3) {
        None => 1,
        Some(text) => {
            text.parse().map_err(|_| error(format!("failed to convert column #3 ('{text}') to 'unsigned int'")))?
        }
    };
    let speed: f64 = match column(4) {
        None => 1.0,
        Some(text) => text.parse().map_err(|_| error(format!("failed to convert column #4 ('{text}') to 'float'")))?,
    };
    if speed < 0.0 || speed.is_nan() {
        return Err(error("speed factor must be >= 0".into()));
    }
    let mut systems = list(1);
    if systems.is_empty() {
        systems.insert(default_system.to_owned());
    }
    Ok(Machine {
        store: complete_address(store),
        systems,
        ssh_key: column(2).unwrap_or_default().to_owned(),
        max_jobs,
        speed: if speed == 0.0 { 1.0 } else { speed },
        features: list(5),
        mandatory_features: list(6),
        public_host_key: column(7).unwrap_or_default().to_owned(),
    })
}

fn complete_address(store: &str) -> String {
    let is_word = ["auto", "daemon", "local"].iter().any(|word| {
        store == *word || store.strip_prefix(word).is_some_and(|rest| rest.starts_with('?'))
    });
    if store.contains('/') || is_word || store.starts_with('?') { store.to_owned() } else { format!("ssh://{store}") }
}

impl Machine {
    /// Tells whether the machine builds derivations of this kind with these features.
    pub fn fits(&self, system: &str, required: &BTreeSet<String>) -> bool {
        (system == "builtin" || self.systems.contains(system))
            && required.iter().all(|name| self.features.contains(name) || self.mandatory_features.contains(name))
            && self.mandatory_features.is_subset(required)
    }

    /// Returns the address with the key, host key and features in it.
    pub fn full_address(&self) -> String {
        let mut address = self.store.clone();
        let mut add = |name: &str, value: &str| {
            if !value.is_empty() {
                address.push(if address.contains('?') { '&' } else { '?' });
                address.push_str(&format!("{name}={}", percent_encoded(value)));
            }
        };
        if self.store.starts_with("ssh://") || self.store.starts_with("ssh-ng://") {
            add("ssh-key", &self.ssh_key);
            add("base64-ssh-public-host-key", &self.public_host_key);
        }
        let features: Vec<&str> =
            self.features.iter().chain(&self.mandatory_features).map(String::as_str).collect();
        add("system-features", &features.join(" "));
        address
    }
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            encoded.push(byte.into());
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Machine>, MachineError> {
        let read = |path: &str| match path {
            "/machines" => Some("a - - 2\n# nobody\n@/more\n@/missing".to_owned()),
            "/more" => Some("b".to_owned()),
            "/loop" => Some("@/loop".to_owned()),
            _ => None,
        };
        parse_machines(text, "x86_64-linux", &read)
    }

    /// The reference's data, where `NIX_UPSTREAM_SRC` names a checkout.
    #[test]
    fn vectors_of_the_reference() {
        let Some(source) = std::env::var_os("NIX_UPSTREAM_SRC") else {
            eprintln!("skipped: NIX_UPSTREAM_SRC does not name a checkout of the reference");
            return;
        };
        let folder = std::path::Path::new(&source).join("src/libstore-tests/data/machines");
        let read = |path: &str| Some(std::fs::read_to_string(folder.join(path)).unwrap());
        let machines = parse_machines("@valid", "x86_64-linux", &read).unwrap();
        let found: Vec<(&str, usize, f64, usize)> = machines
            .iter()
            .map(|machine| (machine.store.as_str(), machine.max_jobs, machine.speed, machine.features.len()))
            .collect();
        let expected = [
            ("ssh://nix@scratchy.labs.cs.uu.nl", 8, 1.0, 1),
            ("ssh://nix@itchy.labs.cs.uu.nl", 8, 2.0, 0),
            ("ssh://nix@poochie.labs.cs.uu.nl", 1, 2.0, 1),
        ];
        assert_eq!(found, expected);
        assert_eq!(machines[2].mandatory_features, ["benchmark".to_owned()].into());
        assert!(machines[2].public_host_key.starts_with("c3No") && machines[0].public_host_key.is_empty());
        let error = parse_machines("@bad_format", "x86_64-linux", &read).unwrap_err();
        assert!(error.reason.contains("column #3 ('eight')"), "{error}");
    }

    #[test]
    fn columns_and_their_defaults() {
        let machines = parse("nix@host i686-linux,riscv64-linux /key 8 2.5 kvm,big must a2V5; daemon # the rest").unwrap();
        let [machine, daemon] = machines.as_slice() else { panic!("two machines") };
        assert_eq!(machine.store, "ssh://nix@host");
        assert_eq!(machine.systems.len(), 2);
        assert_eq!((machine.max_jobs, machine.speed), (8, 2.5));
        assert_eq!(machine.full_address(), "ssh://nix@host?ssh-key=/key&base64-ssh-public-host-key=a2V5&system-features=big%20kvm%20must");
        assert_eq!((daemon.store.as_str(), daemon.max_jobs, daemon.speed), ("daemon", 1, 1.0));
        assert!(daemon.systems.contains("x86_64-linux"));
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<String>>();
        assert!(machine.fits("i686-linux", &set(&["must", "kvm"])));
        assert!(!machine.fits("i686-linux", &set(&["kvm"])), "a mandatory feature is not required");
        assert!(!machine.fits("i686-linux", &set(&["must", "other"])));
        assert!(!machine.fits("x86_64-linux", &set(&["must"])));
        assert!(daemon.fits("builtin", &set(&[])));
    }

    #[test]
    fn addresses_and_files() {
        let stores = |text: &str| parse(text).unwrap().into_iter().map(|machine| machine.store).collect::<Vec<_>>();
        assert_eq!(stores("@/machines; /x/y ; ssh-ng://c?a=b ; auto?x=y"), ["ssh://a", "ssh://b", "/x/y", "ssh-ng://c?a=b", "auto?x=y"]);
        assert_eq!(stores("# nobody\n\n ;"), [""; 0]);
    }

    #[test]
    fn nonsense() {
        for text in ["host - - eight", "host - - 1 fast", "host - - 1 -1", "- x", "@/loop"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
