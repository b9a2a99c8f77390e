//! `nix-store -q`: questions about paths. Also logs and environments of derivations.

use std::collections::{BTreeSet, HashSet};

use nixlang_store::closure::{Follow, closure, topologically_sorted};
use nixlang_store::hash::HashFormat;
use nixlang_store::path::StorePath;

use super::Call;
use crate::building::{BuildFlags, build};
use crate::failure::{Failure, Outcome};

/// Questions, each with its flags.
const QUERIES: &[(&[&str], Query)] = &[
    (&["--outputs"], Query::Outputs),
    (&["--requisites", "-R"], Query::Requisites),
    (&["--references"], Query::References),
    (&["--referrers", "--referers"], Query::Referrers),
    (&["--referrers-closure", "--referers-closure"], Query::ReferrersClosure),
    (&["--deriver", "-d"], Query::Deriver),
    (&["--valid-derivers"], Query::ValidDerivers),
    (&["--binding", "-b"], Query::Binding),
    (&["--hash"], Query::Hash),
    (&["--size"], Query::Size),
    (&["--tree"], Query::Tree),
    (&["--graph"], Query::Graph),
    (&["--graphml"], Query::GraphMl),
    (&["--resolve"], Query::Resolve),
    (&["--roots"], Query::Roots),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Query {
    Outputs,
    Requisites,
    References,
    Referrers,
    ReferrersClosure,
    Deriver,
    ValidDerivers,
    Binding,
    Hash,
    Size,
    Tree,
    Graph,
    GraphMl,
    Resolve,
    Roots,
}

pub(super) fn run(call: &Call) -> Outcome<u8> {
    let mut query = None;
    for flag in &call.flags {
        let found = QUERIES.iter().find(|(flags, _)| flags.contains(&flag.as_str()));
        match (found, query) {
            (Some((_, found)), Some(before)) if *found != before => return Err(Failure::Usage(format!("query type '{flag}' conflicts with earlier flag"))),
            (Some((_, found)), _) => query = Some(*found),
            (None, _) if matches!(flag.as_str(), "--use-output" | "-u" | "--force-realise" | "--force-realize" | "-f" | "--include-outputs") => {}
            (None, _) => return Err(Failure::Usage(format!("unknown flag '{flag}'"))),
        }
    }
    match query.unwrap_or(Query::Outputs) {
        Query::Outputs => print_all(call, with_outputs(call, true)?),
        Query::Requisites => {
            let follow = Follow { outputs: call.has(&["--include-outputs"]), ..Follow::default() };
            let paths = closure(&**call.store()?, &with_outputs(call, false)?, &follow)?;
            print_sorted(call, &paths)?;
        }
        Query::References => {
            let mut all = BTreeSet::new();
            for path in with_outputs(call, false)? {
                all.extend(call.store()?.path_info(&path)?.info.references);
            }
            print_sorted(call, &all)?;
        }
        Query::Referrers => {
            let mut all = BTreeSet::new();
            for path in with_outputs(call, false)? {
                all.extend(call.store()?.referrers(&path)?);
            }
            print_sorted(call, &all)?;
        }
        Query::ReferrersClosure => {
            let follow = Follow { referrers: true, ..Follow::default() };
            let paths = closure(&**call.store()?, &with_outputs(call, false)?, &follow)?;
            print_sorted(call, &paths)?;
        }
        Query::Deriver => {
            for path in call.paths()? {
                let deriver = call.store()?.path_info(&path)?.info.deriver;
                println!("{}", deriver.map_or("unknown-deriver".to_owned(), |deriver| call.show(&deriver)));
            }
        }
        Query::ValidDerivers => {
            let mut all = BTreeSet::new();
            for path in call.paths()? {
                all.extend(call.store()?.valid_derivers(&path)?);
            }
            print_sorted(call, &all)?;
        }
        Query::Binding => binding(call)?,
        Query::Hash => {
            for path in with_outputs(call, false)? {
                println!("{}", call.store()?.path_info(&path)?.info.nar_hash.format(HashFormat::Nix32, true));
            }
        }
        Query::Size => {
            for path in with_outputs(call, false)? {
                println!("{}", call.store()?.path_info(&path)?.info.nar_size);
            }
        }
        Query::Tree => tree(call)?,
        Query::Graph => graph(call)?,
        Query::GraphMl => graph_ml(call)?,
        Query::Resolve => print_all(call, call.paths()?),
        Query::Roots => roots(call)?,
    }
    Ok(0)
}

fn print_all(call: &Call, paths: impl IntoIterator<Item = StorePath>) {
    for path in paths {
        println!("{}", call.show(&path));
    }
}

fn print_sorted(call: &Call, paths: &BTreeSet<StorePath>) -> Outcome<()> {
    print_all(call, topologically_sorted(&**call.store()?, paths)?);
    Ok(())
}

/// Returns the paths of the command line, derivations replaced by their outputs if that is wanted.
fn with_outputs(call: &Call, always: bool) -> Outcome<Vec<StorePath>> {
    let paths = call.paths()?;
    if call.has(&["--force-realise", "--force-realize", "-f"]) {
        let wanted: Vec<_> = paths.iter().cloned().map(nixlang_build::DerivedPath::from_path).collect();
        build(&call.context, &wanted, BuildFlags::default())?;
    }
    if !always && !call.has(&["--use-output", "-u"]) {
        return Ok(paths);
    }
    let mut all = Vec::new();
    for path in paths {
        if path.is_derivation() {
            for output in call.store()?.derivation_outputs(&path)?.into_values().collect::<BTreeSet<_>>() {
                let unknown = "Cannot use output path of floating content-addressing derivation until we know what it is (e.g. by building it)";
                all.push(output.ok_or_else(|| crate::failure::Failure::new(unknown))?);
            }
        } else {
            all.push(path);
        }
    }
    Ok(all)
}

/// Returns the derivation that a path is, or was built from.
fn derivation_of(call: &Call, path: StorePath) -> Outcome<StorePath> {
    if path.is_derivation() {
        return Ok(path);
    }
    let deriver = call.store()?.path_info(&path)?.info.deriver;
    deriver.ok_or_else(|| Failure::new(format!("deriver of path '{}' is not known", call.show(&path))))
}

fn binding(call: &Call) -> Outcome<()> {
    let Some((name, words)) = call.words.split_first() else { return Err(Failure::Usage("expected binding name".into())) };
    for word in words {
        let path = derivation_of(call, call.path(word)?)?;
        let derivation = call.store()?.read_derivation(&path)?;
        let missing = || Failure::new(format!("derivation '{}' has no environment binding named '{name}'", call.show(&path)));
        let value = derivation.env.iter().find(|(key, _)| AsRef::<[u8]>::as_ref(key) == name.as_bytes()).ok_or_else(missing)?.1;
        println!("{}", String::from_utf8_lossy(AsRef::<[u8]>::as_ref(value)));
    }
    Ok(())
}

/// Prints references as a tree; what was printed before is not unfolded again.
fn tree(call: &Call) -> Outcome<()> {
    let store = call.store()?;
    let mut done = HashSet::new();
    // What is still to be printed, last first: a path, what stands before it, and what stands before those below it.
    let mut stack: Vec<(StorePath, String, String)> = call.paths()?.into_iter().rev().map(|path| (path, String::new(), String::new())).collect();
    while let Some((path, first, rest)) = stack.pop() {
        if !done.insert(path.clone()) {
            println!("{first}{} [...]", call.show(&path));
            continue;
        }
        println!("{first}{}", call.show(&path));
        let references = store.path_info(&path)?.info.references;
        let sorted = topologically_sorted(&**store, &references)?;
        let n = sorted.len();
        for (i, reference) in sorted.into_iter().enumerate().rev() {
            let (own, below) = if i + 1 == n { ("└───", "    ") } else { ("├───", "│   ") };
            stack.push((reference, format!("{rest}{own}"), format!("{rest}{below}")));
        }
    }
    Ok(())
}

/// Prints references as a graph for Graphviz.
fn graph(call: &Call) -> Outcome<()> {
    let store = call.store()?;
    println!("digraph G {{");
    let mut left: BTreeSet<StorePath> = with_outputs(call, false)?.into_iter().collect();
    let mut done = BTreeSet::new();
    while let Some(path) = left.pop_first() {
        if !done.insert(path.clone()) {
            continue;
        }
        let base = path.base_name();
        println!("\"{base}\" [label = \"{}\", shape = box, style = filled, fillcolor = \"#ff0000\"];", path.name());
        for reference in store.path_info(&path)?.info.references {
            if reference != path {
                println!("\"{}\" -> \"{base}\" [color = \"black\"];", reference.base_name());
                left.insert(reference);
            }
        }
    }
    println!("}}");
    Ok(())
}

/// Prints references as GraphML. (Names and paths have no character that XML would take for its own.)
fn graph_ml(call: &Call) -> Outcome<()> {
    let store = call.store()?;
    let schema = "http://graphml.graphdrawing.org/xmlns";
    println!("<?xml version='1.0' encoding='utf-8'?>\n<graphml xmlns='{schema}'");
    println!("    xmlns:xsi='http://www.w3.org/2001/XMLSchema-instance'\n    xsi:schemaLocation='{schema}/1.0/graphml.xsd'>");
    for (key, kind) in [("narSize", "long"), ("name", "string"), ("type", "string")] {
        print!("<key id='{key}' for='node' attr.name='{key}' attr.type='{kind}'/>");
    }
    println!("<graph id='G' edgedefault='directed'>");
    let mut left: BTreeSet<StorePath> = with_outputs(call, false)?.into_iter().collect();
    let mut done = BTreeSet::new();
    while let Some(path) = left.pop_first() {
        if !done.insert(path.clone()) {
            continue;
        }
        let info = store.path_info(&path)?;
        // The reference shows the name as far as its first dash, and nothing of one without.
        let name = path.name().find('-').map_or("", |dash| &path.name()[..=dash]);
        let kind = if path.is_derivation() { "derivation" } else { "output-path" };
        println!("  <node id=\"{}\">", path.base_name());
        println!("    <data key=\"narSize\">{}</data>\n    <data key=\"name\">{name}</data>", info.info.nar_size);
        println!("    <data key=\"type\">{kind}</data>\n  </node>");
        for reference in info.info.references.into_iter().filter(|reference| *reference != path) {
            println!("  <edge source=\"{}\" target=\"{}\"/>", path.base_name(), reference.base_name());
            left.insert(reference);
        }
    }
    println!("</graph>\n</graphml>");
    Ok(())
}

fn roots(call: &Call) -> Outcome<()> {
    let store = call.store()?;
    let settings = &call.context.settings;
    let follow = Follow { referrers: true, outputs: settings.is_on("keep-outputs"), derivers: settings.is_on("keep-derivations") };
    let referrers = closure(&**store, &with_outputs(call, false)?, &follow)?;
    for (path, links) in store.find_roots(&mut |_| {})? {
        if referrers.contains(&path) {
            for link in links {
                println!("{link} -> {}", call.show(&path));
            }
        }
    }
    Ok(())
}

pub(super) fn read_log(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    for path in call.paths()? {
        crate::commands::log::print(&call.context, &path)?;
    }
    Ok(0)
}

pub(super) fn print_env(call: &Call) -> Outcome<u8> {
    call.only(&[])?;
    let [word] = &call.words[..] else { return Err(Failure::Usage("'--print-env' requires one derivation store path".into())) };
    let derivation = call.store()?.read_derivation(&call.path(word)?)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for (name, value) in &derivation.env {
        let name = text(name.as_ref());
        println!("export {name}; {name}={}\n", quote(&text(value.as_ref())));
    }
    let arguments: Vec<String> = derivation.args.iter().map(|argument| text(argument.as_ref())).collect();
    println!("export _args; _args={}", quote(&arguments.join(" ")));
    Ok(0)
}

/// Returns a word for the shell.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
