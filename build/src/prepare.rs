//! From a derivation to a [`BuildRequest`]: inputs, sandbox, environment, directories; all policy is decided here.
//!
//! The surprising part is where outputs appear. In a sandbox the builder writes to the logical store path inside the
//! sandbox's root directory, which lies beside the derivation in the real store directory, so that outputs are later
//! moved into place by a rename. That root directory has a fixed name: whoever holds the output locks owns it, and
//! removes what a killed build left there. Build directories have random names; see [`workspace`].

mod builtin;
pub(crate) mod environment;
pub(crate) mod external;
mod references_graph;
pub(crate) mod shell;
pub(crate) mod spares;
pub(crate) mod resolve;
pub(crate) mod workspace;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::sync::Arc;
use std::path::{Path, PathBuf};

use nixlang_store::derivation::{Derivation, DerivationType, OutputName};
use nixlang_store::derivation::options::DerivationOptions;
use nixlang_store::fs::remove_tree;
use nixlang_store::hash::{Algorithm, Hash};
use nixlang_store::local::LocalStore;
use nixlang_store::path::{StoreDir, StorePath};
use nixlang_store::store::Store;

use self::environment::{Context, Environment, Rewrites};
use self::spares::Spares;
use self::workspace::Workspace;
use crate::bytes::Bytes;
use crate::error::BuildError;
use crate::executor::{BuildRequest, Program, ResourceLimits, RunAs};
use crate::known::Known;
use crate::options::{BuildMode, BuildOptions};
use crate::recursive;
use crate::sandbox::helper::base_name;
use crate::users::BuildUser;
use crate::sandbox::{HostIds, Mount, Network, PROXY_ADDRESS, SandboxMode, SandboxSpec, Shell, SpecOptions, none};

/// Limit for what a builder writes beside its build directory, its outputs and `/tmp`; that is in memory.
const ROOT_SIZE: &str = "1g";

/// A build that is ready to run, with its directories.
pub(crate) struct Prepared {
    /// What to run.
    pub(crate) request: BuildRequest,
    /// The outputs.
    pub(crate) outputs: BTreeMap<OutputName, OutputPlace>,
    /// Closure of the inputs.
    pub(crate) inputs: BTreeSet<StorePath>,
    /// Attributes that mean something.
    pub(crate) options: DerivationOptions,
    /// Directories that go with the build.
    pub(crate) workspace: Workspace,
    /// Who the build runs as; without it the calling user.
    pub(crate) user: Option<BuildUser>,
    /// Where the builder finds a daemon of its own, if it asks for one.
    pub(crate) daemon_socket: Option<PathBuf>,
    /// Whether the builder is a program of the settings, which begins its log with words of its own.
    pub(crate) is_external: bool,
}

/// Where an output is.
#[derive(Clone, Debug)]
pub(crate) struct OutputPlace {
    /// Its store path, if that is known before the build.
    pub(crate) known: Option<StorePath>,
    /// Whether it is valid already (and undamaged, where something is to be repaired).
    pub(crate) is_good: bool,
    /// The path that the builder is told. Another one than the known one only without a sandbox, if that is valid.
    pub(crate) scratch: StorePath,
    /// Where the builder leaves it on the machine.
    pub(crate) made_at: PathBuf,
}

/// What a build is prepared from.
#[derive(Clone, Copy)]
pub(crate) struct Task<'t> {
    pub(crate) store: &'t LocalStore,
    pub(crate) options: &'t BuildOptions,
    pub(crate) known: &'t Known<'t>,
    /// `/bin/sh` in the sandbox.
    pub(crate) shell: Option<&'t Shell>,
    /// Where the derivation is.
    pub(crate) path: &'t StorePath,
    pub(crate) derivation: &'t Derivation,
    /// Its outputs, as far as they are known.
    pub(crate) outputs: &'t BTreeMap<OutputName, Option<StorePath>>,
    pub(crate) mode: BuildMode,
    /// The derivation whose limits hold; another one if this was resolved.
    pub(crate) limits_of: &'t StorePath,
    /// Directories of builds before.
    pub(crate) spares: &'t Arc<Spares>,
    /// Gives the user that the build runs as, for so many numbers, in a sandbox or not.
    pub(crate) user: &'t dyn Fn(u32, bool) -> Result<Option<BuildUser>, BuildError>,
}

