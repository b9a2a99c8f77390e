//! That kinds, grammar file and types agree, and that the types find the parts of expressions.

use std::collections::BTreeSet;

use ungrammar::{Grammar, Rule};

use super::*;
use crate::syntax::lexer::{LexOptions, lex};
use crate::syntax::tree::{ParseOptions, parse};

const GRAMMAR: &str = include_str!("../nix.ungram");
const SOURCES: [&str; 5] = [
    include_str!("nodes.rs"),
    include_str!("bindings.rs"),
    include_str!("functions.rs"),
    include_str!("strings.rs"),
    include_str!("operators.rs"),
];

fn root(source: &str) -> Root {
    let options = ParseOptions { pipe_operators: true, bindings: false };
    let parsed = parse(source, options).expect("short enough");
    Root::cast(parsed.root()).expect("the root is a root")
}

fn expr(source: &str) -> Expr {
    root(source).expr().expect("there is an expression")
}

/// Returns the text of `impl name { … }`.
fn methods(name: &str) -> &'static str {
    let head = format!("\nimpl {name} {{");
    let found = SOURCES.iter().find_map(|source| {
        let start = source.find(&head)?;
        let end = start + source[start..].find("\n}")?;
        source.get(start..end)
    });
    found.unwrap_or_default()
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(character.to_lowercase());
    }
    snake
}

/// Adds the names of the accessors and the tokens of a rule.
fn collect(
    grammar: &Grammar,
    rule: &Rule,
    accessors: &mut BTreeSet<String>,
    tokens: &mut BTreeSet<String>,
) {
    match rule {
        Rule::Labeled { label, rule } => {
            accessors.insert(label.clone());
            // What has a label needs no accessor by its type's name.
            collect(grammar, rule, &mut BTreeSet::new(), tokens);
        }
        Rule::Node(node) => {
            accessors.insert(snake_case(&grammar[*node].name));
        }
        Rule::Token(token) => {
            tokens.insert(grammar[*token].name.clone());
        }
        Rule::Seq(rules) | Rule::Alt(rules) => {
            rules.iter().for_each(|rule| collect(grammar, rule, accessors, tokens));
        }
        Rule::Opt(rule) | Rule::Rep(rule) => collect(grammar, rule, accessors, tokens),
    }
}

/// Returns the kind of a token as `nix.ungram` writes it.
fn token_kind(name: &str) -> SyntaxKind {
    if name.starts_with(|first: char| first.is_uppercase()) {
        let named = |kind: &&SyntaxKind| kind.is_token() && format!("{kind:?}") == name;
        return *SyntaxKind::ALL.iter().find(named).expect("a kind of token has this name");
    }
    let options = LexOptions { pipe_operators: true, keep_trivia: true };
    lex(name.as_bytes(), options).tokens[0].kind
}

#[test]
fn grammar_kinds_and_types_agree() {
    let grammar: Grammar = GRAMMAR.parse().expect("the grammar is in ungrammar notation");
    let mut kinds = BTreeSet::from(["ErrorNode".to_owned()]);
    let mut tokens = BTreeSet::new();
    for node in grammar.iter() {
        let data = &grammar[node];
        let mut accessors = BTreeSet::new();
        collect(&grammar, &data.rule, &mut accessors, &mut tokens);
        let name = &data.name;
        let is_choice = match &data.rule {
            Rule::Alt(rules) => rules.iter().all(|rule| matches!(rule, Rule::Node(_))),
            _ => false,
        };
        if is_choice {
            let head = format!("\npub enum {name} {{");
            assert!(SOURCES.iter().any(|source| source.contains(&head)), "enum {name}");
            let wrapped = accessors.iter().all(|accessor| {
                let kinds = SyntaxKind::ALL.iter().map(|kind| format!("{kind:?}"));
                kinds.map(|kind| snake_case(&kind)).any(|kind| kind == *accessor)
            });
            assert!(wrapped, "{name} is a choice of nodes: {accessors:?}");
            continue;
        }
        kinds.insert(name.clone());
        let head = format!("\npub struct {name}(SyntaxNode);");
        assert!(SOURCES.iter().any(|source| source.contains(&head)), "struct {name}");
        for accessor in accessors {
            let head = format!("pub fn {accessor}(&self)");
            assert!(methods(name).contains(&head), "{name}::{accessor}");
        }
    }
    let nodes = SyntaxKind::ALL.iter().filter(|kind| !kind.is_token());
    assert_eq!(kinds, nodes.map(|kind| format!("{kind:?}")).collect());

    let written: BTreeSet<SyntaxKind> = tokens.iter().map(|name| token_kind(name)).collect();
    let unused = [SyntaxKind::Error, SyntaxKind::Eof, SyntaxKind::PathEnd];
    let meant = SyntaxKind::ALL
        .iter()
        .copied()
        .filter(|kind| kind.is_token() && !kind.is_trivia() && !unused.contains(kind));
    assert_eq!(written, meant.collect());
}

