//! Recorded answers of the reference, messages with their excerpts, and hostile input.

use super::*;
use crate::text::json::write_string;
use crate::text::number::format_json;

fn print(value: &TomlValue) -> String {
    let quoted = |text: &[u8]| {
        let mut output = Vec::new();
        write_string(&mut output, text).expect("the parser gives UTF-8");
        String::from_utf8(output).expect("the parser gives UTF-8")
    };
    match value {
        TomlValue::Boolean(value) => value.to_string(),
        TomlValue::Integer(value) => value.to_string(),
        TomlValue::Float(value) => format_json(*value),
        TomlValue::String(text) => quoted(text),
        TomlValue::Timestamp(text) => format!(r#"{{"_type":"timestamp","value":"{text}"}}"#),
        TomlValue::Array(items) => {
            let items: Vec<String> = items.iter().map(print).collect();
            format!("[{}]", items.join(","))
        }
        TomlValue::Table(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}:{}", quoted(name), print(value))).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

fn answer(text: &str, timestamps: bool) -> String {
    match parse(text.as_bytes(), timestamps) {
        Ok(value) => print(&value),
        Err(error) => {
            let message = error.to_string();
            format!("ERR while parsing TOML: {}", message.lines().next().unwrap_or_default())
        }
    }
}

#[test]
fn recorded_cases() {
    let Some(cases) = crate::text::recorded_answers("json-toml-cases-nix2348.json") else { return };
    let mut wrong = Vec::new();
    for case in cases.iter().filter(|case| case[0] == "toml") {
        for (expected, timestamps) in [(&case[2], false), (&case[3], true)] {
            let actual = answer(&case[1], timestamps);
            if actual != *expected {
                wrong.push(format!("{:?}: expected {expected}, got {actual}", case[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_with_excerpts() {
    let check = |text: &str, expected: &[&str]| {
        let message = parse(text.as_bytes(), true).expect_err("the text is wrong").to_string();
        assert_eq!(message.lines().collect::<Vec<_>>(), expected);
    };
    // The output of Nix 2.34.8.
    check(
        "attr = 9223372036854775808",
        &[
            "[error] toml::parse_dec_integer: too large integer: current max digits = 2^63",
            " --> fromTOML",
            "   |",
            " 1 | attr = 9223372036854775808",
            "   |                           ^-- must be < 2^63",
        ],
    );
    check(
        "[a.b]\nx=1\n[[a.b]]",
        &[
            "[error] toml::insert_value: failed to insert an array of tables, value already exists",
            " --> fromTOML",
            "   |",
            " 3 | [[a.b]]",
            "   | ^^^^^^^-- while inserting this",
            "   | ...",
            "   |",
            " 1 | [a.b]",
            "   | ^^^^^-- non-table value already exists",
        ],
    );
    check(
        "a=1.e5",
        &[
            "[error] bad float: invalid format",
            " --> fromTOML",
            "   |",
            " 1 | a=1.e5",
            "   |    ^-- here",
            "Hint: valid  : +1.0, -2e-2, 3.141_592_653_589, inf, nan",
            "Hint: invalid: .0, 1., _1.0, 1.0_, 1_.0, 1.0__0",
        ],
    );
}

#[test]
fn tables_opened_twice() {
    for (text, expected) in [
        ("a.b=1\n[a.c]\nd=1", r#"{"a":{"b":1,"c":{"d":1}}}"#),
        ("[[a]]\n[[a.b]]\n[a.b.c]\nx=1\n[[a.b]]", r#"{"a":[{"b":[{"c":{"x":1}},{}]}]}"#),
        ("[[a.b.c]]\n[a.b]\nx=1\n[a]", r#"{"a":{"b":{"c":[{}],"x":1}}}"#),
        ("[[a]]\nb.c=1\n[[a]]\nb.c=2", r#"{"a":[{"b":{"c":1}},{"b":{"c":2}}]}"#),
        ("[a.b.c]\n[a]\nb.d=1", "ERR while parsing TOML: [error] toml::insert_value: reopening a table using dotted keys"),
        (
            "a={b={c=1}, b.d=1}",
            "ERR while parsing TOML: [error] toml::insert_value: failed to insert a value: inline table is immutable",
        ),
        (
            "a=[{b=1}]\n[a.c]",
            "ERR while parsing TOML: [error] toml::insert_value:inline array of tables are immutable",
        ),
    ] {
        assert_eq!(answer(text, true), expected, "{text:?}");
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let depth = 1_000_000;
    for text in ["[".repeat(depth), format!("a={}", "[".repeat(depth)), format!("a={}", "{a=".repeat(depth))] {
        assert!(matches!(parse(text.as_bytes(), true), Err(TomlError::Syntax(_))));
    }
    assert!(parse(format!("[{}a]", "a.".repeat(depth)).as_bytes(), true).is_err());
    assert!(parse(format!("{}a=1", "a.".repeat(depth)).as_bytes(), true).is_err());
    assert!(parse(format!("a={}1{}", "[".repeat(200), "]".repeat(200)).as_bytes(), true).is_ok());
}

#[test]
fn text_that_is_not_utf8() {
    for text in [&b"a=\"\xFF\""[..], b"a='\xFF'", b"# \xFF", b"a=\"\"\"\xC3\"\"\"", b"\xFF=1"] {
        assert!(parse(text, true).is_err(), "{text:?}");
    }
}