/// Prepares a build. The caller holds the locks of its outputs.
pub(crate) fn prepare(task: Task<'_>) -> Result<Prepared, BuildError> {
    let Task { store, options, known, shell, path, derivation, .. } = task;
    let dir = store.store_dir();
    let reject = |reason: String| BuildError::Derivation { derivation: dir.display(path), reason };
    let kind = derivation.kind().map_err(|error| reject(error.to_string()))?;
    if kind == (DerivationType::InputAddressed { deferred: true }) {
        return Err(reject("its output paths are not known although its inputs are".to_owned()));
    }
    let derivation_options = read_options(dir, path, derivation)?;
    let external = external::find(options, derivation);
    let sandboxed = external.is_none() && decide_sandbox(store, options, path, kind, &derivation_options)?;
    let is_recursive = derivation_options.required_system_features.contains(recursive::FEATURE);
    if external.is_some() {
        options.require_feature(external::FEATURE)?;
        if is_recursive {
            return Err(reject("'recursive-nix' is not supported yet by external derivation builders".to_owned()));
        }
    }
    let has_range = derivation_options.required_system_features.contains("uid-range");
    if has_range && !options.auto_allocate_uids {
        return Err(reject("feature 'uid-range' requires the setting 'auto-allocate-uids' to be enabled".to_owned()));
    }
    if has_range && !sandboxed {
        return Err(reject("feature 'uid-range' is only supported in sandboxed builds".to_owned()));
    }
    let has_network = !kind.is_sandboxed();
    if has_network && !sandboxed && options.fixed_output_hosts.is_some() {
        let reason = "the hosts that it may reach are limited, which only a sandbox can do".to_owned();
        return Err(BuildError::NoSandbox { reason });
    }
    let network = match &options.fixed_output_hosts {
        _ if !has_network => Network::Private,
        None => Network::Host,
        Some(_) => Network::Proxied,
    };
    let user = (task.user)(if has_range { 65536 } else { 1 }, sandboxed)?;
    if options.use_cgroups || has_range {
        options.require_feature("cgroups")?;
    }
    let inputs = input_closure(store, known, path, derivation)?;

    // What belongs to a user of its own is that user's; see there.
    let mut workspace = Workspace::make(task.spares, sandboxed || external.is_some(), user.is_none())?;
    let top = workspace.top().to_owned();
    let build_dir = if sandboxed || external.is_some() { top.join("build") } else { top.clone() };
    let build_dir_inside = match external {
        Some(_) => PathBuf::from(external::BUILD_DIR),
        None if sandboxed => options.sandbox_build_dir.clone(),
        None => build_dir.clone(),
    };
    let build_dir_text =
        build_dir_inside.to_str().ok_or_else(|| reject(format!("the build directory {build_dir_inside:?} is not UTF-8")))?;
    if let Some(user) = &user {
        refuse_world_writable(task.spares.parent())?;
        std::os::unix::fs::chown(&build_dir, Some(user.uid), Some(user.gid)).map_err(BuildError::io("changing the owner of", &build_dir))?;
    }

    let chroot = store.to_real_path(path).with_added_extension("chroot");
    let logical_store = Path::new(dir.as_str());
    let mut outputs = BTreeMap::new();
    for name in derivation.outputs.keys() {
        let (known, is_good) = known_output(task, kind, name)?;
        let is_there = match &known {
            Some(known) => store.is_valid(known)?,
            None => false,
        };
        let scratch = match &known {
            None => fallback(store, path, derivation, name).map_err(reject)?,
            Some(known) if sandboxed || !is_there => known.clone(),
            Some(known) => redirected(store, path, known).map_err(reject)?,
        };
        let made_at = if sandboxed {
            chroot.join("store").join(scratch.base_name())
        } else {
            let made_at = store.to_real_path(&scratch);
            // What a build that was killed left there.
            remove_tree(&made_at)?;
            workspace.scratch.push(made_at.clone());
            made_at
        };
        outputs.insert(name.clone(), OutputPlace { known, is_good, scratch, made_at });
    }

    let mut rewrites =
        Rewrites::for_outputs(outputs.iter().map(|(name, place)| (name.as_str(), dir.display(&place.scratch))));
    for place in outputs.values() {
        if let Some(known) = place.known.as_ref().filter(|known| **known != place.scratch) {
            rewrites.add(known.hash_text().to_string(), place.scratch.hash_text().to_string());
        }
    }
    let exports =
        references_graph::exports(store, known, &derivation_options, &inputs, derivation.structured_attrs.is_some())?;
    let context = Context {
        options,
        derivation_options: &derivation_options,
        store_dir: dir.as_str(),
        build_dir: build_dir_text,
        exports,
    };
    let Environment { mut variables, files } = environment::environment(derivation, context)?;
    if is_recursive {
        let socket = format!("unix://{build_dir_text}/{}", recursive::SOCKET);
        variables.insert(b"NIX_REMOTE".to_vec(), socket.into_bytes());
    }
    if network == Network::Proxied {
        for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            variables.insert(name.into(), format!("http://{PROXY_ADDRESS}").into_bytes());
        }
        variables.retain(|name, _| name != b"no_proxy" && name != b"NO_PROXY");
    }
    for (name, text) in &files {
        let file = build_dir.join(name);
        write_new_file(&file, &rewrites.apply(text))?;
        if let Some(user) = &user {
            std::os::unix::fs::lchown(&file, Some(user.uid), Some(user.gid)).map_err(BuildError::io("changing the owner of", &file))?;
        }
    }

    let program = if let Some(external) = external {
        if let Some(user) = &user {
            std::os::unix::fs::chown(&top, Some(user.uid), Some(user.gid)).map_err(BuildError::io("changing the owner of", &top))?;
        }
        let args = derivation.args.iter().map(|argument| rewrites.apply(argument)).collect();
        let env = variables.into_iter().map(|(name, value)| (name, rewrites.apply(&value))).collect();
        let places = outputs.iter().map(|(name, place)| (name.to_string(), place.scratch.clone())).collect();
        let order =
            external::Order { store, derivation, args, env, top: &top, build_dir: &build_dir, inputs: &inputs, outputs: places };
        external::program(external, options, &order)?
    } else if derivation.is_builtin() {
        Program::Builtin(builtin::request(task, &outputs, network)?)
    } else {
        let mut arguments = vec![Bytes::from(base_name(&derivation.builder))];
        arguments.extend(derivation.args.iter().map(|argument| Bytes(rewrites.apply(argument))));
        let environment =
            variables.iter().map(|(name, value)| Bytes(rewrites.apply(&[name, &b"="[..], value].concat()))).collect();
        Program::Execute {
            path: Bytes::from(derivation.builder.as_slice()),
            arguments,
            environment,
            linux32: is_32_bit(&derivation.system),
        }
    };

    let sandbox = if sandboxed {
        workspace.make_chroot(chroot.clone())?;
        let [root, made_in, tmp] = spares::CHROOT_PARTS.map(|(name, _)| chroot.join(name));
        if let Some(user) = &user {
            let owner = (user.n_ids > 1).then_some(user.uid);
            for (path, owner) in [(&root, owner), (&made_in, None)] {
                std::os::unix::fs::chown(path, owner, Some(user.gid)).map_err(BuildError::io("changing the owner of", path))?;
            }
        }
        let mut spec = SandboxSpec::for_build(SpecOptions {
            root,
            store_dir: logical_store.to_owned(),
            build_dir: build_dir.clone(),
            build_dir_inside: build_dir_inside.clone(),
            network,
            kvm: options.system_features.contains("kvm"),
            ca_file: builtin::ca_file(options),
            dev_shm_size: options.dev_shm_size.clone(),
            filter_syscalls: options.filter_syscalls,
            allow_new_privileges: options.allow_new_privileges,
            require_drop_groups: options.require_drop_groups,
            ids: user.as_ref().map(|user| HostIds { uid: user.uid, gid: user.gid, n_ids: user.n_ids }),
        });
        spec.hosts = options.fixed_output_hosts.clone().unwrap_or_default();
        // One who is root inside may fill its root directory.
        spec.root_size = (!has_range).then(|| ROOT_SIZE.to_owned());
        let writable = |source: PathBuf, target: &Path| Mount { source, target: target.into(), optional: false, read_only: false };
        // The store may be below /tmp.
        spec.scratch = vec![writable(tmp, Path::new("/tmp")), writable(made_in, logical_store)];
        let own: BTreeSet<&StorePath> = outputs.values().map(|place| &place.scratch).collect();
        let spec = add_mounts(spec, store, options, shell, path, &derivation_options, &inputs, &own)?;
        for mount in spec.mounts.iter().filter(|mount| mount.target.parent() == Some(logical_store)) {
            let is_directory = fs::symlink_metadata(&mount.source).is_ok_and(|metadata| metadata.is_dir());
            if let Some(name) = mount.target.file_name().and_then(|name| name.to_str()).filter(|_| is_directory) {
                workspace.make_mount_point(name)?;
            }
        }
        Some(spec)
    } else {
        None
    };
    let request = BuildRequest {
        outputs: outputs.values().map(|place| (PathBuf::from(dir.display(&place.scratch)), place.made_at.clone())).collect(),
        anew: options.mode != BuildMode::Normal,
        derivation: path.clone(),
        is_fixed_output: kind.is_fixed(),
        program,
        directory: if external.is_some() { build_dir.clone() } else { build_dir_inside },
        sandbox,
        limits: options.limits_of(task.limits_of),
        user: user.as_ref().filter(|_| !sandboxed).map(|user| RunAs { uid: user.uid, gid: user.gid, groups: user.groups.clone() }),
        cgroup: (options.use_cgroups || has_range || options.resource_limits != ResourceLimits::default()).then(|| {
            let name = match &user {
                Some(user) => format!("nix-build-uid-{}", user.uid),
                None => format!("nix-build-{}-{}", std::process::id(), path.hash_text()),
            };
            (name, options.resource_limits)
        }),
    };
    let daemon_socket = is_recursive.then(|| build_dir.join(recursive::SOCKET));
    let is_external = external.is_some();
    Ok(Prepared { request, outputs, inputs, options: derivation_options, workspace, user, daemon_socket, is_external })
}

