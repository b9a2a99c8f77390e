//! What packages say, and what they say that is wrong.

use super::*;
use crate::eval::{EvalOptions, session};
use crate::host::MemoryHost;
use crate::source::Origin;

const PACKAGE: &str = r#"let p = name: more: { type = "derivation"; inherit name; } // more; store = "/nix/store/00000000000000000000000000000000-"; in "#;

/// Evaluates an expression, in which `p` makes packages, and asks its packages.
fn ask<R: Send>(text: &str, options: FindOptions<'static>, ask: impl for<'e, 'h> FnOnce(EvalResult<Vec<Package<'e, 'h>>>) -> R + Send) -> R {
    session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
        let value = eval.eval_text(format!("{PACKAGE}{text}").as_bytes(), Origin::String, b"/").expect("the text is right");
        let options = FindOptions { arguments: None, prefix: options.prefix, skips_failed_assertions: options.skips_failed_assertions };
        ask(find(eval, value, &options))
    })
    .expect("there is memory for a session")
}

#[track_caller]
fn check_found(text: &str, skips_failed_assertions: bool, expected: &str) {
    let options = FindOptions { skips_failed_assertions, ..FindOptions::default() };
    let found = ask(text, options, |found| match found {
        Ok(packages) => packages.iter().map(|package| format!("{}={}", package.attribute_path(), package.name().expect("it was asked"))).collect::<Vec<_>>().join(" "),
        Err(error) => shown(&error),
    });
    assert_eq!(found, expected, "{text}");
}

/// The frames, outermost first, and the message.
fn shown(error: &EvalError) -> String {
    error.frames().map(|frame| format!("{}: ", frame.message)).collect::<String>() + &error.data().message
}

