//! Tables of source and tree, source and error. The errors were checked against `nix-instantiate
//! --parse` 2.34.8.

use crate::syntax::error::SyntaxError;
use crate::syntax::kind::SyntaxKind;
use crate::syntax::lexer::{LexOptions, Token, lex};
use crate::syntax::parser::{Parser, Sink, Step};

/// Writes the tree as an s-expression.
struct Dump<'s, const RECOVER: bool> {
    source: &'s [u8],
    items: Vec<String>,
    frames: Vec<usize>,
    errors: Vec<SyntaxError>,
    text: Vec<u8>,
}

impl<const RECOVER: bool> Sink for Dump<'_, RECOVER> {
    type Checkpoint = usize;
    const RECOVER: bool = RECOVER;

    fn token(&mut self, token: Token) {
        assert!(token.end > token.start, "empty token {token:?}");
        let text = &self.source[token.start as usize..token.end as usize];
        self.text.extend_from_slice(text);
        if !token.kind.is_trivia() {
            self.items.push(String::from_utf8_lossy(text).into_owned());
        }
    }

    fn checkpoint(&mut self, _: u32) -> usize {
        self.items.len()
    }

    fn start(&mut self, _: SyntaxKind, _: u32) {
        self.frames.push(self.items.len());
    }

    fn start_at(&mut self, checkpoint: usize, _: SyntaxKind) {
        self.frames.push(checkpoint);
    }

    fn finish(&mut self, kind: SyntaxKind) -> Step {
        let base = self.frames.pop().expect("nodes are balanced");
        let items = self.items.split_off(base);
        let text = match (kind, items.len()) {
            (SyntaxKind::Root, _) => items.join(" "),
            (SyntaxKind::Name | SyntaxKind::Variable | SyntaxKind::Literal, 1) => items.join(" "),
            _ => format!("({kind:?} {})", items.join(" ")),
        };
        self.items.push(text);
        Ok(())
    }

    fn error(&mut self, error: SyntaxError) {
        self.errors.push(error);
    }
}

fn parse<const RECOVER: bool>(source: &[u8], limit: u32) -> Dump<'_, RECOVER> {
    let options = LexOptions {
        keep_trivia: RECOVER,
        pipe_operators: true,
    };
    let lexed = lex(source, options);
    let dump = Dump {
        source,
        items: Vec::new(),
        frames: Vec::new(),
        errors: Vec::new(),
        text: Vec::new(),
    };
    let mut parser = Parser::new(&lexed, dump, limit);
    let result = super::source(&mut parser);
    let dump = parser.into_sink();
    assert_eq!(result.is_err(), !RECOVER && !dump.errors.is_empty());
    dump
}

