//! The text that names a store: a word or an address, and parameters.
//!
//! The surprising part is what people wrote before there were rules: spaces, paths without a scheme, and addresses of
//! IPv6 without brackets, where what follows a `%` is a zone and no digits.
//!
//! Source of the format: `store-reference.cc` of the reference (2.34.8), whose vectors are tested here.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv6Addr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::OpenError;
use super::place::percent_decoded;

/// What may stand in parameters and paths as it is, besides letters and digits.
const KEPT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':').remove(b'@').remove(b'/').remove(b'?');

/// Which store is meant, without looking whether there is such a one.
///
/// ```
/// use nixlang_store::open::{StoreName, StoreReference};
///
/// let reference = StoreReference::parse("ssh://me@::1?compress=true")?;
/// assert_eq!(reference.to_string(), "ssh://me@[::1]?compress=true");
/// assert_eq!(StoreReference::parse("auto")?.name, StoreName::Auto);
/// # Ok::<(), nixlang_store::open::OpenError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreReference {
    /// The store.
    pub name: StoreName,
    /// Parameters, decoded.
    pub parameters: BTreeMap<String, String>,
}

/// What stands before the parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreName {
    /// What suits the machine: `auto`, or nothing.
    Auto,
    /// The machine's daemon: `daemon`.
    Daemon,
    /// The machine's own store: `local`.
    Local,
    /// An address.
    Address {
        /// What stands before `://`.
        scheme: String,
        /// Authority and path, encoded as in an address.
        authority: String,
    },
}

impl StoreReference {
    /// Reads an address or a word, with parameters. A relative path begins where the process works.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn parse(text: &str) -> Result<StoreReference, OpenError> {
        let (base, query) = text.split_once('?').unwrap_or((text, ""));
        let parameters = parameters(query)?.into_iter().collect::<BTreeMap<_, _>>();
        let address = |scheme: &str, authority: String| StoreName::Address { scheme: scheme.to_owned(), authority };
        let plain = parameters.is_empty();
        let name = match (base, base.split_once("://")) {
            ("" | "auto", _) => StoreName::Auto,
            ("daemon", _) if plain => StoreName::Daemon,
            ("daemon", _) => address("unix", String::new()),
            ("local", _) if plain => StoreName::Local,
            ("local", _) => address("local", String::new()),
            (_, Some((scheme, rest))) if is_scheme(scheme) => address(scheme, complete_authority(rest)),
            (_, None) if base.contains('/') => {
                let path = std::path::absolute(base).ok().and_then(|path| path.into_os_string().into_string().ok());
                address("local", utf8_percent_encode(&path.ok_or_else(|| unreadable(text))?, KEPT).to_string())
            }
            _ => return Err(unreadable(text)),
        };
        Ok(StoreReference { name, parameters })
    }
}

fn unreadable(text: &str) -> OpenError {
    OpenError::new(format!("Cannot parse Nix store '{text}'"))
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Puts an address of IPv6 in brackets, with its zone encoded. Everything else stays.
fn complete_authority(text: &str) -> String {
    let (user, host) = match text.split_once('@') {
        Some((user, host)) => (format!("{user}@"), host),
        None => (String::new(), text),
    };
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let (address, zone) = match inner.unwrap_or(host).split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (inner.unwrap_or(host), None),
    };
    // In brackets the zone may be encoded as it ought to be.
    let is_right = inner.is_some() && zone.is_none_or(|zone| zone.len() > 2 && zone.starts_with("25"));
    if is_right || address.parse::<Ipv6Addr>().is_err() {
        return text.to_owned();
    }
    let zone = zone.map_or(String::new(), |zone| format!("%25{zone}"));
    format!("{user}[{address}{zone}]")
}

/// Reads what follows a question mark; a name without a value is a flag that is on.
pub(super) fn parameters(query: &str) -> Result<Vec<(String, String)>, OpenError> {
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    parameters
        .map(|parameter| {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, "true"));
            Ok((percent_decoded(name)?, percent_decoded(value)?))
        })
        .collect()
}

