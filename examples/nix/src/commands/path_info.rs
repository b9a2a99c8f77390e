//! `path-info`: what the store knows about paths.

use std::io::{BufWriter, Write as _};

use nixlang_store::path_info::PathInfo;
use nixlang_store::path_info::json::JsonFormat;
use nixlang_store::store::Store;
use serde_json::{Map, Value};

use super::Invocation;
use crate::failure::{Failure, Outcome};
use crate::store_paths::StorePaths;

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    size: bool,
    closure_size: bool,
    human_readable: bool,
    signatures: bool,
    json: Option<u64>,
}

pub(super) fn run(invocation: Invocation) -> Outcome<u8> {
    let mut flags = Flags::default();
    let (context, paths) = StorePaths::parse(invocation, |flag, args| {
        match flag {
            "-s" | "--size" => flags.size = true,
            "-S" | "--closure-size" => flags.closure_size = true,
            "-h" | "--human-readable" => flags.human_readable = true,
            "--sigs" => flags.signatures = true,
            "--json" => flags.json = Some(flags.json.unwrap_or(1)),
            "--json-format" => flags.json = Some(args.value(flag)?.parse().map_err(|_| Failure::Usage("'--json-format' takes 1 or 2".into()))?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    let store = context.store.any()?;
    let infos = paths.infos(&context, &*store)?;
    if let Some(number) = flags.json {
        let format = JsonFormat::from_number(number).map_err(|error| Failure::from_error(&error))?;
        let mut all = Map::new();
        for (path, info) in &infos {
            let name = if number == 1 { store.store_dir().display(path) } else { path.base_name() };
            let mut json = info.as_ref().map_or(Value::Null, |info| info.info.to_json(store.store_dir(), format, true));
            if flags.closure_size && info.is_some() {
                json["closureSize"] = closure_size(&*store, path)?.into();
            }
            all.insert(name, json);
        }
        let mut json = Value::Object(all);
        if number != 1 {
            json = serde_json::json!({ "version": number, "storeDir": store.store_dir().as_str(), "info": json });
        }
        println!("{}", nixlang_store::json::to_string(&json));
        return Ok(0);
    }
    // Standard output by itself writes line by line.
    let mut output = BufWriter::new(std::io::stdout().lock());
    // What stands behind the paths begins in one column.
    let has_more = flags.size || flags.closure_size || flags.signatures;
    let path_size = if has_more { infos.iter().map(|(path, _)| store.store_dir().display(path).len()).max().unwrap_or(0) } else { 0 };
    for (path, info) in infos {
        let info = info.ok_or_else(|| store.invalid(&path))?;
        writeln!(output, "{}", line(&*store, flags, &info, path_size)?)?;
    }
    output.flush()?;
    Ok(0)
}

fn line(store: &dyn Store, flags: Flags, info: &PathInfo, path_size: usize) -> Outcome<String> {
    let mut text = format!("{:path_size$}", store.store_dir().display(&info.path));
    let size = |bytes: u64| if flags.human_readable { human_size(bytes) } else { format!("{bytes:>11}") };
    if flags.size {
        text.push_str(&format!("\t{}", size(info.info.nar_size)));
    }
    if flags.closure_size {
        text.push_str(&format!("\t{}", size(closure_size(store, &info.path)?)));
    }
    if flags.signatures {
        let mut words = Vec::new();
        if info.info.ultimate {
            words.push("ultimate".to_owned());
        }
        words.extend(info.info.content_address.as_ref().map(|ca| format!("ca:{ca}")));
        words.extend(info.info.signatures.iter().map(ToString::to_string));
        text.push_str(&format!("\t{}", words.join(" ")));
    }
    Ok(text)
}

fn closure_size(store: &dyn Store, path: &nixlang_store::path::StorePath) -> Outcome<u64> {
    Ok(store.closure_infos(std::slice::from_ref(path))?.iter().map(|info| info.info.nar_size).sum())
}

/// Returns a size as the reference writes it: right-aligned, in binary units from KiB on.
pub(crate) fn human_size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:6.1} {}", units[unit])
}
