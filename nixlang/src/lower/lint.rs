//! Lints: literals that are allowed and that somebody may want to be told of.

/// What to do about a literal that a lint speaks of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LintLevel {
    /// Nothing.
    #[default]
    Ignore,
    /// Warn.
    Warn,
    /// Refuse the source.
    Fatal,
}

impl std::str::FromStr for LintLevel {
    type Err = UnknownLintLevel;

    fn from_str(text: &str) -> Result<Self, UnknownLintLevel> {
        match text {
            "ignore" => Ok(LintLevel::Ignore),
            "warn" => Ok(LintLevel::Warn),
            "fatal" => Ok(LintLevel::Fatal),
            _ => Err(UnknownLintLevel { text: text.to_owned() }),
        }
    }
}

/// A text that names no level.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a lint level; it is one of 'ignore', 'warn' and 'fatal'")]
pub struct UnknownLintLevel {
    /// The text.
    pub text: String,
}

/// The level of each lint. The reference's settings of these names; all are off by default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Lints {
    /// `lint-absolute-path-literals`: `/etc/passwd`, `~/x`.
    pub absolute_paths: LintLevel,
    /// `lint-short-path-literals`: `a/b` instead of `./a/b`.
    pub short_paths: LintLevel,
    /// `lint-url-literals`: `https://example.com` without quotes.
    pub urls: LintLevel,
}

/// What a lint has to say. The words are the reference's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lint {
    /// `/a`
    #[error(
        "absolute path literals are not portable. Consider replacing path literal '{path}' by a string, \
         relative path, or parameter (lint-absolute-path-literals)"
    )]
    AbsolutePath {
        /// The path as written.
        path: String,
    },
    /// `~/a`
    #[error(
        "home path literals are not portable. Consider replacing path literal '{path}' by a string, \
         relative path, or parameter (lint-absolute-path-literals)"
    )]
    HomePath {
        /// The path as written.
        path: String,
    },
    /// `a/b`
    #[error(
        "relative path literal '{path}' should be prefixed with '.' for clarity: './{path}' (lint-short-path-literals)"
    )]
    ShortPath {
        /// The path as written.
        path: String,
    },
    /// `a:b`
    #[error(
        "URL literals are {}. Consider using a string literal \"{url}\" instead (lint-url-literals)",
        if *fatal { "disallowed" } else { "discouraged" }
    )]
    Url {
        /// The URL.
        url: String,
        /// Whether the lint refuses it.
        fatal: bool,
    },
    /// `f or` as an argument, an element or a default. Always warned about, as in the reference.
    #[error(
        "This expression uses `or` as an identifier in a way that will change in a future Nix release.\n\
         Wrap this entire expression in parentheses to preserve its current meaning:\n    ({text})\n\
         Give feedback at https://github.com/NixOS/nix/pull/11121"
    )]
    OrAsVariable {
        /// The expression as written.
        text: String,
    },
}

impl Lints {
    /// Returns what there is to say of a path literal, and how strongly.
    pub(super) fn of_path(&self, is_home: bool, text: &[u8]) -> Option<(LintLevel, Lint)> {
        let path = || String::from_utf8_lossy(text).into_owned();
        let (level, lint): (_, fn(String) -> Lint) = match text.first() {
            _ if is_home => (self.absolute_paths, |path| Lint::HomePath { path }),
            Some(b'/') => (self.absolute_paths, |path| Lint::AbsolutePath { path }),
            Some(b'.') => return None,
            _ => (self.short_paths, |path| Lint::ShortPath { path }),
        };
        (level != LintLevel::Ignore).then(|| (level, lint(path())))
    }

    /// As [`of_path`](Self::of_path), of a URL literal.
    pub(super) fn of_url(&self, text: &[u8]) -> Option<(LintLevel, Lint)> {
        let fatal = self.urls == LintLevel::Fatal;
        let url = || String::from_utf8_lossy(text).into_owned();
        (self.urls != LintLevel::Ignore).then(|| (self.urls, Lint::Url { url: url(), fatal }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{EvalOptions, Evaluator};
    use crate::heap::Heap;
    use crate::host::MemoryHost;
    use crate::source::Origin;

    fn outcome(source: &str, level: LintLevel) -> Result<(), String> {
        let heap = Heap::new();
        let lints = Lints { absolute_paths: level, short_paths: level, urls: level };
        let options = EvalOptions { lints, home: Some("/home/user".into()), ..EvalOptions::default() };
        let eval = Evaluator::new(&heap, Box::new(MemoryHost::default()), options);
        let result = eval.eval_text(source.as_bytes(), Origin::String, b"/base");
        result.map(drop).map_err(|error| format!("{error} at {}", eval.show_pos(error.data().pos)))
    }

    #[test]
    fn fatal_lints_refuse_and_others_do_not() {
        for (source, expected) in [
            (
                "[ /tmp/foo ]",
                "absolute path literals are not portable. Consider replacing path literal '/tmp/foo' by a string, \
                 relative path, or parameter (lint-absolute-path-literals) at «string»:1:3",
            ),
            (
                "~/foo",
                "home path literals are not portable. Consider replacing path literal '~/foo' by a string, \
                 relative path, or parameter (lint-absolute-path-literals) at «string»:1:1",
            ),
            (
                "test/subdir",
                "relative path literal 'test/subdir' should be prefixed with '.' for clarity: './test/subdir' \
                 (lint-short-path-literals) at «string»:1:1",
            ),
            (
                "http://example.com",
                "URL literals are disallowed. Consider using a string literal \"http://example.com\" instead \
                 (lint-url-literals) at «string»:1:1",
            ),
        ] {
            assert_eq!(outcome(source, LintLevel::Fatal), Err(expected.to_owned()));
            assert_eq!(outcome(source, LintLevel::Warn), Ok(()));
            assert_eq!(outcome(source, LintLevel::Ignore), Ok(()));
        }
        assert_eq!(outcome("[ ./a ../b \"/c\" <d> ]", LintLevel::Fatal), Ok(()));
    }
}
