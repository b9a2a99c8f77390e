//! Recorded answers of the reference, and the limits.

use super::*;

/// `match`'s or `split`'s answer as JSON.
fn answer(function: &str, pattern: &str, subject: &str) -> Result<serde_json::Value, RegexError> {
    let regex = Regex::new(pattern.as_bytes())?;
    let text = |range: Range<usize>| {
        serde_json::Value::from(String::from_utf8_lossy(&subject.as_bytes()[range]).into_owned())
    };
    let groups = |groups: Captures| {
        groups.into_iter().map(|group| group.map_or(serde_json::Value::Null, text)).collect::<serde_json::Value>()
    };
    Ok(match function {
        "match" => regex
            .full_match(subject.as_bytes())?
            .map_or(serde_json::Value::Null, groups),
        _ => regex
            .split(subject.as_bytes())?
            .into_iter()
            .map(|piece| match piece {
                Piece::Text(range) => text(range),
                Piece::Match(captures) => groups(captures),
            })
            .collect(),
    })
}

fn check_recorded(file: &str) {
    let Some(cases) = crate::text::recorded_answers(file) else { return };
    let mut wrong = Vec::new();
    for case in &cases {
        let [function, pattern, subject, expected] = case.as_slice() else {
            panic!("a case has four fields: {case:?}");
        };
        let actual = answer(function, pattern, subject);
        let is_right = match &actual {
            Err(_) => expected.contains("ERR") || expected.contains("invalid regular expression"),
            Ok(value) => {
                let inner: Option<String> = serde_json::from_str(expected).ok();
                inner.is_some_and(|inner| {
                    serde_json::from_str::<serde_json::Value>(&inner).is_ok_and(|expected| expected == *value)
                })
            }
        };
        if !is_right {
            wrong.push(format!("{function} {pattern:?} {subject:?}: expected {expected}, got {actual:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn recorded_cases() {
    check_recorded("regex-cases-nix2348.json");
}

#[test]
fn recorded_nixpkgs_patterns() {
    check_recorded("regex-nixpkgs-patterns-nix2348.json");
}

#[test]
fn exponential_searches_end() {
    let text = "a".repeat(10_000);
    // Has the same order elsewhere, so it takes linear time there.
    assert_eq!(answer("match", "(a|aa)*c", &text), Ok(serde_json::Value::Null));
    assert_eq!(answer("match", "(a|aa)*", &text), Ok(serde_json::json!(["a"])));
    // Hasn't: the budget ends it.
    let program = Program::new(&parse::parse(b"(a*)*(a*)*(a*)*c").expect("this is an expression"));
    assert_eq!(Executor::new(&program, text.as_bytes(), 100_000).run(0, Mode::Full), Err(OutOfBudget));
}

#[test]
fn long_texts_need_no_call_stack() {
    let text = "ab".repeat(2_000_000);
    assert_eq!(answer("match", "(a|b)*", &text), Ok(serde_json::json!(["b"])));
    assert_eq!(answer("match", "((((((.))))))*", &text), Ok(serde_json::json!(vec!["b"; 6])));
    assert_eq!(answer("split", "(x)", &text).map(|pieces| pieces.as_array().map(Vec::len)), Ok(Some(1)));
}

#[test]
fn large_patterns_are_refused() {
    let nested = format!("{}a{}", "(".repeat(900), "**)".repeat(900));
    for pattern in [nested, "(".repeat(1_000_000), "a{60000}{2}".to_owned(), "((a{100}){100}){100}".to_owned(), "a**".repeat(1_000_000)] {
        assert_eq!(Regex::new(pattern.as_bytes()).err(), Some(RegexError::TooLarge), "{:.20}", pattern);
    }
    assert_eq!(Regex::new(b"a{99999999999}").err(), Some(RegexError::Invalid));
}
