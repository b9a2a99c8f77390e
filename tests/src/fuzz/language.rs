//! Targets of the language: text in, trees, values and text out.

use std::time::Duration;

use nixlang::eval::{Budgets, ErrorKind, EvalError, EvalOptions, Evaluator, session};
use nixlang::format::{FormatOptions, format};
use nixlang::heap::{Kind, Value};
use nixlang::host::MemoryHost;
use nixlang::source::{Origin, Pos};
use nixlang::syntax::ast::{AstNode, Root};
use nixlang::syntax::tree::{ParseOptions, parse as parse_tree};
use nixlang::tools::names::Names;

use super::{Bytes, expression};

/// Budgets of an evaluation. The time is only to stop what neither steps nor bytes count.
fn budgets() -> Budgets {
    Budgets { steps: Some(200_000), heap_bytes: Some(256 << 20), time: Some(Duration::from_secs(60)), ..Budgets::default() }
}

/// Runs something with an evaluator that has no files.
fn evaluate<R: Send>(body: impl for<'h> FnOnce(&Evaluator<'h>) -> R + Send) -> R {
    let options = EvalOptions { budgets: budgets(), max_call_depth: 500, ..EvalOptions::default() };
    session(|| Box::new(MemoryHost::default()), options, body).expect("a thread is to be had")
}

fn text_value<'h>(eval: &Evaluator<'h>, text: &[u8]) -> Result<Value<'h>, EvalError> {
    eval.eval_text(text, Origin::String, b"/").and_then(|value| eval.force_deep(value))
}

fn global<'h>(eval: &Evaluator<'h>, name: &str) -> Value<'h> {
    text_value(eval, format!("builtins.{name}").as_bytes()).expect("it is there")
}

pub(super) fn parser(data: &[u8]) {
    let is_expression = evaluate(|eval| match eval.eval_text(&[b"x: (", data, b"\n)"].concat(), Origin::String, b"/") {
        Ok(_) => true,
        Err(error) => error.kind() != ErrorKind::Syntax,
    });
    let Ok(text) = std::str::from_utf8(data) else { return };
    for bindings in [false, true] {
        let parsed = parse_tree(text, ParseOptions { bindings, ..ParseOptions::default() }).expect("it is short");
        assert_eq!(parsed.root().to_string(), text, "the tree has the text");
        let mut previous = 0;
        for element in parsed.root().descendants_with_tokens().filter_map(|element| element.into_token()) {
            assert_eq!(element.text_range().start, previous, "tokens follow each other");
            previous = element.text_range().end;
        }
        let names = Names::of(&parsed);
        for it in &names.uses {
            assert_eq!(&text[it.range.start as usize..it.range.end as usize], it.name, "a use is where it stands");
            let _ = names.definition_at(it.range.start);
        }
        let _ = Root::cast(parsed.root()).and_then(|root| root.expr());
        for error in parsed.errors() {
            assert!(error.position as usize <= text.len(), "an error lies in the text");
        }
    }
    // Both consumers of the grammar find the same texts right. (A NUL byte ends a text.)
    let around = format!("x: ({text}\n)");
    let parsed = parse_tree(&around, ParseOptions::default()).expect("it is short");
    if is_expression && !text.contains('\0') {
        assert!(parsed.errors().is_empty(), "the evaluator takes it: {:?}", parsed.errors());
    }
}

/// Returns what an expression gives: the printed value, or the error.
pub(super) fn outcome(text: &[u8]) -> Result<String, (ErrorKind, String)> {
    evaluate(|eval| {
        let printed = text_value(eval, text).and_then(|value| eval.print_plain(value));
        match printed {
            Ok(text) => Ok(String::from_utf8_lossy(&text).into_owned()),
            Err(error) => Err((error.kind(), error.data().message.clone())),
        }
    })
}

