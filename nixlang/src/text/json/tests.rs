//! Recorded answers of the reference, messages in full, and hostile input.

use super::*;

/// Writes what it receives as JSON with sorted names, as `toJSON` would.
#[derive(Default)]
struct Printer {
    open: Vec<Open>,
    result: String,
}

enum Open {
    Array(Vec<String>),
    Object(std::collections::BTreeMap<String, String>, String),
}

impl Printer {
    fn value(&mut self, text: String) -> Result<(), JsonError> {
        match self.open.last_mut() {
            None => self.result = text,
            Some(Open::Array(items)) => items.push(text),
            Some(Open::Object(members, name)) => {
                members.insert(name.clone(), text);
            }
        }
        Ok(())
    }
}

fn quoted(text: &[u8]) -> String {
    let mut output = Vec::new();
    write_string(&mut output, text).expect("the parser gives UTF-8");
    String::from_utf8(output).expect("the parser gives UTF-8")
}

impl JsonSink for Printer {
    type Error = JsonError;
    fn null(&mut self) -> Result<(), JsonError> {
        self.value("null".to_owned())
    }
    fn boolean(&mut self, value: bool) -> Result<(), JsonError> {
        self.value(value.to_string())
    }
    fn integer(&mut self, value: i64) -> Result<(), JsonError> {
        self.value(value.to_string())
    }
    fn float(&mut self, value: f64) -> Result<(), JsonError> {
        self.value(number::format_json(value))
    }
    fn string(&mut self, value: &[u8]) -> Result<(), JsonError> {
        self.value(quoted(value))
    }
    fn begin_array(&mut self) -> Result<(), JsonError> {
        self.open.push(Open::Array(Vec::new()));
        Ok(())
    }
    fn end_array(&mut self) -> Result<(), JsonError> {
        let Some(Open::Array(items)) = self.open.pop() else { panic!("an array is open") };
        self.value(format!("[{}]", items.join(",")))
    }
    fn begin_object(&mut self) -> Result<(), JsonError> {
        self.open.push(Open::Object(Default::default(), String::new()));
        Ok(())
    }
    fn key(&mut self, key: &[u8]) -> Result<(), JsonError> {
        let Some(Open::Object(_, name)) = self.open.last_mut() else { panic!("an object is open") };
        *name = quoted(key);
        Ok(())
    }
    fn end_object(&mut self) -> Result<(), JsonError> {
        let Some(Open::Object(members, _)) = self.open.pop() else { panic!("an object is open") };
        let members: Vec<String> = members.iter().map(|(name, value)| format!("{name}:{value}")).collect();
        self.value(format!("{{{}}}", members.join(",")))
    }
}

fn print(text: &[u8]) -> Result<String, JsonError> {
    let mut printer = Printer::default();
    parse(text, &mut printer)?;
    Ok(printer.result)
}

#[test]
fn recorded_cases() {
    let Some(cases) = crate::text::recorded_answers("json-toml-cases-nix2348.json") else { return };
    let mut wrong = Vec::new();
    for case in cases.iter().filter(|case| case[0] == "json") {
        let actual = print(case[1].as_bytes()).unwrap_or_else(|error| format!("ERR {error}"));
        // The recorded messages were cut.
        let is_right = match case[2].strip_prefix("ERR ") {
            Some(_) => actual.starts_with(&case[2]),
            None => actual == case[2],
        };
        if !is_right {
            wrong.push(format!("{:?}: expected {}, got {actual}", case[1], case[2]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn deep_nesting_needs_no_stack() {
    struct Nothing;
    impl JsonSink for Nothing {
        type Error = JsonError;
        fn null(&mut self) -> Result<(), JsonError> {
            Ok(())
        }
        fn boolean(&mut self, _: bool) -> Result<(), JsonError> {
            Ok(())
        }
        fn integer(&mut self, _: i64) -> Result<(), JsonError> {
            Ok(())
        }
        fn float(&mut self, _: f64) -> Result<(), JsonError> {
            Ok(())
        }
        fn string(&mut self, _: &[u8]) -> Result<(), JsonError> {
            Ok(())
        }
        fn begin_array(&mut self) -> Result<(), JsonError> {
            Ok(())
        }
        fn end_array(&mut self) -> Result<(), JsonError> {
            Ok(())
        }
        fn begin_object(&mut self) -> Result<(), JsonError> {
            Ok(())
        }
        fn key(&mut self, _: &[u8]) -> Result<(), JsonError> {
            Ok(())
        }
        fn end_object(&mut self) -> Result<(), JsonError> {
            Ok(())
        }
    }
    let depth = 1_000_000;
    let open = "[".repeat(depth);
    assert!(matches!(parse(open.as_bytes(), &mut Nothing), Err(JsonError::Syntax { .. })));
    let closed = format!("{open}{}", "]".repeat(depth));
    assert_eq!(parse(closed.as_bytes(), &mut Nothing), Ok(()));
}

#[test]
fn mixed_nesting() {
    assert_eq!(print(br#"[{"a":[{}, [], {"b":[[1]]}]}, 2]"#).as_deref(), Ok(r#"[{"a":[{},[],{"b":[[1]]}]},2]"#));
    assert!(print(b"[}").is_err());
    assert!(print(br#"{"a":1]"#).is_err());
}

#[test]
fn strings_that_are_not_utf8() {
    let check = |text: &[u8], expected: &str| {
        let error = write_string(&mut Vec::new(), text).expect_err("the text isn't UTF-8");
        assert!(error.to_string().ends_with(expected), "{error}");
    };
    check(b"_invalid UTF-8: \xFF_", "invalid UTF-8 byte at index 16: 0xFF");
    check(b"\xC3", "incomplete UTF-8 string; last byte: 0xC3");
    check(b"ab\xC3x", "invalid UTF-8 byte at index 3: 0x78");
}