/// Returns whether this build runs in a sandbox.
fn decide_sandbox(
    store: &LocalStore,
    options: &BuildOptions,
    path: &StorePath,
    kind: DerivationType,
    derivation_options: &DerivationOptions,
) -> Result<bool, BuildError> {
    let sandboxed = match options.sandbox {
        SandboxMode::Required if derivation_options.no_chroot => {
            return Err(BuildError::Derivation {
                derivation: store.store_dir().display(path),
                reason: "it has '__noChroot' set, but that's not allowed when 'sandbox' is 'true'".to_owned(),
            });
        }
        SandboxMode::Required => true,
        SandboxMode::Relaxed => kind.is_sandboxed() && !derivation_options.no_chroot,
        SandboxMode::Off => false,
    };
    let (logical, real) = (Path::new(store.store_dir().as_str()), &store.layout().real_store_dir);
    // A store that really is elsewhere can only be shown to a builder by a sandbox.
    let sandboxed = sandboxed || logical != real;
    if !sandboxed {
        if let Some(reason) = none::obstacle(logical, real) {
            return Err(BuildError::NoSandbox { reason });
        }
    }
    Ok(sandboxed)
}

/// Returns the path that stands for a valid output while a builder without sandbox runs (`makeFallbackPath` of the
/// reference). It can't be the path of anything else.
fn redirected(store: &LocalStore, derivation: &StorePath, output: &StorePath) -> Result<StorePath, String> {
    let kind = format!("rewrite:{}:{}", derivation.base_name(), output.base_name());
    let made = store.store_dir().make_store_path(&kind, &Hash::zero(Algorithm::Sha256), output.name());
    made.map_err(|error| error.to_string())
}