pub(super) fn evaluator(data: &[u8]) {
    let text = expression(&mut Bytes::new(data));
    let first = outcome(text.as_bytes());
    assert_eq!(first, outcome(text.as_bytes()), "an evaluation is repeatable: {text}");
    if let Err((kind, message)) = &first {
        assert_ne!(*kind, ErrorKind::Syntax, "generated text is right: {message} in {text}");
    }
}

pub(super) fn formatter(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // Where it matters how a text was laid out, formatting it twice may do more than once.
    let options = FormatOptions { width: 30, pure: true, ..FormatOptions::default() };
    let Ok(formatted) = format(text, options) else { return };
    let again = format(&formatted, options).unwrap_or_else(|error| panic!("{error}: {formatted}"));
    // Comments in odd places may need a second time to come to rest, as with `nixfmt`.
    let has_comments = text.contains('#') || text.contains("/*");
    assert!(has_comments || again == formatted, "once:\n{formatted}\ntwice:\n{again}");
}

/// Builds a value of data alone.
fn data_value<'h>(eval: &Evaluator<'h>, bytes: &mut Bytes<'_>, depth: usize) -> Value<'h> {
    let n_kinds = if depth == 0 || bytes.is_empty() { 6 } else { 8 };
    match bytes.below(n_kinds) {
        0 => Value::NULL,
        1 => Value::bool(bytes.byte() & 1 == 1),
        2 => eval.heap.int(i64::from_le_bytes(std::array::from_fn(|_| bytes.byte()))),
        3 => eval.heap.int(i64::from(bytes.byte()) - 128),
        4 | 5 => eval.heap.string(bytes.piece()),
        6 => {
            let elements: Vec<_> = (0..bytes.below(5)).map(|_| data_value(eval, bytes, depth - 1)).collect();
            Value::list(eval.heap.list(elements))
        }
        _ => {
            let entries: Vec<_> = (0..bytes.below(5)).map(|_| (eval.symbols.intern(bytes.piece()), data_value(eval, bytes, depth - 1))).collect();
            eval.attrs_of(entries)
        }
    }
}

