//! What a host decides about builds. The defaults are the reference's settings.

mod configured;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

use nixlang_store::path::StorePath;
use nixlang_store::signature::SecretKey;
use nixlang_store::substituter::Substituters;

pub use self::configured::OptionsError;
use crate::error::BuildError;
use crate::executor::Limits;
use crate::prepare::external::ExternalBuilder;
use crate::remote::RemoteBuilders;
use crate::sandbox::linux::cgroup::ResourceLimits;
use crate::sandbox::{Helper, Mount, SandboxMode, ShellChoice};

/// What to do with derivations whose outputs are valid already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuildMode {
    /// Nothing.
    #[default]
    Normal,
    /// Build again and compare (`--check`, `--rebuild`). Concerns only what was asked for, not its inputs.
    Check,
    /// Build again what is damaged (`--repair`), inputs and everything that outputs refer to as well.
    Repair,
}

/// Settings of a [`Builder`](crate::Builder).
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The process that builds run under; see [`helper_main`](crate::helper_main).
    pub helper: Helper,
    /// Builders at work at the same time (`max-jobs`). With 0 nothing is built here.
    pub max_jobs: usize,
    /// Processors per build (`cores`), as a hint in `NIX_BUILD_CORES`; 0 is all.
    pub cores: usize,
    /// Whether a failure stops only what depends on it (`keep-going`).
    pub keep_going: bool,
    /// Whether the build directory of a failed build stays (`keep-failed`).
    pub keep_failed: bool,
    /// What to do with what is built already.
    pub mode: BuildMode,
    /// Isolation (`sandbox`).
    pub sandbox: SandboxMode,
    /// `/bin/sh` (`sandbox-shell`).
    pub shell: ShellChoice,
    /// More paths of the machine in the sandbox (`sandbox-paths`).
    pub sandbox_paths: Vec<Mount>,
    /// Paths that a derivation's `__impureHostDeps` may name (`allowed-impure-host-deps`).
    pub allowed_impure_paths: Vec<PathBuf>,
    /// The build directory in the sandbox (`sandbox-build-dir`).
    pub sandbox_build_dir: PathBuf,
    /// Size limit of `/dev/shm` (`sandbox-dev-shm-size`).
    pub dev_shm_size: String,
    /// Whether builders are kept from setting set-id bits and extended attributes (`filter-syscalls`).
    pub filter_syscalls: bool,
    /// Whether builders may gain privileges by executing a file (`allow-new-privileges`).
    pub allow_new_privileges: bool,
    /// Whether a build in a sandbox fails if it would keep the supplementary groups of this process (`require-drop-supplementary-groups`); only for
    /// root by default, since others may not drop theirs.
    pub require_drop_groups: bool,
    /// Hosts that fixed-output and impure derivations may reach, by HTTP and HTTPS only; see
    /// [`SandboxSpec::hosts`](crate::sandbox::SandboxSpec::hosts). Without it they have the machine's network.
    pub fixed_output_hosts: Option<Vec<String>>,
    /// Where build directories are made (`build-dir`); `builds` in the store's state directory if absent.
    pub build_dir: Option<PathBuf>,
    /// When builds are ended by force (`timeout`, `max-silent-time`, `max-build-log-size`).
    pub limits: Limits,
    /// As `limits`, for single derivations: what has no value here has that of `limits`. Derivations do not say such
    /// things themselves; a host knows them from `meta.timeout` and `meta.maxSilent`, for instance.
    pub derivation_limits: BTreeMap<StorePath, Limits>,
    /// Lines of a failed build's log that its result has (`log-lines`).
    pub log_lines: usize,
    /// Whether logs are kept in the store's log directory (`keep-build-log`).
    pub keep_log: bool,
    /// Whether kept logs are compressed (`compress-build-log`).
    pub compress_log: bool,
    /// The kind of this machine (`system`).
    pub system: String,
    /// Other kinds whose programs run here (`extra-platforms`).
    pub extra_platforms: BTreeSet<String>,
    /// What derivations may require (`system-features`).
    pub system_features: BTreeSet<String>,
    /// Values for `impureEnvVars` (`impure-env`), before those of the environment.
    pub impure_env: BTreeMap<String, String>,
    /// The environment for `impureEnvVars` and proxies; this process's if absent.
    pub environment: Option<BTreeMap<OsString, OsString>>,
    /// Where files are looked for by hash before their own address is tried (`hashed-mirrors`).
    pub hashed_mirrors: Vec<String>,
    /// Group whose members builds run as, if this process is root (`build-users-group`).
    pub build_users_group: Option<String>,
    /// Take the users of builds from a range of numbers instead, if this process is root (`auto-allocate-uids`).
    pub auto_allocate_uids: bool,
    /// First of these numbers (`start-id`).
    pub start_id: u32,
    /// How many there are (`id-count`).
    pub id_count: u32,
    /// Whether each build has a control group (`use-cgroups`).
    pub use_cgroups: bool,
    /// What a build may use of the machine; needs control groups.
    pub resource_limits: ResourceLimits,
    /// Other machines that builds are sent to (`builders`).
    pub remote: Option<Arc<RemoteBuilders>>,
    /// Programs that build what this machine can't (`external-builders`).
    pub external_builders: Vec<ExternalBuilder>,
    /// Experimental features that are switched on (`experimental-features`).
    pub experimental_features: BTreeSet<String>,
    /// Keys that what is built is signed with (`secret-key-files`).
    pub secret_keys: Vec<SecretKey>,
    /// Run after each build (`post-build-hook`).
    pub post_build_hook: Option<PathBuf>,
    /// All settings as lines `name = value`, for the environment of that hook.
    pub config_text: String,
    /// Run on outputs that differ from those built before (`diff-hook`, if `run-diff-hook`).
    pub diff_hook: Option<PathBuf>,
    /// Asked which more paths a sandbox shows (`pre-build-hook`).
    pub pre_build_hook: Option<PathBuf>,
    /// Who is asked for outputs before they are built (`substituters`); nobody without it.
    pub substituters: Option<Arc<Substituters>>,
    /// Whether what could not be fetched is built (`fallback`).
    pub fallback: bool,
    /// Whether derivations that ask not to be substituted are all the same (`always-allow-substitutes`).
    pub always_allow_substitutes: bool,
    /// Certificates that downloads trust (`ssl-cert-file`); built-in ones if absent.
    pub ca_file: Option<PathBuf>,
}

