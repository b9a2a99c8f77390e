//! `nix-env --query`: what is installed or available, as a table, as JSON or as XML. Packages are asked while their evaluation lasts, one after the other.

use std::collections::{BTreeMap, BTreeSet};

use nixlang::source::Pos;
use nixlang_store::path::StorePath;
use serde_json::{Map, Value, json};

use super::super::diff_closures::split_name;
use super::names::compare_versions;
use super::packages::{Found, Source, meta, with_packages};
use super::{Call, xml};
use crate::evaluation::{Step, Stop};
use crate::failure::{Failure, Outcome};
use crate::ui::Verbosity;

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
    let installed = if !available || columns.compare || columns.status { call.installed()? } else { Vec::new() };
    let of_file = Source::File { file: &call.file, attribute: &attribute };
    let others = match (columns.compare, available) {
        (false, _) => Vec::new(),
        (true, true) => installed.iter().map(|package| package.name.clone()).collect(),
        (true, false) => with_packages(&call.context, &of_file, false, |_, mut packages| {
            call.filter_systems(&mut packages)?;
            packages.iter().map(|package| Ok(package.name()?)).collect::<Step<Vec<_>>>()
        })?,
    };
    let source = if available { of_file.clone() } else { Source::Installed(call.profile.link().to_owned()) };
    let text = with_packages(&call.context, &source, false, |_, mut packages| {
        if available {
            call.filter_systems(&mut packages)?;
        }
        let mut named = Vec::new();
        for package in call.select(packages, false)? {
            named.push((package.name()?, package));
        }
        named.sort_by_cached_key(|(name, _)| name.to_ascii_uppercase());
        let mut query = Query { call, columns: &columns, others: &others, installed: BTreeSet::new(), valid: BTreeSet::new(), fetchable: BTreeSet::new() };
        if columns.status {
            query.installed = installed.iter().map(|package| package.out_path().cloned()).collect::<Outcome<_>>()?;
        }
        if columns.status || call.prebuilt_only {
            let mut paths = Vec::new();
            let mut kept = Vec::new();
            for (name, package) in named {
                match package.out_path() {
                    Ok(path) => paths.push(path),
                    Err(error) if error.is_catchable() => {
                        query.skip(&name);
                        continue;
                    }
                    Err(error) => return Err(error.into()),
                }
                kept.push((name, package));
            }
            named = kept;
            query.valid = call.valid(&paths)?;
            query.fetchable = call.fetchable(&paths)?;
        }
        if columns.json { query.json(&named) } else { query.table_or_xml(&named) }
    })?;
    print!("{text}");
    Ok(0)
}

/// What answers need besides the packages.
struct Query<'q> {
    call: &'q Call,
    columns: &'q Columns,
    /// Names that versions are compared with.
    others: &'q [String],
    installed: BTreeSet<StorePath>,
    valid: BTreeSet<StorePath>,
    fetchable: BTreeSet<StorePath>,
}

