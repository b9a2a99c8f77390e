//! Hostile, odd and broken text.

use super::*;

/// Runs with the smallest stack that anybody may have.
fn on_small_stack(run: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(1 << 20)
            .spawn_scoped(scope, run)
            .expect("a small thread can be had")
            .join()
            .expect("the thread ends well");
    });
}

#[test]
fn hostile_nesting_neither_overflows_nor_loses_text() {
    for (piece, end) in [
        ("(", ""),
        ("[", ""),
        ("{", ""),
        ("!", "1"),
        ("-", "1"),
        ("{a=", "1"),
        ("x: ", "1"),
        ("{x}: ", "1"),
        ("1+", "1"),
        ("1->", "1"),
        ("if ", "1"),
        ("let a = ", "1"),
        ("with a; ", "1"),
        ("\"${", ""),
        ("''${", ""),
        ("./${", ""),
        ("a.b or ", "1"),
        ("{x ? ", "1"),
        (")", ""),
        ("= ", ""),
        ("é", ""),
        ("inherit ", ""),
    ] {
        let length = if "([!-".contains(piece) { 1_000_000 } else { 100_000 };
        let source = piece.repeat(length / piece.len()) + end;
        on_small_stack(|| {
            let parsed = parse(&source, ParseOptions::default()).expect("short enough");
            assert!(!parsed.errors().is_empty(), "{piece}");
            let root = parsed.root();
            assert!(root.text() == source.as_str(), "{piece}");
            drop(parsed);
            assert!(root.descendants().count() > 1);
        });
    }
}

#[test]
fn what_nests_less_than_the_limit_is_fine() {
    let depth = MAX_DEPTH as usize - 10;
    for (before, after) in [("(", ")"), ("[", "]"), ("!", ""), ("x: ", ""), ("1 + ", "")] {
        let source = before.repeat(depth) + "1" + &after.repeat(depth);
        on_small_stack(|| {
            let parsed = parse(&source, ParseOptions::default()).expect("short enough");
            assert_eq!(parsed.errors(), [], "{before}");
            assert!(parsed.root().text() == source.as_str());
        });
    }
}

#[test]
fn bytes_that_are_no_text_are_an_error_of_their_own() {
    let error = parse_bytes(b"\"a\xff\"", ParseOptions::default()).expect_err("not UTF-8");
    assert_eq!(error, ParseError::NotUtf8 { position: 2 });
}

#[test]
fn positions_outside_of_the_text_find_nothing() {
    let root = parse("a b", ParseOptions::default()).expect("short enough").root();
    assert_eq!(root.token_at(2).map(|token| token.text().to_owned()), Some("b".to_owned()));
    assert_eq!(root.token_at(3), None);
    assert_eq!(root.token_at(u32::MAX), None);
    assert_eq!(root.token_before(0), None);
    assert_eq!(root.covering_element(TextRange { start: 0, end: 4 }), None);
    assert_eq!(root.covering_element(TextRange { start: 2, end: 1 }), None);
    let token = root.token_at(0).expect("there is text");
    assert_eq!(token.prev_token(), None);
    assert_eq!(token.next_token().map(|it| it.text_range()), Some(TextRange { start: 1, end: 2 }));
}

#[test]
fn characters_are_never_split() {
    for source in
        ["''\\é''", "é", "''a''\\€b''", "\"\\é\"", "1 é€ 2", "${é}", "./é", "<é>", "#é", "''$é'é''"]
    {
        let parsed = parse(source, ParseOptions::default()).expect("short enough");
        assert!(parsed.root().text() == source, "{source}");
    }
}
