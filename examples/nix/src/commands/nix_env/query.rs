//! `nix-env --query`: what is installed or available, as a table or as JSON.

use std::collections::{BTreeMap, BTreeSet};

use nixlang_store::path::StorePath;
use serde_json::{Map, Value, json};

use super::super::diff_closures::split_name;
use super::names::{Selector, compare_versions};
use super::packages::{Package, Source, Wanted, find};
use super::{Call, xml};
use crate::failure::{Failure, Outcome};

/// What to show.
#[derive(Default)]
struct Columns {
    status: bool,
    no_name: bool,
    attribute: bool,
    system: bool,
    drv_path: bool,
    out_path: bool,
    description: bool,
    meta: bool,
    compare: bool,
    json: bool,
    xml: bool,
}

pub(super) fn run(call: &Call) -> Outcome<u8> {
    let mut columns = Columns::default();
    let mut available = false;
    let mut attribute = String::new();
    let mut flags = call.flags.iter();
    while let Some(flag) = flags.next() {
        match flag.as_str() {
            "-s" | "--status" => columns.status = true,
            "--no-name" => columns.no_name = true,
            "--system" => columns.system = true,
            "--description" => columns.description = true,
            "-c" | "--compare-versions" => columns.compare = true,
            "--drv-path" => columns.drv_path = true,
            "--out-path" => columns.out_path = true,
            "--meta" => columns.meta = true,
            "--installed" => available = false,
            "-a" | "--available" => available = true,
            "--json" => columns.json = true,
            "-P" | "--attr-path" => columns.attribute = true,
            "-A" | "--attr" => attribute = flags.next().cloned().unwrap_or_default(),
            "--xml" => columns.xml = true,
            other => return Err(Failure::Usage(format!("unknown flag '{other}'"))),
        }
    }
    if columns.attribute && !available {
        return Err(Failure::Usage("--attr-path(-P) only works with --available".into()));
    }
    let wanted = Wanted {
        derivation: columns.drv_path,
        out_path: columns.out_path || columns.status || call.prebuilt_only,
        output_paths: columns.out_path,
        meta: columns.description || columns.meta,
    };
    let source = Source::File { file: call.file.clone(), attribute };
    let find_available = |wanted, all: bool| find(&call.context, &source, wanted, false, &|summaries, priority| if all { Ok((0..summaries.len()).collect()) } else { call.select(summaries, priority, false) });
    let installed = if !available || columns.compare || columns.status { call.installed()? } else { Vec::new() };
    let (mut shown, others) = if available {
        (find_available(wanted, false)?, installed.clone())
    } else {
        let selectors = Selector::all(&call.words)?;
        if let Some(selector) = selectors.iter().find(|selector| selector.text != "*" && !installed.iter().any(|package| selector.matches(&package.name))) {
            return Err(Failure::new(format!("selector '{}' matches no derivations", selector.text)));
        }
        let shown = installed.iter().filter(|package| selectors.iter().any(|selector| selector.matches(&package.name))).cloned().collect();
        (shown, if columns.compare { find_available(Wanted::default(), true)? } else { Vec::new() })
    };
    shown.sort_by_cached_key(|package| package.name.to_uppercase());
    shown.iter_mut().for_each(|package| package.outputs.sort());

    let paths: Vec<StorePath> = shown.iter().filter_map(|package| package.out_path.clone()).collect();
    let needs_paths = columns.status || call.prebuilt_only;
    let valid = if needs_paths { valid_paths(call, &paths)? } else { Vec::new() };
    let fetchable = if needs_paths { call.fetchable(&paths)? } else { BTreeSet::new() };
    let is_valid = |package: &Package| package.out_path.as_ref().is_some_and(|path| valid.contains(path));
    let is_fetchable = |package: &Package| package.out_path.as_ref().is_some_and(|path| fetchable.contains(path));
    let is_installed = |package: &Package| installed.iter().any(|other| other.out_path == package.out_path);
    if call.prebuilt_only {
        shown.retain(|package| is_valid(package) || is_fetchable(package));
    }
    if columns.json {
        println!("{}", nixlang_store::json::to_string_pretty(&as_json(call, &shown, &columns)));
        return Ok(0);
    }
    if columns.xml {
        let status = |package: &Package| [is_installed(package), is_valid(package), is_fetchable(package)];
        let items: Vec<xml::Item> = shown.iter().map(|package| as_xml(call, package, &columns, status(package), &others)).collect();
        print!("{}", xml::document(&items));
        return Ok(0);
    }
    let mut table: Vec<Vec<String>> = Vec::new();
    for package in &shown {
        let mut row = Vec::new();
        if columns.status {
            let letter = |is: bool, letter: char| if is { letter } else { '-' };
            row.push([letter(is_installed(package), 'I'), letter(is_valid(package), 'P'), letter(is_fetchable(package), 'S')].iter().collect());
        }
        if columns.attribute {
            row.push(package.attribute.clone());
        }
        if !columns.no_name {
            row.push(package.name.clone());
        }
        if columns.compare {
            row.push(comparison(package, &others));
        }
        if columns.system {
            row.push(package.system.clone());
        }
        if columns.drv_path {
            row.push(package.derivation.as_ref().map_or("-".to_owned(), |path| call.context.store.store_dir().display(path)));
        }
        if columns.out_path {
            row.push(outputs(call, package));
        }
        if columns.description {
            row.push(package.meta.get("description").and_then(Value::as_str).unwrap_or_default().to_owned());
        }
        table.push(row);
    }
    print(&table);
    Ok(0)
}