#[test]
fn strings_have_parts() {
    let parts = |source: &str| {
        let parts = match expr(source) {
            Expr::String(string) => string.parts(),
            Expr::IndString(string) => string.parts(),
            Expr::Path(path) => path.parts(),
            _ => panic!("{source} is no string"),
        };
        let show = |part: &StringPart| match part {
            StringPart::Text { value, .. } => value.clone(),
            StringPart::Interpolation(it) => it.syntax().to_string(),
        };
        parts.iter().map(show).collect::<Vec<_>>()
    };
    assert_eq!(parts(r#""a\n\${b}${c}$${d}$""#), ["a\n${b}", "${c}", "$${d}$"]);
    assert_eq!(parts("\"\""), [""; 0]);
    assert_eq!(parts("''\n  a\n    ''${b}${c}\n  ''"), ["a\n  ${b}", "${c}", "\n"]);
    assert_eq!(parts("''  ${a}\n b''"), [" ", "${a}", "\nb"]);
    assert_eq!(parts("''a '''' b''\\t''"), ["a ''' b\t"]);
    assert_eq!(parts("''a ''\\é b''"), ["a é b"]);
    assert_eq!(parts("./a${b}/c"), ["./a", "${b}", "/c"]);
}

#[test]
fn static_names_are_known() {
    let Expr::AttrSet(set) = expr("{ a.\"b c\".${\"d\"}.${''e''}.or.${f}.\"${g}\" = 1; }") else {
        panic!("this is a set");
    };
    let Some(Entry::Binding(binding)) = set.entries().next() else {
        panic!("this is a binding");
    };
    let names = binding.attr_path().map(|path| path.attrs().map(|it| it.static_name()).collect());
    let expected: Vec<Option<String>> = vec![
        Some("a".into()),
        Some("b c".into()),
        Some("d".into()),
        Some("e".into()),
        Some("or".into()),
        None,
        None,
    ];
    assert_eq!(names, Some(expected));
}

#[test]
fn parts_of_functions_are_found() {
    let Expr::Lambda(lambda) = expr("{ a, b ? 1, ... }@c: d") else {
        panic!("this is a function");
    };
    let Some(Param::Pattern(pattern)) = lambda.param() else {
        panic!("this is a pattern");
    };
    let names: Vec<_> = pattern.entries().filter_map(|it| it.ident()).collect();
    let texts: Vec<_> = names.iter().map(AstToken::text).collect();
    assert_eq!(texts, ["a", "b"]);
    let defaults: Vec<_> = pattern.entries().map(|it| it.default().is_some()).collect();
    assert_eq!(defaults, [false, true]);
    assert!(pattern.ellipsis().is_some());
    let bind = pattern.bind().and_then(|it| it.ident());
    assert_eq!(bind.as_ref().map(AstToken::text), Some("c"));
    assert_eq!(lambda.body().map(|it| it.syntax().to_string()), Some("d".into()));
}

#[test]
fn missing_parts_are_nothing() {
    let Expr::BinaryOp(operation) = expr("1 +") else {
        panic!("this is an operation");
    };
    assert_eq!(operation.operator(), Some(BinaryOperator::Add));
    assert!(operation.left().is_some());
    assert_eq!(operation.right(), None);
    let Expr::If(branch) = expr("if then 1") else {
        panic!("this is an if");
    };
    assert_eq!(branch.condition(), None);
    assert!(branch.then_branch().is_some());
    assert_eq!(branch.else_branch(), None);
}

#[test]
fn doc_comments_belong_to_what_follows() {
    let source = "/** not here */ 1 + {\n  /** Adds\n\n      two. */ # and\n  f = /* no */ /** x */ a: a;\n  g = b: b;\n}";
    let Expr::BinaryOp(operation) = expr(source) else {
        panic!("this is an operation");
    };
    let Some(Expr::AttrSet(set)) = operation.right() else {
        panic!("this is a set");
    };
    let docs: Vec<_> = set
        .entries()
        .filter_map(|entry| match entry {
            Entry::Binding(binding) => Some(binding),
            Entry::Inherit(_) => None,
        })
        .map(|binding| {
            let Some(Expr::Lambda(lambda)) = binding.value() else {
                panic!("this is a function");
            };
            let text = |doc: Option<DocComment>| doc.map(|doc| doc.content());
            (text(binding.doc_comment()), text(lambda.doc_comment()))
        })
        .collect();
    let expected = (Some("Adds\n\ntwo. ".trim_end().to_owned()), Some("x".to_owned()));
    assert_eq!(docs, [expected, (None, None)]);
}

#[test]
fn numbers_have_values() {
    let literal = |source: &str| match expr(source) {
        Expr::Literal(literal) => literal,
        _ => panic!("{source} is a literal"),
    };
    assert_eq!(literal("007").integer().and_then(|it| it.value()), Some(7));
    assert_eq!(literal(".5e1").float().and_then(|it| it.value()), Some(5.0));
    assert!(literal("a:b").uri().is_some());
}
