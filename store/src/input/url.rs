//! URLs as flake references have them: RFC 3986, with a few characters more in queries and fragments.
//!
//! Nothing is normalised: letters keep their case, and `/` written as `%2F` stays within its segment. A query is a sorted table, of whose
//! repeated names the first counts.

use std::collections::BTreeMap;

use fluent_uri::Uri;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::InputError;

const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const LITERAL: &AsciiSet = &RESERVED.remove(b':');
const PATH: &AsciiSet = &RESERVED.remove(b':').remove(b'@');
const QUERY: &AsciiSet = &PATH.remove(b'/').remove(b'?');

/// A parsed URL. Its parts are decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Url {
    /// What stands before the first colon.
    pub scheme: String,
    /// Who is asked; `file:///x` has an empty one, `file:/x` none.
    pub authority: Option<Authority>,
    /// Segments; the first is empty where the path is absolute.
    pub path: Vec<String>,
    /// What follows `?`.
    pub query: BTreeMap<String, String>,
    /// What follows `#`.
    pub fragment: String,
}

/// Who is asked: `user:password@host:port`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authority {
    /// Who asks.
    pub user: Option<String>,
    /// With which password.
    pub password: Option<String>,
    /// The machine, without brackets.
    pub host: String,
    /// Whether the host is an address in brackets.
    pub is_literal: bool,
    /// The port, if one is given.
    pub port: Option<u16>,
}

/// What a query has that isn't an error but helps nobody: `name` without `=`.
pub type Dubious<'a> = &'a mut dyn FnMut(&str);

/// Writes everything but letters, digits and `-._~` as `%XX`.
pub fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Decodes `%20` and the like.
pub fn decode(text: &str) -> Result<String, InputError> {
    let mut rest = text;
    while let Some((_, tail)) = rest.split_once('%') {
        if !tail.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(InputError::BadUrl(format!("invalid URI parameter '{text}': bad hexdig in pct-encoding")));
        }
        rest = tail;
    }
    Ok(decode_checked(text))
}

