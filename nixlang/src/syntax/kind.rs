//! The kinds of tokens and nodes of a Nix source text.
//!
//! One flat enumeration, as rowan wants it; raw numbers are converted through a table, so that no
//! number that didn't come from here can become a kind. Tokens come first, then nodes.
//!
//! The surprising thing: `PathEnd` and `Eof` have no text. The lexer makes them and the parser
//! uses them up; no sink ever sees one.

macro_rules! kinds {
    (
        tokens { $( $(#[doc = $token_doc:literal])* $token:ident = $name:literal, )* }
        nodes { $( $(#[doc = $node_doc:literal])* $node:ident, )* }
    ) => {
        /// What a token or a node is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum SyntaxKind {
            $( $(#[doc = $token_doc])* $token, )*
            $( $(#[doc = $node_doc])* $node, )*
        }

        impl SyntaxKind {
            /// Every kind, at the index that is its raw number.
            pub const ALL: &'static [SyntaxKind] = &[
                $( SyntaxKind::$token, )*
                $( SyntaxKind::$node, )*
            ];

            /// Returns how error messages call a token of this kind (bison's words in the
            /// reference, `src/libexpr/parser.y`), or `invalid token` for what can't be one.
            pub fn name(self) -> &'static str {
                match self {
                    $( SyntaxKind::$token => $name, )*
                    _ => "invalid token",
                }
            }

            /// Returns whether this is the kind of a token (and not of a node).
            pub fn is_token(self) -> bool {
                self < SyntaxKind::Root
            }
        }
    };
}

kinds! {
    tokens {
        /// Spaces, tabs, line feeds and carriage returns.
        Whitespace = "invalid token",
        /// `# …` up to the end of the line, without the line's end.
        LineComment = "invalid token",
        /// `/* … */`.
        BlockComment = "invalid token",
        /// `/** … */`, a doc comment (RFC 145); `/**/` and `/***/` are plain comments.
        DocComment = "invalid token",
        /// What follows a NUL byte in code: the reference takes NUL for the end of the file.
        AfterEnd = "invalid token",
        /// A byte that starts no token, or a token that the lexer has rejected.
        Error = "invalid token",
        /// The end of the input; no text.
        Eof = "end of file",

        /// An identifier that is no keyword.
        Ident = "identifier",
        /// Text between two interpolations of `"…"`, escapes included.
        StringContent = "string",
        /// Text of an indented string whose leading spaces count as indentation.
        IndStringContent = "indented string",
        /// An escape (`''$`, `'''`, `''\x`) or a lone `$` or `'` in an indented string.
        IndStringEscape = "indented string",
        /// `[0-9]+`.
        Integer = "integer",
        /// A number with a point.
        Float = "floating-point literal",
        /// A path, or the beginning of one with interpolations.
        Path = "path",
        /// `~/…`, or the beginning of one with interpolations.
        HomePath = "'~/…' path",
        /// `<…>`.
        SearchPath = "'<…>' path",
        /// Text of a path after its first token.
        PathContent = "string",
        /// The end of a path; no text.
        PathEnd = "end of path",
        /// An unquoted URL.
        Uri = "URI",

        /// `if`
        If = "'if'",
        /// `then`
        Then = "'then'",
        /// `else`
        Else = "'else'",
        /// `assert`
        Assert = "'assert'",
        /// `with`
        With = "'with'",
        /// `let`
        Let = "'let'",
        /// `in`
        In = "'in'",
        /// `rec`
        Rec = "'rec'",
        /// `inherit`
        Inherit = "'inherit'",
        /// `or`, a keyword only after an attribute path.
        Or = "'or'",

        /// `==`
        EqEq = "'=='",
        /// `!=`
        NotEq = "'!='",
        /// `<=`
        LessEq = "'<='",
        /// `>=`
        GreaterEq = "'>='",
        /// `//`
        Update = "'//'",
        /// `++`
        Concat = "'++'",
        /// `&&`
        AndAnd = "'&&'",
        /// `||`
        OrOr = "'||'",
        /// `->`
        Implies = "'->'",
        /// `<|`
        PipeFrom = "'<|'",
        /// `|>`
        PipeInto = "'|>'",
        /// `${`
        DollarBrace = "'${'",
        /// `''` at the beginning, with the spaces and the line feed after it.
        IndStringOpen = "start of an indented string",
        /// `''` at the end.
        IndStringClose = "end of an indented string",
        /// `...`
        Ellipsis = "'...'",
        /// `<`
        Less = "'<'",
        /// `>`
        Greater = "'>'",
        /// `+`
        Plus = "'+'",
        /// `-`
        Minus = "'-'",
        /// `*`
        Star = "'*'",
        /// `/`
        Slash = "'/'",
        /// `?`
        Question = "'?'",
        /// `:`
        Colon = "':'",
        /// `@`
        At = "'@'",
        /// `;`
        Semicolon = "';'",
        /// `!`
        Not = "'!'",
        /// `.`
        Dot = "'.'",
        /// `"`, at the beginning and at the end.
        Quote = "'\"'",
        /// `(`
        LeftParen = "'('",
        /// `)`
        RightParen = "')'",
        /// `{`
        LeftBrace = "'{'",
        /// `}`
        RightBrace = "'}'",
        /// `[`
        LeftBracket = "'['",
        /// `]`
        RightBracket = "']'",
        /// `=`
        Assign = "'='",
        /// `,`
        Comma = "','",
    }
    nodes {
        /// The whole text: one expression, or bindings for the line editor.
        Root,
        /// Tokens that fit nowhere (tree consumer only), or nothing where an operand is missing.
        ErrorNode,
        /// `Integer | Float | Uri`.
        Literal,
        /// `" (StringContent | Interpolation)* "`.
        StringNode,
        /// `IndStringOpen (IndStringContent | IndStringEscape | Interpolation)* IndStringClose`.
        IndStringNode,
        /// `(Path | HomePath) (PathContent | Interpolation)*`.
        PathNode,
        /// `SearchPath`.
        SearchPathNode,
        /// `${ expression }` in a string or path.
        Interpolation,
        /// `Ident`, or `Or` in the old form `f or`.
        Variable,
        /// `( expression )`.
        Paren,
        /// `[ expression* ]`.
        List,
        /// `rec? { (Binding | InheritBinding)* }`.
        AttrSet,
        /// `let { (Binding | InheritBinding)* }`.
        LegacyLet,
        /// `expression . AttrPath (or expression)?`.
        Select,
        /// `expression ? AttrPath`.
        HasAttr,
        /// Function and arguments, all at one level: `f a b` has three children.
        Apply,
        /// `(! | -) expression`.
        UnaryOp,
        /// `expression operator expression`.
        BinaryOp,
        /// `(IdentParam | Pattern) : expression`.
        Lambda,
        /// `Ident` as the parameter of a lambda.
        IdentParam,
        /// `(PatternBind before)? { PatternEntry, … , ... } (PatternBind after)?`.
        Pattern,
        /// `Ident (? expression)?`.
        PatternEntry,
        /// `Ident @` or `@ Ident`.
        PatternBind,
        /// `let (Binding | InheritBinding)* in expression`.
        LetIn,
        /// `with expression ; expression`.
        WithExpr,
        /// `assert expression ; expression`.
        AssertExpr,
        /// `if expression then expression else expression`.
        IfElse,
        /// `AttrPath = expression ;`.
        Binding,
        /// `inherit InheritFrom? (Name | StringNode | DynamicAttr)* ;`.
        InheritBinding,
        /// `( expression )` after `inherit`.
        InheritFrom,
        /// `(Name | StringNode | DynamicAttr) (. …)*`.
        AttrPath,
        /// `Ident | Or` as an attribute's name.
        Name,
        /// `${ expression }` as an attribute's name.
        DynamicAttr,
    }
}

impl SyntaxKind {
    /// Returns the kind with this raw number, or nothing if there is none.
    pub fn from_raw(raw: u16) -> Option<SyntaxKind> {
        SyntaxKind::ALL.get(usize::from(raw)).copied()
    }

    /// Returns the raw number, which is the index in [`SyntaxKind::ALL`].
    pub fn to_raw(self) -> u16 {
        self as u16
    }

    /// Returns whether tokens of this kind may stand anywhere and mean nothing to the grammar.
    pub fn is_trivia(self) -> bool {
        self <= SyntaxKind::AfterEnd
    }

    /// Returns whether all tokens of this kind have the same text.
    pub fn has_fixed_text(self) -> bool {
        (SyntaxKind::If..=SyntaxKind::Comma).contains(&self) && self != SyntaxKind::IndStringOpen
    }

    /// Returns the keyword with this text.
    pub fn keyword(text: &[u8]) -> Option<SyntaxKind> {
        Some(match text {
            b"if" => SyntaxKind::If,
            b"then" => SyntaxKind::Then,
            b"else" => SyntaxKind::Else,
            b"assert" => SyntaxKind::Assert,
            b"with" => SyntaxKind::With,
            b"let" => SyntaxKind::Let,
            b"in" => SyntaxKind::In,
            b"rec" => SyntaxKind::Rec,
            b"inherit" => SyntaxKind::Inherit,
            b"or" => SyntaxKind::Or,
            _ => return None,
        })
    }
}

impl From<SyntaxKind> for rowan::SyntaxKind {
    fn from(kind: SyntaxKind) -> rowan::SyntaxKind {
        rowan::SyntaxKind(kind.to_raw())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_numbers_are_indices() {
        for (index, &kind) in SyntaxKind::ALL.iter().enumerate() {
            assert_eq!(usize::from(kind.to_raw()), index);
            assert_eq!(SyntaxKind::from_raw(kind.to_raw()), Some(kind));
        }
        let beyond = u16::try_from(SyntaxKind::ALL.len()).expect("there are few kinds");
        assert_eq!(SyntaxKind::from_raw(beyond), None);
    }
}