impl Query<'_> {
    fn skip(&self, name: &str) {
        self.call.context.ui.line(Verbosity::INFO.more(1), &format!("skipping derivation named '{name}' which gives an assertion failure"));
    }

    /// Returns what `ask` returns, nothing if that fails by an assertion or a `throw`.
    fn about<T>(&self, name: &str, ask: impl FnOnce() -> Step<T>) -> Step<Option<T>> {
        match ask() {
            Ok(answer) => Ok(Some(answer)),
            Err(Stop::Error(error)) if error.is_catchable() => {
                self.skip(name);
                Ok(None)
            }
            Err(Stop::Error(error)) => Err(error.while_(Pos::NONE, format!("while querying the derivation named '{name}'")).into()),
            Err(stop) => Err(stop),
        }
    }

    fn show(&self, path: &StorePath) -> String {
        self.call.context.store.store_dir().display(path)
    }

    /// Returns an attribute of `meta` as data; says so if it is none.
    fn meta(&self, name: &str, package: &Found<'_, '_>, attribute: &str) -> Step<Option<Value>> {
        let value = meta(package, attribute)?;
        if value.is_none() {
            self.call.context.ui.line(Verbosity::ERROR, &format!("derivation '{name}' has invalid meta attribute '{attribute}'"));
        }
        Ok(value)
    }

    fn json(&self, packages: &[(String, Found<'_, '_>)]) -> Step<String> {
        let mut all = Map::new();
        for (name, package) in packages {
            // What was known before an assertion failed stays.
            let mut object = Value::Null;
            self.about(name, || {
                let (short_name, version) = split_name(name);
                object = json!({ "name": name, "pname": short_name, "version": version, "system": package.system()?, "outputName": package.output_name()? });
                let outputs = package.outputs(self.columns.out_path)?;
                object["outputs"] = outputs.into_iter().map(|(name, path)| (name, path.map(|path| self.show(&path)).into())).collect::<Map<_, _>>().into();
                if self.columns.drv_path
                    && let Some(path) = package.derivation_path()?
                {
                    object["drvPath"] = self.show(&path).into();
                }
                if self.columns.meta {
                    object["meta"] = Value::Object(Map::new());
                    for attribute in package.meta_names()? {
                        object["meta"][&attribute] = self.meta(name, package, &attribute)?.unwrap_or(Value::Null);
                    }
                }
                Ok(())
            })?;
            all.insert(package.attribute_path().to_owned(), object);
        }
        Ok(nixlang_store::json::to_string_pretty(&Value::Object(all)) + "\n")
    }

    fn table_or_xml(&self, packages: &[(String, Found<'_, '_>)]) -> Step<String> {
        let (mut table, mut items) = (Vec::new(), Vec::new());
        for (name, package) in packages {
            if self.call.prebuilt_only {
                let path = package.out_path()?;
                if !self.valid.contains(&path) && !self.fetchable.contains(&path) {
                    continue;
                }
            }
            if self.columns.xml {
                items.extend(self.about(name, || self.item(name, package))?);
            } else {
                table.extend(self.about(name, || self.row(name, package))?);
            }
        }
        Ok(if self.columns.xml { xml::document(&items) } else { print(&table) })
    }

    /// Whether it is installed, there, and to be had from elsewhere.
    fn status(&self, package: &Found<'_, '_>) -> Step<[bool; 3]> {
        let path = package.out_path()?;
        Ok([self.installed.contains(&path), self.valid.contains(&path), self.fetchable.contains(&path)])
    }

    fn row(&self, name: &str, package: &Found<'_, '_>) -> Step<Vec<String>> {
        let (columns, mut row) = (self.columns, Vec::new());
        if columns.status {
            row.push(self.status(package)?.into_iter().zip("IPS".chars()).map(|(is, letter)| if is { letter } else { '-' }).collect());
        }
        if columns.attribute {
            row.push(package.attribute_path().to_owned());
        }
        if !columns.no_name {
            row.push(name.to_owned());
        }
        if columns.compare {
            row.push(comparison(name, self.others));
        }
        if columns.system {
            row.push(package.system()?);
        }
        if columns.drv_path {
            row.push(package.derivation_path()?.map_or("-".to_owned(), |path| self.show(&path)));
        }
        if columns.out_path {
            // `OUT;dev=DEV`
            let outputs = package.outputs(true)?.into_iter().filter_map(|(name, path)| {
                let path = self.show(&path?);
                Some(if name == "out" { path } else { format!("{name}={path}") })
            });
            row.push(outputs.collect::<Vec<_>>().join(";"));
        }
        if columns.description {
            row.push(package.meta_string("description")?.unwrap_or_default());
        }
        Ok(row)
    }

    fn item(&self, name: &str, package: &Found<'_, '_>) -> Step<xml::Item> {
        let columns = self.columns;
        let (short_name, version) = split_name(name);
        let mut attributes = BTreeMap::new();
        if columns.status {
            for (name, is) in ["installed", "valid", "substitutable"].into_iter().zip(self.status(package)?) {
                attributes.insert(name, u8::from(is).to_string());
            }
        }
        let about = [("attrPath", package.attribute_path()), ("name", name), ("pname", short_name), ("version", version)];
        attributes.extend(about.map(|(name, text)| (name, text.to_owned())));
        let mut add = |name, value: String| drop(Some(value).filter(|value| !value.is_empty()).map(|value| attributes.insert(name, value)));
        if columns.compare
            && let Some((sign, other)) = comparison(name, self.others).split_once(' ').filter(|(sign, _)| *sign != "-")
        {
            add("versionDiff", sign.to_owned());
            add("maxComparedVersion", other.to_owned());
        }
        add("system", package.system()?);
        if columns.drv_path {
            add("drvPath", package.derivation_path()?.map(|path| self.show(&path)).unwrap_or_default());
        }
        if columns.description {
            add("description", package.meta_string("description")?.unwrap_or_default());
        }
        attributes.insert("outputName", package.output_name()?);
        let outputs = package.outputs(columns.out_path)?.into_iter().map(|(name, path)| (name, path.map(|path| self.show(&path)))).collect();
        let mut shown = BTreeMap::new();
        for attribute in if columns.meta { package.meta_names()? } else { Vec::new() } {
            if let Some(value) = self.meta(name, package, &attribute)? {
                shown.insert(attribute, value);
            }
        }
        Ok(xml::Item { attributes, outputs, meta: shown })
    }
}

/// Returns how a version compares with those of the other side: `< 2.0` if there is a newer one.
fn comparison(name: &str, others: &[String]) -> String {
    let (name, version) = split_name(name);
    let same = others.iter().map(|other| split_name(other)).filter(|(other, _)| *other == name).map(|(_, version)| version);
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

/// Returns rows with their columns below each other; the last one is as long as it is.
fn print(table: &[Vec<String>]) -> String {
    let n_columns = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..n_columns).map(|i| table.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in table {
        for (i, cell) in row.iter().enumerate() {
            let cell = cell.replace('\n', " ");
            if i + 1 == n_columns {
                text.push_str(&cell);
            } else {
                text.push_str(&format!("{cell:<width$}  ", width = widths[i]));
            }
        }
        text.push('\n');
    }
    text
}
