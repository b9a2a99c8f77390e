//! Names: what each means, and what renaming does.

use super::{Meaning, Names, RenameError, apply, rename};
use crate::syntax::tree::{ParseOptions, parse};

/// Compares all uses with what they mean: `name@offset -> definition's offset`.
#[track_caller]
fn check(text: &str, expected: &str) {
    let names = Names::of(&parse(text, ParseOptions::default()).expect("short"));
    let shown: Vec<String> = names
        .uses
        .iter()
        .map(|it| {
            let meaning = match &it.meaning {
                Meaning::Definition(index) => names.definitions[*index].sites[0].start.to_string(),
                Meaning::Global => "global".into(),
                Meaning::With(withs) => format!("with {}", withs.iter().map(|range| range.start.to_string()).collect::<Vec<_>>().join(" ")),
                Meaning::Undefined => "undefined".into(),
            };
            format!("{}@{} -> {meaning}", it.name, it.range.start)
        })
        .collect();
    assert_eq!(shown.join(", "), expected, "{text}");
}

#[test]
fn scopes() {
    check("let a = b; b = 1; in a", "b@8 -> 11, a@21 -> 4");
    check("x: { y = x; z = y; }", "x@9 -> 0, y@16 -> undefined");
    check("rec { y = 1; z = y; }", "y@17 -> 6");
    check("{ a, b ? a, ... }@c: a b c", "a@9 -> 2, a@21 -> 2, b@23 -> 5, c@25 -> 18");
    check("x: let inherit x; in x", "x@15 -> 0, x@21 -> 15");
    check("x: let inherit (x) x; in x", "x@16 -> 19, x@25 -> 19");
    check("x: rec { inherit x; y = x; }", "x@17 -> 0, x@24 -> 17");
    check("with a; let b = 1; in with c; b map d", "a@5 -> undefined, c@27 -> with 0, b@30 -> 12, map@32 -> global, d@36 -> with 22 0");
    check("let a.b = 1; a.c = a; in a.b", "a@19 -> 4, a@25 -> 4");
    check("let \"a\" = 1; in \"${a}\"", "a@19 -> 4");
    check("let { body = a; a = 1; }", "a@13 -> 16");
    check("let true = 1; in true", "true@17 -> 4");
}

#[test]
fn broken_text_has_names_too() {
    check("let a = 1; in { b = a; c = ", "a@20 -> 4");
    check("a: { x = ; y = a; }", "a@15 -> 0");
}

#[test]
fn renaming() {
    let check = |text: &str, name: &str, expected: Result<&str, RenameError>| {
        let offset = text.find('§').expect("the place is marked") as u32;
        let text = text.replacen('§', "", 1);
        let renamed = rename(&text, offset, name).map(|edits| apply(&text, &edits));
        assert_eq!(renamed, expected.map(str::to_owned), "{text}");
    };
    check("let §a = 1; in a + a", "b", Ok("let b = 1; in b + b"));
    check("let a = 1; in §a + a", "b", Ok("let b = 1; in b + b"));
    check("let a.x = 1; a.y = 2; in §a", "b", Ok("let b.x = 1; b.y = 2; in b"));
    check("§x: { inherit x y; }", "z", Ok("z: { inherit y; x = z; }"));
    check("{ a }@§all: all", "args", Ok("{ a }@args: args"));
    let captured = |name: &str, position| Err(RenameError::Captured { name: name.into(), position });
    check("let §a = 1; in b: a", "b", captured("a", 17));
    check("let §a = 1; b = 2; in b", "b", captured("b", 4));
    check("b: let §a = 1; in b", "b", captured("b", 17));
    check("with x; let §a = 1; in b", "b", captured("b", 22));
    check("{ §a }: a", "b", Err(RenameError::VisibleOutside { name: "a".into(), kind: "formal" }));
    check("rec { a = 1; b = §a; }", "c", Err(RenameError::VisibleOutside { name: "a".into(), kind: "attribute" }));
    check("let inherit (x) a; in §a", "c", Err(RenameError::Inherited { name: "a".into() }));
    check("let §a = 1; in a", "let", Err(RenameError::NotAnIdentifier { name: "let".into() }));
    check("let §a = 1; in (a", "b", Err(RenameError::Broken));
    check("{ §a = 1; }", "b", Err(RenameError::NoName));
}