/// As [`redirected`], for an output whose path only the build gives (the other `makeFallbackPath`).
fn fallback(store: &LocalStore, path: &StorePath, derivation: &Derivation, output: &str) -> Result<StorePath, String> {
    let kind = format!("rewrite:{}:name:{output}", path.base_name());
    let name = output_name(derivation, output);
    let made = store.store_dir().make_store_path(&kind, &Hash::zero(Algorithm::Sha256), &name);
    made.map_err(|error| error.to_string())
}

/// Returns the name of an output's store path.
fn output_name(derivation: &Derivation, output: &str) -> String {
    if output == "out" { derivation.name.to_string() } else { format!("{}-{output}", derivation.name) }
}

/// Returns the path of an output if it is known, and whether that is there already.
fn known_output(task: Task<'_>, kind: DerivationType, name: &OutputName) -> Result<(Option<StorePath>, bool), BuildError> {
    let Task { store, path, derivation, outputs, mode, .. } = task;
    if kind == DerivationType::Impure {
        // Each build has its own place.
        let mut random = [0; 20];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty()).map_err(|error| BuildError::Io {
            action: "getting random bytes for",
            path: store.to_real_path(path),
            source: error.into(),
        })?;
        let made = StorePath::new(random, &output_name(derivation, name)).map_err(|error| BuildError::Derivation {
            derivation: store.store_dir().display(path),
            reason: error.to_string(),
        })?;
        return Ok((Some(made), false));
    }
    let known = outputs.get(name).cloned().flatten();
    let is_good = match &known {
        None => false,
        Some(known) if mode == BuildMode::Repair => crate::outputs::is_intact(store, known)?,
        Some(known) => store.is_valid(known)?,
    };
    Ok((known, is_good))
}