fn valid_paths(call: &Call, paths: &[StorePath]) -> Outcome<Vec<StorePath>> {
    let valid = call.context.store.open()?.are_valid(paths)?;
    Ok(paths.iter().zip(valid).filter(|(_, valid)| *valid).map(|(path, _)| path.clone()).collect())
}

/// Returns `OUT;dev=DEV`.
fn outputs(call: &Call, package: &Package) -> String {
    let show = |path: &StorePath| call.context.store.store_dir().display(path);
    let one = |(name, path): &(String, Option<StorePath>)| {
        let path = path.as_ref().map(show).unwrap_or_default();
        if name == "out" { path } else { format!("{name}={path}") }
    };
    package.outputs.iter().map(one).collect::<Vec<_>>().join(";")
}

/// Returns how a version compares with those of the other side: `< 2.0` if there is a newer one.
fn comparison(package: &Package, others: &[Package]) -> String {
    let (name, version) = split_name(&package.name);
    let same = others.iter().map(|other| split_name(&other.name)).filter(|(other, _)| *other == name).map(|(_, version)| version);
    let mut found = ("-", "?");
    for other in same {
        found = match compare_versions(version, other) {
            std::cmp::Ordering::Less => ("<", other),
            std::cmp::Ordering::Equal if found.0 != "<" => ("=", other),
            std::cmp::Ordering::Greater if matches!(found.0, "-" | ">") && (found.1 == "?" || compare_versions(found.1, other).is_lt()) => (">", other),
            _ => found,
        };
    }
    format!("{} {}", found.0, found.1)
}

fn as_json(call: &Call, packages: &[Package], columns: &Columns) -> Value {
    let show = |path: &StorePath| call.context.store.store_dir().display(path);
    let mut all = Map::new();
    for package in packages {
        let (name, version) = split_name(&package.name);
        let outputs: Map<String, Value> = package.outputs.iter().map(|(name, path)| (name.clone(), path.as_ref().map(show).into())).collect();
        let mut object = json!({
            "name": package.name, "pname": name, "version": version, "system": package.system, "outputName": package.output_name, "outputs": outputs,
        });
        if columns.drv_path && let Some(path) = &package.derivation {
            object["drvPath"] = show(path).into();
        }
        if columns.meta {
            object["meta"] = package.meta.clone().into();
        }
        all.insert(package.attribute.clone(), object);
    }
    Value::Object(all)
}

fn as_xml(call: &Call, package: &Package, columns: &Columns, status: [bool; 3], others: &[Package]) -> xml::Item {
    let show = |path: &StorePath| call.context.store.store_dir().display(path);
    let (name, version) = split_name(&package.name);
    let mut attributes = BTreeMap::from([
        ("attrPath", package.attribute.clone()),
        ("name", package.name.clone()),
        ("pname", name.to_owned()),
        ("version", version.to_owned()),
        ("outputName", package.output_name.clone()),
    ]);
    let mut add = |name, value: String| drop(Some(value).filter(|value| !value.is_empty()).map(|value| attributes.insert(name, value)));
    add("system", package.system.clone());
    if columns.status {
        for (name, is) in ["installed", "valid", "substitutable"].into_iter().zip(status) {
            add(name, u8::from(is).to_string());
        }
    }
    if columns.compare
        && let Some((sign, other)) = comparison(package, others).split_once(' ').filter(|(sign, _)| *sign != "-")
    {
        add("versionDiff", sign.to_owned());
        add("maxComparedVersion", other.to_owned());
    }
    if columns.drv_path {
        add("drvPath", package.derivation.as_ref().map(show).unwrap_or_default());
    }
    if columns.description {
        add("description", package.meta.get("description").and_then(Value::as_str).unwrap_or_default().to_owned());
    }
    let path = |path: &Option<StorePath>| path.as_ref().filter(|_| columns.out_path).map(show);
    xml::Item {
        attributes,
        outputs: package.outputs.iter().map(|(name, output)| (name.clone(), path(output))).collect(),
        meta: package.meta.iter().filter(|_| columns.meta).map(|(name, value)| (name.clone(), value.clone())).collect(),
    }
}

/// Prints rows with their columns below each other; the last one is as long as it is.
fn print(table: &[Vec<String>]) {
    let n_columns = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..n_columns).map(|i| table.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    for row in table {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let cell = cell.replace('\n', " ");
            if i + 1 == n_columns {
                line.push_str(&cell);
            } else {
                line.push_str(&format!("{cell:<width$}  ", width = widths[i]));
            }
        }
        println!("{line}");
    }
}
