//! Build options as settings have them: what a command line, a daemon and a library in somebody's program build with.

use std::path::PathBuf;
use std::time::Duration;

use nixlang_store::configuration::Configuration;
use nixlang_store::open::secret_key;

use super::BuildOptions;
use crate::executor::Limits;
use crate::sandbox::{Helper, Mount, SandboxMode, ShellChoice};

/// Why settings make no build options.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OptionsError {
    /// `max-jobs` is neither a number nor `auto`.
    #[error("configuration setting 'max-jobs' should be 'auto' or an integer, not '{value}'")]
    MaxJobs {
        /// What it is.
        value: String,
    },
    /// A setting has a value that it can't have.
    #[error("option '{name}' has invalid value '{value}'")]
    Value {
        /// The setting.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// `external-builders` is not what it must be.
    #[error("parsing setting 'external-builders': {source}")]
    ExternalBuilders {
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// A file of `secret-key-files` holds no key.
    #[error(transparent)]
    Key(#[from] nixlang_store::open::OpenError),
}

impl BuildOptions {
    /// Returns the options that settings mean, with builds under `helper`. Who is asked for substitutes ([`BuildOptions::substituters`]) and other machines
    /// ([`BuildOptions::remote`]) are left to the caller, because they are opened with more than settings.
    ///
    /// # Errors
    /// When a setting has a value that it can't have, or a key can't be read.
    pub fn configured(settings: &dyn Configuration, helper: &Helper) -> Result<BuildOptions, OptionsError> {
        let mut options = BuildOptions::new(helper.clone());
        options.max_jobs = match &*settings.text("max-jobs") {
            "auto" => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            number => number.parse().map_err(|_| OptionsError::MaxJobs { value: number.to_owned() })?,
        };
        options.cores = usize::try_from(settings.integer("cores")).unwrap_or(0);
        options.keep_going = settings.is_on("keep-going");
        options.keep_failed = settings.is_on("keep-failed");
        options.sandbox = match &*settings.text("sandbox") {
            "true" | "yes" | "1" => SandboxMode::Required,
            "relaxed" => SandboxMode::Relaxed,
            "false" | "no" | "0" => SandboxMode::Off,
            other => return Err(OptionsError::Value { name: "sandbox", value: other.to_owned() }),
        };
        options.sandbox_paths.extend(settings.list("sandbox-paths").iter().map(|path| sandbox_path(path)));
        let has_shell = options.sandbox_paths.iter().any(|mount| std::path::Path::new("/bin/sh").starts_with(&mount.target));
        options.shell = match &*settings.text("sandbox-shell") {
            _ if has_shell => ShellChoice::None,
            "" => ShellChoice::Find,
            program => ShellChoice::Program(program.into()),
        };
        let hosts = settings.list("fixed-output-hosts");
        options.fixed_output_hosts = Some(hosts).filter(|hosts| !hosts.is_empty() && !hosts.iter().any(|host| host == "*"));
        let limit = |name: &str| Some(settings.integer(name)).filter(|limit| *limit > 0);
        options.resource_limits.memory_bytes = limit("max-build-memory");
        options.resource_limits.cpu_percent = limit("max-build-cpu-percent").map(|percent| u32::try_from(percent).unwrap_or(u32::MAX));
        options.resource_limits.n_processes = limit("max-build-processes");
        options.allowed_impure_paths = settings.list("allowed-impure-host-deps").into_iter().map(PathBuf::from).collect();
        options.sandbox_build_dir = settings.text("sandbox-build-dir").into_owned().into();
        options.dev_shm_size = settings.text("sandbox-dev-shm-size").into_owned();
        options.filter_syscalls = settings.is_on("filter-syscalls");
        options.allow_new_privileges = settings.is_on("allow-new-privileges");
        if settings.is_set("require-drop-supplementary-groups") {
            options.require_drop_groups = settings.is_on("require-drop-supplementary-groups");
        }
        options.build_dir = settings.path("build-dir");
        let seconds = |name: &str| Some(settings.integer(name)).filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let max_log_bytes = Some(settings.integer("max-build-log-size")).filter(|size| *size > 0);
        options.limits = Limits { timeout: seconds("timeout"), max_silent: seconds("max-silent-time"), max_log_bytes };
        options.log_lines = usize::try_from(settings.integer("log-lines")).unwrap_or(usize::MAX);
        options.keep_log = settings.is_on("keep-build-log");
        options.compress_log = settings.is_on("compress-build-log");
        options.system = settings.text("system").into_owned();
        if settings.is_set("extra-platforms") {
            options.extra_platforms = settings.list("extra-platforms").into_iter().collect();
        }
        if settings.is_set("system-features") {
            options.system_features = settings.list("system-features").into_iter().collect();
        }
        let impure = settings.list("impure-env");
        options.impure_env = impure.iter().filter_map(|entry| entry.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        options.hashed_mirrors = settings.list("hashed-mirrors");
        options.fallback = settings.is_on("fallback");
        options.always_allow_substitutes = settings.is_on("always-allow-substitutes");
        options.experimental_features = settings.list("experimental-features").into_iter().collect();
        let external = settings.text("external-builders");
        if !external.is_empty() {
            options.external_builders = serde_json::from_str(&external).map_err(|source| OptionsError::ExternalBuilders { source })?;
        }
        options.build_users_group = Some(settings.text("build-users-group").into_owned()).filter(|group| !group.is_empty());
        options.auto_allocate_uids = settings.is_on("auto-allocate-uids");
        options.use_cgroups = settings.is_on("use-cgroups");
        let number = |name: &str, default: u32| u32::try_from(settings.integer(name)).ok().filter(|number| *number > 0).unwrap_or(default);
        options.start_id = number("start-id", options.start_id);
        options.id_count = number("id-count", options.id_count);
        for file in settings.list("secret-key-files") {
            options.secret_keys.push(secret_key(&file)?);
        }
        options.post_build_hook = settings.path("post-build-hook");
        options.pre_build_hook = settings.path("pre-build-hook");
        options.diff_hook = settings.path("diff-hook").filter(|_| settings.is_on("run-diff-hook"));
        options.config_text = settings.names().into_iter().map(|name| format!("{name} = {}\n", settings.text(name))).collect();
        // Set to nothing it means none; not set at all, what the environment or the machine has.
        if settings.is_set("ssl-cert-file") {
            options.ca_file = Some(settings.text("ssl-cert-file").into_owned().into());
        }
        Ok(options)
    }
}

/// Reads `TARGET=SOURCE` or `PATH`; a `?` at the end makes it optional.
fn sandbox_path(text: &str) -> Mount {
    let (text, optional) = match text.strip_suffix('?') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (target, source) = text.split_once('=').unwrap_or((text, text));
    Mount { source: source.into(), target: target.into(), optional, read_only: false }
}
