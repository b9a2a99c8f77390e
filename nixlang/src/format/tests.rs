//! Small texts and what becomes of them.

use super::{FormatOptions, format};

#[track_caller]
fn check(text: &str, expected: &str) {
    let options = FormatOptions { width: 40, ..FormatOptions::default() };
    let formatted = format(text, options).expect("it is right");
    assert_eq!(formatted, expected, "{text}");
    assert_eq!(format(&formatted, options).expect("it is right"), expected, "twice: {text}");
}

#[test]
fn sets_and_lists() {
    check("{}", "{ }\n");
    check("{a=1;}", "{ a = 1; }\n");
    check("{a=1;b=2;}", "{\n  a = 1;\n  b = 2;\n}\n");
    check("[1]", "[ 1 ]\n");
    check("[1 2]", "[\n  1\n  2\n]\n");
    check("{a={b=1;};}", "{\n  a = {\n    b = 1;\n  };\n}\n");
    check("{\n}", "{\n}\n");
}