#[test]
fn what_is_found() {
    let check = |text, expected| check_found(text, false, expected);
    check(r#"p "x" { }"#, "=x");
    check(r#"{ a = p "x" { }; b = [ (p "y" { }) ]; }"#, "a=x");
    check(r#"{ b = p "y" { }; a = p "x" { }; }"#, "a=x b=y");
    check(r#"[ (p "x" { }) { a = p "y" { }; } [ (p "z" { }) ] ]"#, "0=x 1.a=y 2.0=z");
    check(r#"{ a = { recurseForDerivations = true; b = p "x" { }; }; c = { recurseForDerivations = false; d = p "y" { }; }; e.f = p "z" { }; }"#, "a.b=x");
    check(r#"{ _combineChannels = [ ]; one = { x = p "x" { }; }; two = { }: { y = p "y" { }; }; }"#, "one.x=x two.y=y");
    check(r#"{ a ? "x" }: { b = p a { }; }"#, "b=x");
    check(r#"let x = p "x" { }; in { a = x; b = x; c = p "x" { }; }"#, "a=x c=x");
    check(r#"{ "a.b" = p "x" { }; "0" = p "y" { }; "a+b-c_1" = p "z" { }; }"#, "a+b-c_1=z");
    check(r#"{ a = 1; b = x: x; }"#, "");
}

#[test]
fn what_is_no_package() {
    let check = |text, expected| check_found(text, false, expected);
    check("1", "expression does not evaluate to a derivation (or a set or list of those)");
    check("[ 1 ]", "expression does not evaluate to a derivation (or a set or list of those)");
    check(r#"{ type = "derivation"; }"#, "derivation name missing");
    check(r#"{ a = { type = "derivation"; name = 1; }; }"#, "while evaluating the attribute 'a': while evaluating the 'name' attribute of a derivation: expected a string but found an integer: 1");
    check(r#"{ a.recurseForDerivations = 1; }"#, "while evaluating the attribute 'a': while evaluating the attribute `recurseForDerivations`: expected a Boolean but found an integer: 1");
    check(r#"{ a = throw "no"; }"#, "while evaluating the attribute 'a': while calling the 'throw' builtin: no");
}

#[test]
fn failed_assertions_are_skipped() {
    let check = |text, expected| check_found(text, true, expected);
    check(r#"{ a = throw "no"; b = p (assert false; "y") { }; c = p "x" { }; }"#, "c=x");
    check(r#"[ (throw "no") (p "x" { }) ]"#, "1=x");
    check(r#"{ a = abort "no"; }"#, "while evaluating the attribute 'a': while calling the 'abort' builtin: evaluation aborted with the following error message: 'no'");
    check(r#"{ a = { recurseForDerivations = throw "no"; }; }"#, "while evaluating the attribute 'a': while evaluating the attribute `recurseForDerivations`: while calling the 'throw' builtin: no");
}

#[test]
fn a_prefix_begins_paths() {
    let options = FindOptions { prefix: "pkgs".to_owned(), ..FindOptions::default() };
    let paths = ask(r#"{ a = p "x" { }; }"#, options, |found| found.expect("it is fine").iter().map(|package| package.attribute_path().to_owned()).collect::<Vec<_>>());
    assert_eq!(paths, ["pkgs.a"]);
}

/// Asks one package, and checks what it says, errors included.
#[track_caller]
fn check(text: &str, question: impl for<'e, 'h> Fn(&Package<'e, 'h>) -> EvalResult<String> + Send + Sync, expected: &str) {
    let answer = ask(text, FindOptions::default(), |found| {
        let found = found.expect("there is a package");
        question(&found[0]).unwrap_or_else(|error| shown(&error))
    });
    assert_eq!(answer, expected, "{text}");
}

fn outputs(outputs: EvalResult<Outputs>) -> EvalResult<String> {
    let one = |(name, path): (String, Option<StorePath>)| path.map_or(name.clone(), |path| format!("{name}={}", path.name()));
    Ok(outputs?.into_iter().map(one).collect::<Vec<_>>().join(" "))
}

#[test]
fn paths() {
    let path = |package: &Package<'_, '_>| Ok(package.out_path()?.to_string());
    check(r#"p "x" { }"#, path, "derivation does not have attribute 'outPath'");
    check(r#"p "x" { outPath = store + "x"; }"#, path, "00000000000000000000000000000000-x");
    check(r#"p "x" { outPath = "/x"; }"#, path, "while evaluating the output path of a derivation: path '/x' is not in the Nix store");
    let derivation = |package: &Package<'_, '_>| Ok(package.require_derivation_path()?.to_string());
    check(r#"p "x" { }"#, derivation, "derivation does not contain a 'drvPath' attribute");
    check(r#"p "x" { drvPath = store + "x.drv"; }"#, derivation, "00000000000000000000000000000000-x.drv");
    let message = "while evaluating the 'drvPath' attribute of a derivation: store path '00000000000000000000000000000000-x' is not a valid derivation path";
    check(r#"p "x" { drvPath = store + "x"; }"#, derivation, message);
    check(r#"p "x" { }"#, |package| package.system(), "unknown");
    check(r#"p "x" { }"#, |package| package.output_name(), "");
}

#[test]
fn outputs_and_which_are_installed() {
    let (names, paths) = (|package: &Package<'_, '_>| outputs(package.outputs(false)), |package: &Package<'_, '_>| outputs(package.outputs(true)));
    check(r#"p "x" { }"#, names, "out");
    check(r#"p "x" { outputs = [ "out" "dev" "gone" ]; out.outPath = store + "o"; dev = { }; }"#, names, "dev gone out");
    check(r#"p "x" { outputs = [ "out" "dev" "gone" ]; out.outPath = store + "o"; dev = { }; }"#, paths, "out=o");
    check(r#"p "x" { outputs = 1; }"#, names, "while evaluating the 'outputs' attribute of a derivation: expected a list but found an integer: 1");
    let installed = |package: &Package<'_, '_>| outputs(package.outputs_to_install(false));
    check(r#"p "x" { outputs = [ "out" "dev" ]; }"#, installed, "dev out");
    check(r#"p "x" { outputs = [ "out" "dev" ]; meta.outputsToInstall = [ "dev" ]; }"#, installed, "dev");
    check(r#"p "x" { outputs = [ "out" "dev" ]; meta.outputsToInstall = [ ]; }"#, installed, "");
    check(r#"p "x" { outputs = [ "out" "dev" ]; meta.outputsToInstall = [ "doc" ]; }"#, installed, "this derivation has bad 'meta.outputsToInstall'");
    check(r#"p "x" { meta.outputsToInstall = "out"; }"#, installed, "this derivation has bad 'meta.outputsToInstall'");
    check(r#"p "x" { meta.outputsToInstall = [ 42 ]; }"#, installed, "this derivation has bad 'meta.outputsToInstall'");
    check(r#"p "x" { outputs = [ "out" "dev" ]; outputSpecified = true; outputName = "dev"; }"#, installed, "dev");
    check(r#"p "x" { outputSpecified = true; outputName = "dev"; }"#, installed, "derivation does not have output 'dev'");
    let message = "while evaluating the 'outputSpecified' attribute of a derivation: expected a Boolean but found a string: \"yes\"";
    check(r#"p "x" { outputSpecified = "yes"; }"#, installed, message);
}

#[test]
fn meta_is_plain_data() {
    let is_there = |name: &'static str| move |package: &Package<'_, '_>| Ok(package.meta(name)?.is_some().to_string());
    check(r#"p "x" { }"#, is_there("a"), "false");
    check(r#"p "x" { meta.a = [ 1 2.5 { b = true; } ]; }"#, is_there("a"), "true");
    check(r#"p "x" { meta.a = x: x; }"#, is_there("a"), "false");
    check(r#"p "x" { meta.a = [ null ]; }"#, is_there("a"), "false");
    check(r#"p "x" { meta.a.b.outPath = "/x"; }"#, is_there("a"), "false");
    check(r#"p "x" { meta = 1; }"#, is_there("a"), "while evaluating the 'meta' attribute of a derivation: expected a set but found an integer: 1");
    check(r#"p "x" { meta.a = let x = { inherit x; }; in x; }"#, is_there("a"), "stack overflow; max-call-depth exceeded");
    check(r#"p "x" { meta = { b = 1; a = throw "not asked"; }; }"#, |package| Ok(package.meta_names()?.join(" ")), "a b");
    check(r#"p "x" { meta.a = "12"; }"#, |package| Ok(format!("{:?} {:?}", package.meta_int("a")?, package.meta_string("a")?)), r#"Some(12) Some("12")"#);
    check(r#"p "x" { meta.a = 1; }"#, |package| Ok(format!("{:?} {:?} {:?}", package.meta_int("a")?, package.meta_float("a")?, package.meta_bool("a")?)), "Some(1) None None");
    check(r#"p "x" { meta.a = "true"; meta.b = "0.5"; }"#, |package| Ok(format!("{:?} {:?}", package.meta_bool("a")?, package.meta_float("b")?)), "Some(true) Some(0.5)");
}

#[test]
fn the_place_of_a_set_without_end() {
    let text = "let x = { inherit x; }; in { type = \"derivation\"; name = \"x\"; meta.a = x; }";
    let place = session(|| Box::new(MemoryHost::default()), EvalOptions::default(), |eval| {
        let value = eval.eval_text(text.as_bytes(), Origin::String, b"/").expect("the text is right");
        let package = package(eval, value, false).expect("it has a name").expect("it is a package");
        eval.show_pos(package.meta("a").expect_err("it has no end").data().pos)
    });
    assert_eq!(place.expect("there is memory for a session"), "«string»:1:9");
}