#[test]
fn trees() {
    for (source, expected) in [
        ("a", "a"),
        ("a-1", "a-1"),
        ("a -1", "(BinaryOp a - 1)"),
        ("1e3", "(Apply 1 e3)"),
        ("1.e3", "1.e3"),
        ("01.5", "(Apply 01 .5)"),
        ("x:x", "x:x"),
        ("x: x", "(Lambda (IdentParam x) : x)"),
        ("1/2", "(PathNode 1/2)"),
        ("1 / 2", "(BinaryOp 1 / 2)"),
        ("a/ b", "(BinaryOp a / b)"),
        ("a.b.c/d", "(PathNode a.b.c/d)"),
        ("a'b/c", "(Apply a'b (PathNode /c))"),
        ("-1/2", "(PathNode -1/2)"),
        ("a.b", "(Select a . (AttrPath b))"),
        (
            "a.b.c or d.e",
            "(Select a . (AttrPath b . c) or (Select d . (AttrPath e)))",
        ),
        ("a.or", "(Select a . (AttrPath or))"),
        ("[ f or ]", "(List [ (Apply f or) ])"),
        ("f or x", "(Apply (Apply f or) x)"),
        ("./a${b}c/d", "(PathNode ./a (Interpolation ${ b }) c/d)"),
        ("~/${x}", "(PathNode ~/ (Interpolation ${ x }))"),
        ("<a/b>", "(SearchPathNode <a/b>)"),
        ("a <b", "(BinaryOp a < b)"),
        (
            "[a\"x\"1.5./foo]",
            "(List [ a (StringNode \" x \") (PathNode 1.5./foo) ])",
        ),
        ("\"a$${b}$${c\"", "(StringNode \" a$${b}$${c \")"),
        ("\"$$${b}\"", "(StringNode \" $$ (Interpolation ${ b }) \")"),
        ("\"$\"", "(StringNode \" $ \")"),
        (
            "''a''$b'''c''\\nd$e'f''",
            "(IndStringNode '' a ''$ b ''' c ''\\n d$e'f '')",
        ),
        ("{}: 1", "(Lambda (Pattern { }) : 1)"),
        ("{}", "(AttrSet { })"),
        (
            "{ a, b ? 1, ... }@c: d",
            "(Lambda (Pattern { (PatternEntry a) , (PatternEntry b ? 1) , ... } (PatternBind @ c)) : d)",
        ),
        (
            "c@{ a, }: d",
            "(Lambda (Pattern (PatternBind c @) { (PatternEntry a) , }) : d)",
        ),
        (
            "{ a.\"b\".${c} = 1; inherit d \"e\"; inherit (f) g; }",
            "(AttrSet { (Binding (AttrPath a . (StringNode \" b \") . (DynamicAttr ${ c })) = 1 ;) (InheritBinding inherit d (StringNode \" e \") ;) (InheritBinding inherit (InheritFrom ( f )) g ;) })",
        ),
        (
            "rec { a = 1; }",
            "(AttrSet rec { (Binding (AttrPath a) = 1 ;) })",
        ),
        (
            "let a = 1; in a",
            "(LetIn let (Binding (AttrPath a) = 1 ;) in a)",
        ),
        (
            "let { body = 1; }",
            "(LegacyLet let { (Binding (AttrPath body) = 1 ;) })",
        ),
        ("!a + b", "(UnaryOp ! (BinaryOp a + b))"),
        (
            "a * !b + c == d",
            "(BinaryOp (BinaryOp a * (UnaryOp ! (BinaryOp b + c))) == d)",
        ),
        ("-a ? b", "(HasAttr (UnaryOp - a) ? (AttrPath b))"),
        ("!a ? b", "(UnaryOp ! (HasAttr a ? (AttrPath b)))"),
        ("a // b // c", "(BinaryOp a // (BinaryOp b // c))"),
        ("a -> b -> c", "(BinaryOp a -> (BinaryOp b -> c))"),
        ("a - b - c", "(BinaryOp (BinaryOp a - b) - c)"),
        ("a ++ b ++ c", "(BinaryOp a ++ (BinaryOp b ++ c))"),
        (
            "{} // {} ? b",
            "(BinaryOp (AttrSet { }) // (HasAttr (AttrSet { }) ? (AttrPath b)))",
        ),
        (
            "f a |> g |> h b",
            "(BinaryOp (BinaryOp (Apply f a) |> g) |> (Apply h b))",
        ),
        ("f <| g <| x", "(BinaryOp f <| (BinaryOp g <| x))"),
        ("x: x |> f", "(Lambda (IdentParam x) : (BinaryOp x |> f))"),
        ("1 /* a **/ # b\r+ /** c */ 2", "(BinaryOp 1 + 2)"),
        ("1 \0 )(", "1"),
        (
            "assert a; with b; if c then d else e",
            "(AssertExpr assert a ; (WithExpr with b ; (IfElse if c then d else e)))",
        ),
    ] {
        let dump = parse::<false>(source.as_bytes(), 100);
        assert_eq!(dump.errors, [], "{source:?}");
        assert_eq!(dump.items, [expected], "{source:?}");
        let dump = parse::<true>(source.as_bytes(), 100);
        assert_eq!(dump.errors, [], "{source:?}");
        assert_eq!(dump.items, [expected], "{source:?}");
        assert_eq!(dump.text, source.as_bytes());
    }
}

#[test]
fn errors() {
    for (source, position, expected) in [
        ("", 0, "syntax error, unexpected end of file"),
        ("(\n# no\n", 7, "syntax error, unexpected end of file"),
        (
            "a 1\"$",
            5,
            "syntax error, unexpected end of file, expecting '\"'",
        ),
        (
            "\"a\\",
            3,
            "syntax error, unexpected end of file, expecting '\"'",
        ),
        (
            "''a",
            3,
            "syntax error, unexpected end of file, expecting indented string or '${' or end of an indented string",
        ),
        (
            "1 )",
            2,
            "syntax error, unexpected ')', expecting end of file",
        ),
        (
            "123 é 4",
            4,
            "syntax error, unexpected invalid token, expecting end of file",
        ),
        (
            "{ a = 1 }",
            8,
            "syntax error, unexpected '}', expecting ';'",
        ),
        (
            "{ a ... }",
            4,
            "syntax error, unexpected '...', expecting '.' or '='",
        ),
        (
            "{ a, b : c }",
            7,
            "syntax error, unexpected ':', expecting '}' or ','",
        ),
        (
            "{ a, 1 }",
            5,
            "syntax error, unexpected integer, expecting identifier or '...' or '}'",
        ),
        (
            "{ 1.5 = x; }",
            2,
            "syntax error, unexpected floating-point literal, expecting 'inherit'",
        ),
        (
            "rec { 1 = x; }",
            6,
            "syntax error, unexpected integer, expecting 'inherit' or '}'",
        ),
        (
            "let a = 1; 2",
            11,
            "syntax error, unexpected integer, expecting 'in' or 'inherit'",
        ),
        ("{ inherit http://x; }", 10, "syntax error, unexpected URI"),
        (
            "if 1 else",
            5,
            "syntax error, unexpected 'else', expecting 'then'",
        ),
        (
            "a.if",
            2,
            "syntax error, unexpected 'if', expecting identifier or 'or' or '${' or '\"'",
        ),
        ("1 == 2 == 3", 7, "syntax error, unexpected '=='"),
        (
            "a |> b <| c",
            7,
            "syntax error, unexpected '<|', expecting end of file",
        ),
        (
            "./a//b",
            0,
            "syntax error, unexpected end of path, expecting '${'",
        ),
        ("./a//b ", 4, "syntax error, unexpected end of path, expecting '${'"),
        ("./a/ ", 4, "path has a trailing slash"),
        ("./a/", 0, "path has a trailing slash"),
        (
            "(./a",
            1,
            "syntax error, unexpected end of file, expecting ')'",
        ),
        (
            "9223372036854775808",
            0,
            "invalid integer '9223372036854775808'",
        ),
        ("1.0e999", 0, "invalid float '1.0e999'"),
        (
            "\"a\0\"",
            1,
            "input string 'a␀' cannot be represented as Nix string because it contains null bytes",
        ),
        ("1 /* a", 3, "syntax error, unexpected '*'"),
        ("[ or ]", 2, "syntax error, unexpected 'or'"),
        (
            "a${x}",
            1,
            "syntax error, unexpected '${', expecting end of file",
        ),
        (
            "f x: y",
            3,
            "syntax error, unexpected ':', expecting end of file",
        ),
        (
            "f { a }: y",
            6,
            "syntax error, unexpected '}', expecting '.' or '='",
        ),
        (
            "{ a } b",
            6,
            "syntax error, unexpected identifier, expecting ':' or '@'",
        ),
    ] {
        let dump = parse::<false>(source.as_bytes(), 100);
        let error = &dump.errors[0];
        assert_eq!(
            (error.position, &*error.to_string()),
            (position, expected),
            "{source:?}"
        );
        let dump = parse::<true>(source.as_bytes(), 100);
        let error = &dump.errors[0];
        assert_eq!(
            (error.position, &*error.to_string()),
            (position, expected),
            "{source:?}"
        );
        assert_eq!(dump.text, source.as_bytes());
    }
}