pub(super) fn printer(data: &[u8]) {
    evaluate(|eval| {
        let value = data_value(eval, &mut Bytes::new(data), 4);
        let printed = eval.print_plain(value).expect("data can be printed");
        // The notation has no negative literals and no way to write the least integer, and shows a set only once.
        let is_readable = !printed.windows("«repeated»".len()).any(|window| window == "«repeated»".as_bytes()) && !printed.windows(20).any(|window| window == b"-9223372036854775808");
        if is_readable {
            let text = negative_in_parentheses(&printed);
            let again = text_value(eval, &text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
            assert!(eval.equal(value, again, Pos::NONE, "while comparing").expect("data can be compared"), "{}", String::from_utf8_lossy(&printed));
        }
        let (json, _) = eval.to_json(value, Pos::NONE, false).map_or_else(|_| (Vec::new(), ()), |json| (json.0, ()));
        if !json.is_empty() && std::str::from_utf8(&json).is_ok() {
            let again = eval.call(global(eval, "fromJSON"), &[eval.heap.string(&json)], Pos::NONE).expect("our own JSON is JSON");
            let again = eval.force_deep(again).expect("it is data");
            assert!(eval.equal(value, again, Pos::NONE, "while comparing").expect("data can be compared"), "{}", String::from_utf8_lossy(&json));
        }
        let _ = eval.print(value, nixlang::eval::PrintOptions { indent: 2, colour: true, ..nixlang::eval::PrintOptions::ALL }).expect("data can be printed");
    });
}

/// Puts negative numbers of a printed value, outside of its strings, into parentheses, as lists want them.
fn negative_in_parentheses(printed: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut in_string = false;
    let mut i = 0;
    while i < printed.len() {
        match printed[i] {
            b'\\' if in_string => {
                out.extend_from_slice(&printed[i..(i + 2).min(printed.len())]);
                i += 2;
                continue;
            }
            b'"' => in_string = !in_string,
            b'-' if !in_string && (i == 0 || printed[i - 1] == b' ') => {
                let end = printed[i + 1..].iter().position(|byte| !byte.is_ascii_digit()).map_or(printed.len(), |end| i + 1 + end);
                out.push(b'(');
                out.extend_from_slice(&printed[i..end]);
                out.push(b')');
                i = end;
                continue;
            }
            _ => {}
        }
        out.push(printed[i]);
        i += 1;
    }
    out
}

const MAX_REGEX_TEXT: usize = 10;

pub(super) fn regex(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let (pattern, text) = (bytes.piece(), bytes.piece());
    // A loop in a loop takes exponential time, here as in the reference, up to a limit that is far away.
    let text = &text[..text.len().min(MAX_REGEX_TEXT)];
    evaluate(|eval| {
        let arguments = [eval.heap.string(pattern), eval.heap.string(text)];
        let run = |name: &str| eval.call(global(eval, name), &arguments, Pos::NONE).and_then(|value| eval.force_deep(value));
        let (split, matched) = (run("split"), run("match"));
        let (Ok(split), Ok(matched)) = (split, matched) else { return };
        let Kind::List(pieces) = split.kind() else { panic!("split gives a list") };
        assert_eq!(pieces.len() % 2, 1, "text and matches take turns");
        let mut at = 0;
        for (i, piece) in pieces.iter().enumerate() {
            match piece.kind() {
                Kind::String(piece) if i % 2 == 0 => {
                    let found = text[at..].windows(piece.bytes().len().max(1)).position(|window| window == piece.bytes());
                    assert!(piece.bytes().is_empty() || found.is_some(), "what is between matches is text");
                    at += found.map_or(0, |found| found + piece.bytes().len());
                }
                Kind::List(_) if i % 2 == 1 => {}
                other => panic!("piece {i} is of another type: {}", matches!(other, Kind::Null)),
            }
        }
        if !matches!(matched.kind(), Kind::Null) {
            assert!(pieces.len() > 1 || text.is_empty(), "what matches as a whole is found");
        }
    });
}

pub(super) fn json(data: &[u8]) {
    evaluate(|eval| {
        let parse = |text: &[u8]| eval.call(global(eval, "fromJSON"), &[eval.heap.string(text)], Pos::NONE).and_then(|value| eval.force_deep(value));
        let theirs = serde_json::from_slice::<serde_json::Value>(data);
        let Ok(value) = parse(data) else { return };
        assert!(theirs.is_ok() || has_huge_number(data), "another parser refuses it: {:?}", theirs.err());
        let text = eval.to_json(value, Pos::NONE, false).expect("what came from JSON becomes JSON").0;
        let again = parse(&text).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&text)));
        assert!(eval.equal(value, again, Pos::NONE, "while comparing").expect("data can be compared"), "{}", String::from_utf8_lossy(&text));
    });
}

/// Numbers beyond what a double holds are refused by some parsers.
fn has_huge_number(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b'e' | b'E')) || text.split(|byte| !byte.is_ascii_digit()).any(|digits| digits.len() > 300)
}

pub(super) fn toml(data: &[u8]) {
    evaluate(|eval| {
        let parsed = eval.call(global(eval, "fromTOML"), &[eval.heap.string(data)], Pos::NONE).and_then(|value| eval.force_deep(value));
        let Ok(value) = parsed else { return };
        assert!(matches!(value.kind(), Kind::Attrs(_)), "a document is a set");
        let printed = eval.print_plain(value).expect("data can be printed");
        let has_no_json = [&b"inf"[..], b"nan"].iter().any(|word| printed.windows(3).any(|window| window == *word));
        if std::str::from_utf8(data).is_ok() && !has_no_json {
            let json = eval.to_json(value, Pos::NONE, false).expect("it is data").0;
            assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok(), "{}", String::from_utf8_lossy(&json));
        }
    });
}