fn decode_checked(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Writes characters that the standard doesn't allow as `%XX`.
fn escape(text: &str, characters: &[char]) -> String {
    text.chars().map(|c| if characters.contains(&c) { encode(c.encode_utf8(&mut [0; 4])) } else { c.to_string() }).collect()
}

/// Returns what stands before and after `(scheme's application)+(transport)`.
pub fn split_scheme(scheme: &str) -> (Option<&str>, &str) {
    scheme.split_once('+').map_or((None, scheme), |(application, transport)| (Some(application), transport))
}

/// Reads a query; blanks and `"` are allowed.
pub fn decode_query(query: &str, dubious: Dubious<'_>) -> Result<BTreeMap<String, String>, InputError> {
    let fixed = escape(query, &[' ', '"', '[', ']']);
    if Uri::parse(format!("x:?{fixed}")).is_err() || fixed.contains('#') {
        return Err(InputError::BadUrl(format!("invalid URI query '{query}': leftover")));
    }
    Ok(query_table(&fixed, dubious))
}

fn query_table(query: &str, dubious: Dubious<'_>) -> BTreeMap<String, String> {
    let mut table = BTreeMap::new();
    for part in query.split('&').filter(|_| !query.is_empty()) {
        match part.split_once('=') {
            Some((name, value)) => {
                table.entry(decode_checked(name)).or_insert_with(|| decode_checked(value));
            }
            None => dubious(part),
        }
    }
    table
}

impl Authority {
    fn of(authority: fluent_uri::component::Authority<'_>) -> Result<Self, InputError> {
        let (user, password) = match authority.userinfo().map(|info| info.as_str()) {
            None => (None, None),
            Some(info) => match info.split_once(':') {
                Some((user, password)) => (Some(decode_checked(user)), Some(decode_checked(password))),
                None => (Some(decode_checked(info)), None),
            },
        };
        let port = match authority.port().map(|port| port.as_str()) {
            None | Some("") => None,
            Some(port) => match port.parse() {
                Ok(0) | Err(_) => return Err(InputError::BadUrl(format!("port '{port}' is invalid"))),
                Ok(number) => Some(number),
            },
        };
        let is_literal = authority.host().starts_with('[');
        let host = decode_checked(authority.host().trim_start_matches('[').trim_end_matches(']'));
        Ok(Authority { user, password, host, is_literal, port })
    }

    /// Whether a machine is named.
    pub fn has_host(&self) -> bool {
        !self.host.is_empty()
    }
}

impl std::fmt::Display for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(user) = &self.user {
            f.write_str(&encode(user))?;
            if let Some(password) = &self.password {
                write!(f, ":{}", encode(password))?;
            }
            f.write_str("@")?;
        }
        match self.is_literal {
            true => write!(f, "[{}]", utf8_percent_encode(&self.host, LITERAL))?,
            false => f.write_str(&encode(&self.host))?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Url {
    /// Reads a URL by the standard.
    pub fn parse(text: &str, dubious: Dubious<'_>) -> Result<Self, InputError> {
        Self::parse_as(text, text, dubious)
    }

    /// Reads a URL that may have blanks and `"` in its query, and `^` too in its fragment.
    pub fn parse_lenient(text: &str, dubious: Dubious<'_>) -> Result<Self, InputError> {
        let (rest, fragment) = text.split_once('#').map_or((text, None), |(rest, fragment)| (rest, Some(fragment)));
        let mut fixed = match rest.split_once('?') {
            Some((path, query)) => format!("{path}?{}", escape(query, &[' ', '"'])),
            None => rest.to_owned(),
        };
        if let Some(fragment) = fragment {
            fixed.push('#');
            fixed.push_str(&escape(fragment, &[' ', '"', '^']));
        }
        Self::parse_as(text, &fixed, dubious)
    }

    fn parse_as(shown: &str, text: &str, dubious: Dubious<'_>) -> Result<Self, InputError> {
        let bad = |why: &str| InputError::BadUrl(format!("'{shown}' {why}"));
        // The standard's grammar has no brackets in queries, the reference's has.
        let query_at = text.find(['?', '#']).unwrap_or(text.len());
        let query_end = text.find('#').unwrap_or(text.len());
        let (path, rest) = text.split_at(query_at);
        let (query, fragment) = rest.split_at(query_end - query_at);
        let text = format!("{path}{}{fragment}", escape(query, &['[', ']']));
        let uri = match Uri::parse(text.as_str()) {
            Ok(uri) => uri,
            Err(_) if !begins_with_scheme(&text) => return Err(bad("doesn't have a scheme")),
            Err(_) => return Err(bad("is not a valid URL: leftover")),
        };
        let authority = uri.authority().map(Authority::of).transpose()?;
        let scheme = uri.scheme().as_str().to_owned();
        let is_file = split_scheme(&scheme).1 == "file";
        if let Some(authority) = authority.as_ref().filter(|authority| is_file && authority.has_host()) {
            return Err(InputError::BadUrl(format!("file:// URL '{shown}' has unexpected authority '{authority}'")));
        }
        let path = uri.path().as_str();
        let path = if is_file && path.is_empty() { "/" } else { path };
        Ok(Url {
            scheme,
            authority,
            path: path.split('/').map(decode_checked).collect(),
            query: query_table(uri.query().map_or("", |query| query.as_str()), dubious),
            fragment: uri.fragment().map_or_else(String::new, |fragment| decode_checked(fragment.as_str())),
        })
    }

    /// Returns the segments that aren't empty.
    pub fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).filter(|segment| !segment.is_empty()).collect()
    }

    /// Returns the file's path; empty segments within it say nothing.
    pub fn file_path(&self) -> Result<String, InputError> {
        for segment in &self.path {
            let why = match segment {
                s if s.contains('/') => "contains '/', which is not allowed in file names",
                s if s.contains('\0') => "contains NUL byte which is not allowed",
                _ => continue,
            };
            return Err(InputError::BadUrl(format!("URL path component '{}' {why}", segment.replace('\0', "␀"))));
        }
        let mut path = String::new();
        for (i, segment) in self.path.iter().enumerate() {
            if (i == 0 && segment.is_empty()) || (i > 0 && !path.is_empty() && !path.ends_with('/')) {
                path.push('/');
            }
            path.push_str(segment);
        }
        Ok(path)
    }

    /// Returns the segments of a file's path.
    pub fn segments_of_file(path: &str) -> Vec<String> {
        let mut segments: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect();
        if path.starts_with('/') {
            segments.insert(0, String::new());
        }
        if path.ends_with('/') && segments.len() > 1 {
            segments.push(String::new());
        }
        if path.is_empty() || path.ends_with('/') {
            segments.push(String::new());
        }
        segments
    }
}

fn begins_with_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
    })
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:", self.scheme)?;
        if let Some(authority) = &self.authority {
            write!(f, "//{authority}")?;
        }
        for (i, segment) in self.path.iter().enumerate() {
            f.write_str(if i > 0 { "/" } else { "" })?;
            write!(f, "{}", utf8_percent_encode(segment, PATH))?;
        }
        for (i, (name, value)) in self.query.iter().enumerate() {
            f.write_str(if i > 0 { "&" } else { "?" })?;
            write!(f, "{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY))?;
        }
        match self.fragment.as_str() {
            "" => Ok(()),
            fragment => write!(f, "#{}", encode(fragment)),
        }
    }
}
