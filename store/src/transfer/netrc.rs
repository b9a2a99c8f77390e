//! `netrc` files: names and passwords by host.
//!
//! `machine HOST login NAME password WORD` in any layout, or `default` instead of a host. The surprising thing: a word
//! may be quoted, and `macdef` begins text that runs to the next empty line and is none of our business.
//!
//! Format source: the manual page netrc(5), and curl's reading of it.

use std::iter::Peekable;
use std::str::Chars;

/// A name with a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub login: String,
    /// The password.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("login", &self.login).finish_non_exhaustive()
    }
}

/// What a `netrc` file says.
#[derive(Clone, Debug, Default)]
pub struct Netrc {
    /// Entries in the file's order; a default has no host.
    entries: Vec<(Option<String>, Credentials)>,
}

impl Netrc {
    /// Reads the text of a file. What makes no sense is skipped.
    pub fn parse(text: &str) -> Netrc {
        let mut words = Words { chars: text.chars().peekable() };
        let mut entries: Vec<(Option<String>, Credentials)> = Vec::new();
        let empty = || Credentials { login: String::new(), password: String::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => entries.extend(words.next().map(|host| (Some(host), empty()))),
                "default" => entries.push((None, empty())),
                "macdef" => words.skip_macro(),
                key @ ("login" | "password" | "account") => {
                    let (Some(value), Some((_, entry))) = (words.next(), entries.last_mut()) else { continue };
                    match key {
                        "login" => entry.login = value,
                        "password" => entry.password = value,
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Netrc { entries }
    }

    /// Returns what is to be used with a host; with this login, if one is given.
    pub fn credentials(&self, host: &str, login: Option<&str>) -> Option<&Credentials> {
        let fits = |(machine, credentials): &&(Option<String>, Credentials)| {
            machine.as_ref().is_none_or(|machine| machine.eq_ignore_ascii_case(host))
                && login.is_none_or(|login| credentials.login == login)
        };
        self.entries.iter().find(fits).map(|(_, credentials)| credentials)
    }
}

struct Words<'t> {
    chars: Peekable<Chars<'t>>,
}

impl Words<'_> {
    fn skip_macro(&mut self) {
        let mut n_line_feeds = 0;
        while n_line_feeds < 2
            && let Some(c) = self.chars.next()
        {
            n_line_feeds = if c == '\n' { n_line_feeds + 1 } else { 0 };
        }
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            while self.chars.next_if(|c| c.is_whitespace()).is_some() {}
            if *self.chars.peek()? != '#' {
                break;
            }
            while self.chars.next_if(|c| *c != '\n').is_some() {}
        }
        let mut word = String::new();
        if self.chars.next_if_eq(&'"').is_none() {
            while let Some(c) = self.chars.next_if(|c| !c.is_whitespace()) {
                word.push(c);
            }
            return Some(word);
        }
        while let Some(c) = self.chars.next() {
            match c {
                '"' => break,
                '\\' => word.extend(self.chars.next().map(|c| match c {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    other => other,
                })),
                c => word.push(c),
            }
        }
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_by_host_and_login() {
        let netrc = Netrc::parse(
            "# comment with machine x\nmachine a.example login u password p\nmacdef init\nmachine evil\n\n\
             machine b.example\n\tlogin \"two words\"\n\tpassword \"q\\\"t\" account z\n\
             machine a.example login v password w default login anonymous password none machine late login l",
        );
        let check = |host: &str, login: Option<&str>, expected: Option<(&str, &str)>| {
            let found = netrc.credentials(host, login).map(|found| (found.login.as_str(), found.password.as_str()));
            assert_eq!(found, expected, "{host} {login:?}");
        };
        check("a.example", None, Some(("u", "p")));
        check("A.EXAMPLE", Some("v"), Some(("v", "w")));
        check("b.example", None, Some(("two words", "q\"t")));
        check("evil", None, Some(("anonymous", "none")));
        check("a.example", Some("nobody"), None);
        check("late", None, Some(("anonymous", "none")));
    }

    #[test]
    fn what_makes_no_sense_is_skipped() {
        for text in ["", "machine", "login", "login x", "machine a login", "\"", "\"\\", "macdef", "#"] {
            assert_eq!(Netrc::parse(text).credentials("b", None), None, "{text:?}");
        }
        assert!(!format!("{:?}", Netrc::parse("machine a login u password secret")).contains("secret"));
    }
}