impl BuildOptions {
    /// Returns the defaults, with builds under `helper`.
    pub fn new(helper: Helper) -> BuildOptions {
        let system = format!("{}-linux", if std::env::consts::ARCH == "x86" { "i686" } else { std::env::consts::ARCH });
        let mut extra_platforms = BTreeSet::new();
        if system == "x86_64-linux" {
            extra_platforms.insert("i686-linux".to_owned());
            extra_platforms.extend(x86_64_levels().map(|level| format!("x86_64-v{level}-linux")));
        }
        let mut features: BTreeSet<String> =
            ["nixos-test", "benchmark", "big-parallel"].map(str::to_owned).into_iter().collect();
        if rustix::fs::access("/dev/kvm", rustix::fs::Access::READ_OK | rustix::fs::Access::WRITE_OK).is_ok() {
            features.insert("kvm".to_owned());
        }
        BuildOptions {
            helper,
            max_jobs: 1,
            cores: 0,
            keep_going: false,
            keep_failed: false,
            mode: BuildMode::Normal,
            sandbox: SandboxMode::default(),
            shell: ShellChoice::default(),
            sandbox_paths: Vec::new(),
            allowed_impure_paths: Vec::new(),
            sandbox_build_dir: "/build".into(),
            dev_shm_size: "50%".to_owned(),
            filter_syscalls: true,
            allow_new_privileges: false,
            require_drop_groups: rustix::process::geteuid().is_root(),
            fixed_output_hosts: None,
            build_dir: None,
            limits: Limits::default(),
            derivation_limits: BTreeMap::new(),
            log_lines: 25,
            keep_log: true,
            compress_log: true,
            system,
            extra_platforms,
            system_features: features,
            impure_env: BTreeMap::new(),
            environment: None,
            hashed_mirrors: Vec::new(),
            build_users_group: None,
            auto_allocate_uids: false,
            start_id: 872_415_232,
            id_count: 8_388_608,
            use_cgroups: false,
            resource_limits: ResourceLimits::default(),
            remote: None,
            external_builders: Vec::new(),
            experimental_features: BTreeSet::new(),
            secret_keys: Vec::new(),
            post_build_hook: None,
            config_text: String::new(),
            diff_hook: None,
            pre_build_hook: None,
            substituters: None,
            fallback: false,
            always_allow_substitutes: false,
            ca_file: None,
        }
    }

    /// Returns when a build is ended by force.
    pub fn limits_of(&self, derivation: &StorePath) -> Limits {
        let own = self.derivation_limits.get(derivation).copied().unwrap_or_default();
        Limits {
            timeout: own.timeout.or(self.limits.timeout),
            max_silent: own.max_silent.or(self.limits.max_silent),
            max_log_bytes: own.max_log_bytes.or(self.limits.max_log_bytes),
        }
    }

    /// Returns whether an experimental feature is switched on.
    pub fn has_feature(&self, feature: &str) -> bool {
        self.experimental_features.contains(feature)
    }

    pub(crate) fn require_feature(&self, feature: &'static str) -> Result<(), BuildError> {
        if self.has_feature(feature) { Ok(()) } else { Err(BuildError::FeatureDisabled { feature }) }
    }

    /// Returns what derivations may require: the setting, and what follows from experimental features.
    pub(crate) fn all_system_features(&self) -> BTreeSet<String> {
        let mut features = self.system_features.clone();
        let implied = ["ca-derivations", "recursive-nix"];
        features.extend(implied.iter().filter(|feature| self.has_feature(feature)).map(|feature| (*feature).to_owned()));
        features
    }

    /// Returns a variable of the environment that builds may ask for.
    pub(crate) fn environment_variable(&self, name: &str) -> Option<OsString> {
        match &self.environment {
            Some(environment) => environment.get(std::ffi::OsStr::new(name)).cloned(),
            None => std::env::var_os(name),
        }
    }

    /// Returns the value of `NIX_BUILD_CORES`.
    pub fn n_cores(&self) -> usize {
        match self.cores {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cores => cores,
        }
    }
}

/// The levels of the x86-64 instruction set that this processor has.
fn x86_64_levels() -> impl Iterator<Item = u8> {
    #[cfg(target_arch = "x86_64")]
    let level = {
        use std::arch::is_x86_feature_detected as has;
        let v2 = has!("sse3") && has!("ssse3") && has!("sse4.1") && has!("sse4.2") && has!("popcnt") && has!("cmpxchg16b");
        let v3 = v2 && has!("avx") && has!("avx2") && has!("bmi1") && has!("bmi2") && has!("f16c") && has!("fma") && has!("lzcnt") && has!("movbe");
        let v4 = v3 && has!("avx512f") && has!("avx512bw") && has!("avx512cd") && has!("avx512dq") && has!("avx512vl");
        1 + u8::from(v2) + u8::from(v3) + u8::from(v4)
    };
    #[cfg(not(target_arch = "x86_64"))]
    let level = 0;
    1..=level
}
