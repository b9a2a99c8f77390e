//! `build`: builds installables and links to what they give.

use std::path::PathBuf;

use nixlang_build::BuildResult;
use nixlang_store::path::StorePath;
use nixlang_store::profile::Profile;
use serde_json::{Map, Value, json};

use super::{Context, Invocation};
use crate::building::BuildFlags;
use crate::failure::Outcome;
use crate::installables::{BuiltTarget, Installables, Target, build_targets};

pub(super) fn run(invocation: Invocation) -> Outcome<u8> {
    let mut flags = BuildFlags::default();
    let mut link: Option<PathBuf> = Some("result".into());
    let (mut print_paths, mut json, mut profile) = (false, false, None);
    let (installables, context) = Installables::parse(invocation, |flag, args| {
        match flag {
            "-o" | "--out-link" => link = Some(args.value(flag)?.into()),
            "--no-link" => link = None,
            "--print-out-paths" => print_paths = true,
            "--json" => json = true,
            "--dry-run" => flags.dry_run = true,
            "--rebuild" => flags.check = true,
            "--profile" => profile = Some(PathBuf::from(args.value(flag)?)),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let targets = installables.targets(&context, true)?;
    let (built, outcome) = build_targets(&context, &targets, flags)?;
    if flags.dry_run {
        if json {
            let all: Vec<Value> = targets.iter().map(|target| planned_json(&context, target)).collect::<Outcome<_>>()?;
            println!("{}", Value::Array(all));
        }
        return Ok(0);
    }
    if json {
        let all: Vec<Value> =
            targets.iter().zip(&built).map(|(target, built)| {
                let result = built.derivation.as_ref().and_then(|derivation| outcome.results.get(derivation));
                built_json(&context, target, built, result)
            }).collect();
        println!("{}", Value::Array(all));
    }
    for (i, built) in built.iter().enumerate() {
        for (name, path) in &built.outputs {
            // In a cache nothing is kept alive.
            if let Some(link) = &link
                && !context.store.is_cache()
            {
                crate::roots::make(&context, path, &link_name(link, i, name.as_deref())?)?;
            }
            if print_paths {
                println!("{}", context.store.store_dir().display(path));
            }
        }
    }
    if let Some(profile) = profile {
        let paths: Vec<&StorePath> = built.iter().flat_map(|built| &built.outputs).map(|(_, path)| path).collect();
        let [path] = paths[..] else {
            let n_paths = paths.len();
            return Err(crate::failure::Failure::new(format!("'--profile' requires that the arguments produce a single store path, but there are {n_paths}")));
        };
        let profile = Profile::new(&std::path::absolute(profile)?)?;
        let _lock = profile.lock()?;
        profile.add_generation(&*context.store.any()?, path)?;
    }
    Ok(0)
}

/// What `--json` says of something built.
fn built_json(context: &Context, target: &Target, built: &BuiltTarget, result: Option<&BuildResult>) -> Value {
    let dir = context.store.store_dir();
    let Some(derivation) = &built.derivation else {
        return built.outputs.first().map_or(Value::Null, |(_, path)| json!(dir.display(path)));
    };
    let outputs: Map<String, Value> =
        built.outputs.iter().map(|(name, path)| (name.clone().unwrap_or_default(), dir.display(path).into())).collect();
    let mut json = json!({ "drvPath": dir.display(derivation), "outputs": outputs });
    if let Target::Nested { derivation: maker, .. } = target
        && let nixlang_build::SingleDerivedPath::Built { derivation: root, output } = maker
    {
        json["drvPath"] = json!({ "drvPath": root.display(dir), "output": output.as_str(), "outputPath": dir.display(derivation) });
    }
    if let Some(result) = result {
        let mut set = |name: &str, value: Value| json[name] = value;
        if result.start_time != 0 {
            set("startTime", result.start_time.into());
        }
        if result.stop_time != 0 {
            set("stopTime", result.stop_time.into());
        }
        if !result.cpu_user.is_zero() {
            set("cpuUser", result.cpu_user.as_secs_f64().into());
        }
        if !result.cpu_system.is_zero() {
            set("cpuSystem", result.cpu_system.as_secs_f64().into());
        }
    }
    json
}

/// What `--json` says of something that would be built: paths as far as they are known.
fn planned_json(context: &Context, target: &Target) -> Outcome<Value> {
    let dir = context.store.store_dir();
    Ok(match target {
        Target::Path(path) => json!(dir.display(path)),
        Target::Nested { derivation, .. } => json!({ "drvPath": derivation.display(dir), "outputs": null }),
        Target::Built { derivation, outputs } => {
            let known = context.store.open()?.derivation_outputs(derivation)?;
            let is_wanted = |name: &String| outputs.as_ref().is_none_or(|names| names.contains(name));
            let outputs: Map<String, Value> = known
                .into_iter()
                .filter(|(name, _)| is_wanted(name))
                .map(|(name, path)| (name, path.map_or(Value::Null, |path| dir.display(&path).into())))
                .collect();
            json!({ "drvPath": dir.display(derivation), "outputs": outputs })
        }
    })
}

/// Returns `result`, `result-1`, `result-dev`: the second is 1 here, unlike in `nix-build`.
fn link_name(link: &std::path::Path, index: usize, output: Option<&str>) -> Outcome<PathBuf> {
    let mut link = std::path::absolute(link)?;
    if index > 0 {
        link.as_mut_os_string().push(format!("-{index}"));
    }
    if let Some(output) = output.filter(|output| *output != "out") {
        link.as_mut_os_string().push(format!("-{output}"));
    }
    Ok(link)
}