#[test]
fn recovery_reports_several_errors_and_keeps_the_text() {
    let source = "{ a = ; b = [ 1 = 2 ]; c 3; d = (1; }";
    let dump = parse::<true>(source.as_bytes(), 100);
    assert!(dump.errors.len() >= 4, "{:?}", dump.errors);
    assert_eq!(dump.text, source.as_bytes());
}

#[test]
fn any_bytes_are_accepted() {
    let pieces: [&[u8]; 24] = [
        b"{",
        b"}",
        b"(",
        b")",
        b"[",
        b"]",
        b"\"",
        b"''",
        b"${",
        b"./a",
        b"/",
        b"a",
        b"=",
        b";",
        b":",
        b"\xff",
        b"\0",
        b"/*",
        b"or",
        b"let ",
        b"in ",
        b"~/",
        b",",
        b"inherit ",
    ];
    let mut state = 1_u64;
    for _ in 0..3000 {
        let mut source = Vec::new();
        for _ in 0..12 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            source.extend_from_slice(pieces[(state >> 33) as usize % pieces.len()]);
        }
        let strict = parse::<false>(&source, 100);
        let lossless = parse::<true>(&source, 100);
        assert_eq!(lossless.text, source);
        assert_eq!(strict.errors.first(), lossless.errors.first());
    }
}

#[test]
fn deep_nesting_is_an_error() {
    let long = 100_000;
    for (piece, end) in [
        ("(", ""),
        ("[", ""),
        ("!", "1"),
        ("-", "1"),
        ("{a=", "1"),
        ("x: ", "1"),
        ("{x}: ", "1"),
        ("1+", "1"),
        ("1->", "1"),
        ("if ", "1"),
        ("if a then b else ", "1"),
        ("let a = ", "1"),
        ("with a; ", "1"),
        ("\"${", ""),
        ("''${", ""),
        ("./${", ""),
        ("{${", ""),
        ("a ? ${", ""),
        ("a.b or ", "1"),
        ("a <| ", "1"),
        ("a |> ", "1"),
        ("{inherit (", ""),
        ("{x ? ", "1"),
    ] {
        let source = piece.repeat(long) + end;
        let dump = parse::<false>(source.as_bytes(), 100);
        let message = dump.errors[0].to_string();
        assert!(message.starts_with("stack overflow"), "{piece}: {message}");
        let dump = parse::<true>(source.as_bytes(), 100);
        assert_eq!(dump.text, source.as_bytes(), "{piece}");
        assert!(
            dump.errors[0].to_string().starts_with("stack overflow"),
            "{piece}"
        );
    }
    let source = format!("{{ {}a = 1; }}", "a.".repeat(long));
    let dump = parse::<false>(source.as_bytes(), 100);
    assert!(dump.errors[0].to_string().starts_with("stack overflow"));
    // What isn't nested isn't limited.
    for source in [
        "[".to_owned() + &"1 ".repeat(long) + "]",
        "f ".repeat(long),
        "a".to_owned() + &".a".repeat(long),
    ] {
        assert_eq!(parse::<false>(source.as_bytes(), 100).errors, []);
    }
}