impl fmt::Display for StoreReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            StoreName::Auto => f.write_str("auto")?,
            StoreName::Daemon => f.write_str("daemon")?,
            StoreName::Local => f.write_str("local")?,
            StoreName::Address { scheme, authority } => write!(f, "{scheme}://{authority}")?,
        }
        for (idx, (name, value)) in self.parameters.iter().enumerate() {
            let separator = if idx == 0 { '?' } else { '&' };
            write!(f, "{separator}{}={}", utf8_percent_encode(name, KEPT), utf8_percent_encode(value, KEPT))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What each text means, in its standard form.
    #[test]
    fn standard_forms() {
        for (text, standard) in [
            ("", "auto"),
            ("auto", "auto"),
            ("auto?root=/a b", "auto?root=/a%20b"),
            ("local", "local"),
            ("local?root=/a", "local://?root=/a"),
            ("daemon?trusted", "unix://?trusted=true"),
            ("/a/b c?x=%26", "local:///a/b%20c?x=%26"),
            ("ssh://u@h:22/p", "ssh://u@h:22/p"),
            ("ssh://::1", "ssh://[::1]"),
            ("ssh://[::1]:22", "ssh://[::1]:22"),
            ("ssh-ng://u@[fe80::1%eth0]", "ssh-ng://u@[fe80::1%25eth0]"),
        ] {
            let reference = StoreReference::parse(text).unwrap();
            assert_eq!(reference.to_string(), standard, "{text}");
            assert_eq!(StoreReference::parse(standard).unwrap(), reference, "{text}");
        }
        for text in ["word", "1x://y", "local?root=%zz", "auto?a=%ff"] {
            assert!(StoreReference::parse(text).is_err(), "{text}");
        }
    }

    /// The reference's data, where `NIX_UPSTREAM_SRC` names a checkout: several files of one group mean the same.
    #[test]
    fn vectors_of_the_reference() {
        let Some(source) = std::env::var_os("NIX_UPSTREAM_SRC") else {
            eprintln!("skipped: NIX_UPSTREAM_SRC does not name a checkout of the reference");
            return;
        };
        let standard_of = [
            ("local_shorthand_1", "local_1"),
            ("local_shorthand_path_unix", "local_2"),
            ("local_3_no_percent", "local_3"),
            ("unix_shorthand", "unix"),
        ];
        let address = "[fea5:23e1:3916:fc24:cb52:2837:2ecb:ea8e";
        let ipv6 = [
            "ssh://[::1]".to_owned(),
            format!("ssh://userinfo@{address}]"),
            format!("ssh://userinfo@{address}]?a=b&c=d"),
            format!("ssh://userinfo@{address}%25eth0]?a=b&c=d"),
            format!("ssh://userinfo@{address}%25eth0]?a=b&c=d"),
            format!("ssh://userinfo@{address}%2525]?a=b&c=d"),
            format!("ssh://userinfo@{address}%25eth0]?a=b&c=d"),
            format!("ssh://{address}%25eth0]?a=b&c=d"),
            format!("ssh://{address}%25eth0]"),
        ];
        let folder = std::path::Path::new(&source).join("src/libstore-tests/data/store-reference");
        let read = |name: &str| std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap().trim_end().to_owned();
        let mut n_checked = 0;
        for entry in std::fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            let name = name.strip_suffix(".txt").unwrap();
            let expected = match (standard_of.iter().find(|(short, _)| *short == name), name.strip_prefix("ssh_unbracketed_ipv6_")) {
                // Read on that system alone, by the reference as well.
                _ if name.ends_with("windows") => continue,
                (Some((_, standard)), _) => read(standard),
                (None, Some(number)) => ipv6[number.parse::<usize>().unwrap() - 1].clone(),
                (None, None) => read(name),
            };
            assert_eq!(StoreReference::parse(&read(name)).unwrap().to_string(), expected, "{name}");
            n_checked += 1;
        }
        assert!(n_checked > 20, "{n_checked}");
    }
}