/// Returns the paths that the builder may see: outputs of input derivations, input sources, and all they refer to.
pub(crate) fn input_closure(
    store: &LocalStore,
    known: &Known<'_>,
    path: &StorePath,
    derivation: &Derivation,
) -> Result<BTreeSet<StorePath>, BuildError> {
    let dir = store.store_dir();
    let mut inputs: Vec<StorePath> = derivation.input_sources.iter().cloned().collect();
    for (input, wanted) in &derivation.input_derivations {
        for name in &wanted.outputs {
            match known.output(input, name) {
                Ok(Some(output)) => inputs.push(output),
                Ok(None) => {
                    let reason = format!("output '{name}' of input derivation '{}' is not known", dir.display(input));
                    return Err(BuildError::Derivation { derivation: dir.display(path), reason });
                }
                Err(BuildError::NoSuchOutput { .. }) => {
                    let input = dir.display(input);
                    let reason = format!("requires non-existent output '{name}' from input derivation '{input}'");
                    return Err(BuildError::Derivation { derivation: dir.display(path), reason });
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(store.closure(&inputs)?)
}

/// Adds everything that the builder sees of the machine. Mounts are sorted by target, so that parents come first.
#[expect(clippy::too_many_arguments, reason = "one use, and all of it is context")]
fn add_mounts(
    mut spec: SandboxSpec,
    store: &LocalStore,
    options: &BuildOptions,
    shell: Option<&Shell>,
    path: &StorePath,
    derivation_options: &DerivationOptions,
    inputs: &BTreeSet<StorePath>,
    own: &BTreeSet<&StorePath>,
) -> Result<SandboxSpec, BuildError> {
    let dir = store.store_dir();
    let mut mounts: BTreeMap<PathBuf, Mount> = BTreeMap::new();
    let mut add = |mount: Mount| {
        mounts.insert(mount.target.clone(), mount);
    };
    for mount in spec.mounts.drain(..) {
        add(mount);
    }
    for mount in shell.into_iter().flat_map(Shell::mounts) {
        add(mount);
    }
    let mut visible = inputs.clone();
    for mount in &options.sandbox_paths {
        let mut mount = mount.clone();
        // A path in the store brings its closure, and is really somewhere else.
        if let Some((store_path, rest)) = store.to_store_path(&mount.source) {
            mount.source = store.to_real_path(&store_path).join(rest);
            visible.extend(store.closure(std::slice::from_ref(&store_path))?);
        }
        add(mount);
    }
    for wanted in &derivation_options.impure_host_deps {
        let wanted = Path::new(wanted);
        let plain = wanted.components().all(|component| !matches!(component, std::path::Component::ParentDir));
        if !plain || !options.allowed_impure_paths.iter().any(|allowed| wanted.starts_with(allowed)) {
            return Err(BuildError::Derivation {
                derivation: dir.display(path),
                reason: format!(
                    "requested impure path '{}', but it was not in allowed-impure-host-deps",
                    wanted.display()
                ),
            });
        }
        add(Mount { optional: true, ..Mount::read_only(wanted, wanted) });
    }
    if let Some(hook) = &options.pre_build_hook {
        let root = spec.root.parent().unwrap_or(&spec.root);
        for mount in crate::hooks::ask_pre_build_hook(hook, Path::new(&dir.display(path)), Some(root))? {
            add(mount);
        }
    }
    for input in visible.iter().filter(|input| !own.contains(input)) {
        add(Mount::read_only(store.to_real_path(input), dir.display(input)));
    }
    spec.mounts = mounts.into_values().collect();
    Ok(spec)
}

/// Whether programs for `system` expect a 32-bit machine where this one has 64.
fn is_32_bit(system: &[u8]) -> bool {
    match std::env::consts::ARCH {
        "x86_64" => system == b"i686-linux",
        "aarch64" => matches!(system, b"armv7l-linux" | b"armv6l-linux" | b"armv5tel-linux"),
        _ => false,
    }
}

/// Refuses a place where others could exchange what lies there for something else.
fn refuse_world_writable(directory: &Path) -> Result<(), BuildError> {
    let mut path = Some(directory);
    while let Some(ancestor) = path {
        let metadata = fs::metadata(ancestor).map_err(BuildError::io("reading the status of", ancestor))?;
        if metadata.permissions().mode() & 0o002 != 0 {
            return Err(BuildError::WorldWritable { path: ancestor.to_owned() });
        }
        path = ancestor.parent();
    }
    Ok(())
}

/// Writes a file of the build directory; `path` must not exist.
fn write_new_file(path: &Path, text: &[u8]) -> Result<(), BuildError> {
    use std::io::Write;
    debug_assert!(path.file_name().is_some_and(|name| !name.as_bytes().contains(&b'/')));
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path);
    file.and_then(|mut file| file.write_all(text)).map_err(BuildError::io("writing", path))
}

/// Returns what is odd about attributes, in the reference's words.
pub(crate) fn warnings(options: &DerivationOptions) -> Vec<String> {
    let of = |name: &&'static str| match *name {
        "exportReferencesGraph" => "'exportReferencesGraph' in structured attrs is not a JSON object, ignoring".to_owned(),
        "passAsFile" => "'structuredAttrs' disables the effect of the environment variable 'passAsFile'".to_owned(),
        name => format!("'structuredAttrs' disables the effect of the top-level attribute '{name}'; use 'outputChecks' instead"),
    };
    options.ignored.iter().map(of).collect()
}

/// Reads the attributes of a derivation that mean something to its builder.
pub(crate) fn read_options(dir: &StoreDir, path: &StorePath, derivation: &Derivation) -> Result<DerivationOptions, BuildError> {
    let reject = |error: nixlang_store::derivation::options::OptionsError| BuildError::Derivation {
        derivation: dir.display(path),
        reason: error.to_string(),
    };
    DerivationOptions::read(dir, derivation).map_err(reject)
}
