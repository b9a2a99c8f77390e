//! What a flake reference's URL and its attributes say of each other, for every kind of source.
//!
//! A kind (`git`, `path`, …) takes the URLs whose scheme it knows; the first kind by name that knows one decides.

use crate::hash::{Algorithm, Hash, HashFormat};

use super::git_names::{is_flake_id, is_legal_ref, is_mercurial_ref, is_revision};
use super::url::{Authority, Url, split_scheme};
use super::{Attr, Attrs, InputError, Reader};

type Answer<T> = Result<T, InputError>;

const ARCHIVE: &[&str] = &["owner", "repo", "ref", "rev", "narHash", "lastModified", "host", "treeHash"];
const CURL: &[&str] = &["url", "narHash", "name", "unpack", "rev", "revCount", "lastModified"];
const GIT: &[&str] = &[
    "url", "ref", "rev", "shallow", "submodules", "lfs", "exportIgnore", "lastModified", "revCount", "narHash", "allRefs", "name", "dirtyRev",
    "dirtyShortRev", "verifyCommit", "keytype", "publicKey", "publicKeys",
];
const MERCURIAL: &[&str] = &["url", "ref", "rev", "revCount", "narHash", "name"];
const INDIRECT: &[&str] = &["id", "ref", "rev", "narHash"];
const PATH: &[&str] = &["path", "rev", "revCount", "lastModified", "narHash"];

fn allowed(kind: &str) -> Option<&'static [&'static str]> {
    Some(match kind {
        "file" | "tarball" => CURL,
        "git" => GIT,
        "github" | "gitlab" | "sourcehut" => ARCHIVE,
        "hg" => MERCURIAL,
        "indirect" => INDIRECT,
        "path" => PATH,
        _ => return None,
    })
}

fn bad<T>(message: String) -> Answer<T> {
    Err(InputError::BadUrl(message))
}

fn other<T>(message: String) -> Answer<T> {
    Err(InputError::Other(message))
}

fn set(attrs: &mut Attrs, name: &str, value: impl Into<String>) {
    attrs.insert(name.to_owned(), Attr::Text(value.into()));
}

pub(super) fn maybe_text<'a>(attrs: &'a Attrs, name: &str) -> Answer<Option<&'a str>> {
    match attrs.get(name) {
        None => Ok(None),
        Some(Attr::Text(text)) => Ok(Some(text)),
        Some(_) => other(format!("input attribute '{name}' is not a string {}", json(attrs))),
    }
}

pub(super) fn text<'a>(attrs: &'a Attrs, name: &str) -> Answer<&'a str> {
    maybe_text(attrs, name)?.ok_or_else(|| InputError::Other(format!("input attribute '{name}' is missing")))
}

fn number(attrs: &Attrs, name: &str) -> Answer<()> {
    match attrs.get(name) {
        None | Some(Attr::Number(_)) => Ok(()),
        Some(_) => other(format!("input attribute '{name}' is not an integer")),
    }
}

pub(super) fn boolean(attrs: &Attrs, name: &str) -> Answer<bool> {
    match attrs.get(name) {
        None => Ok(false),
        Some(Attr::Bool(value)) => Ok(*value),
        Some(_) => other(format!("input attribute '{name}' is not a Boolean")),
    }
}

pub(super) fn json(attrs: &Attrs) -> String {
    serde_json::to_string(attrs).expect("texts, numbers and booleans can be written")
}

/// Checks attributes that all kinds share.
fn check_common(attrs: &Attrs) -> Answer<()> {
    text(attrs, "type")?;
    maybe_text(attrs, "ref")?;
    number(attrs, "revCount")?;
    number(attrs, "lastModified")
}

/// Reads the attributes of a URL (without `dir` and fragment).
pub(super) fn from_url(url: &Url, require_tree: bool, reader: &mut Reader<'_>) -> Answer<Attrs> {
    let (application, transport) = split_scheme(&url.scheme);
    let attrs = match (url.scheme.as_str(), application, transport) {
        (_, Some("file"), "file" | "http" | "https") => curl(url, "file", transport),
        ("git", ..) | (_, Some("git"), _) => git(url, reader)?,
        (kind @ ("github" | "gitlab" | "sourcehut"), ..) => archive(url, kind)?,
        ("hg+http" | "hg+https" | "hg+ssh" | "hg+file", ..) => mercurial(url, transport, reader)?,
        ("flake", ..) => indirect(url)?,
        ("path", ..) => path(url)?,
        (_, None, "file" | "http" | "https") if !require_tree && !has_archive_extension(url) => curl(url, "file", transport),
        (_, None | Some("tarball"), "file" | "http" | "https") => curl(url, "tarball", transport),
        (_, Some("file"), "git") => {
            return other(format!("input '{url}' is unsupported; did you mean 'git+file' instead of 'file+git'?"));
        }
        _ => return other(format!("input '{url}' is unsupported")),
    };
    check_feature(&attrs, reader)?;
    check_common(&attrs)?;
    Ok(attrs)
}

/// Some kinds belong to a feature.
fn check_feature(attrs: &Attrs, reader: &Reader<'_>) -> Answer<()> {
    match text(attrs, "type")? {
        "github" | "gitlab" | "sourcehut" | "indirect" | "path" => reader.require("flakes"),
        _ => Ok(()),
    }
}

fn has_archive_extension(url: &Url) -> bool {
    let name = url.path.last().map_or("", String::as_str);
    [".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".tar.bz2", ".tar.zst"].iter().any(|extension| name.ends_with(extension))
}

fn curl(url: &Url, kind: &str, transport: &str) -> Attrs {
    let mut url = Url { scheme: transport.to_owned(), ..url.clone() };
    let mut attrs = Attrs::new();
    for name in ["narHash", "rev"] {
        if let Some(value) = url.query.get(name) {
            set(&mut attrs, name, value);
        }
    }
    for name in ["revCount", "lastModified"] {
        if let Some(value) = url.query.get(name).and_then(|value| value.parse().ok()) {
            attrs.insert(name.to_owned(), Attr::Number(value));
        }
    }
    url.query.retain(|name, _| !CURL.contains(&name.as_str()));
    set(&mut attrs, "type", kind);
    set(&mut attrs, "url", url.to_string());
    attrs
}

fn git(url: &Url, reader: &mut Reader<'_>) -> Answer<Attrs> {
    let mut plain = Url { query: Default::default(), ..url.clone() };
    let mut attrs = Attrs::new();
    set(&mut attrs, "type", "git");
    for (name, value) in &url.query {
        match name.as_str() {
            "rev" | "ref" | "keytype" | "publicKey" | "publicKeys" => set(&mut attrs, name, value),
            "shallow" | "submodules" | "lfs" | "exportIgnore" | "allRefs" | "verifyCommit" => {
                attrs.insert(name.clone(), Attr::Bool(value == "1"));
            }
            _ => drop(plain.query.insert(name.clone(), value.clone())),
        }
    }
    set(&mut attrs, "url", plain.to_string());
    check_git(attrs, reader)
}

fn check_git(mut attrs: Attrs, reader: &mut Reader<'_>) -> Answer<Attrs> {
    let verifies = ["verifyCommit", "keytype", "publicKey", "publicKeys"].iter().any(|name| attrs.contains_key(*name));
    if verifies {
        reader.require("verified-fetches")?;
    }
    boolean(&attrs, "verifyCommit")?;
    if let Some(name) = maybe_text(&attrs, "ref")?.filter(|name| !is_legal_ref(name)) {
        return bad(format!("invalid Git branch/tag name '{name}'"));
    }
    let url = git_url(text(&attrs, "url")?, reader)?.to_string();
    set(&mut attrs, "url", url);
    for name in ["shallow", "submodules", "allRefs"] {
        boolean(&attrs, name)?;
    }
    Ok(attrs)
}

/// Reads a place as git takes it: a URL, a file's path or `user@host:path`.
pub(super) fn git_url(text: &str, reader: &mut Reader<'_>) -> Answer<Url> {
    let mut text = text.to_owned();
    if let Some((user, host, path)) = user_host_path(&text) {
        text = format!("ssh://{user}@{host}/{path}");
    }
    if !text.starts_with("file:") && !text.starts_with("git+file:") && !text.contains("://") {
        let path: Vec<String> = text.split('/').map(str::to_owned).collect();
        if path[0].contains(':') {
            return bad(format!("SCP-like URL '{text}' is not supported; use SSH URL syntax instead (ssh://...)"));
        }
        let authority = text.starts_with('/').then(Authority::default);
        return Ok(Url { scheme: "file".into(), authority, path, ..Default::default() });
    }
    let mut url = Url::parse(&text, reader.dubious)?;
    if let (Some("git"), transport) = split_scheme(&url.scheme) {
        url.scheme = transport.to_owned();
    }
    Ok(url)
}

fn user_host_path(text: &str) -> Option<(&str, &str, &str)> {
    let (before, path) = text.rsplit_once(':')?;
    // The last `@` of the first segment.
    let first = before.split('/').next()?;
    let at = first.rfind('@')?;
    Some((&before[..at], &before[at + 1..], path))
}

fn archive(url: &Url, kind: &str) -> Answer<Attrs> {
    let path = url.segments();
    let [owner, repo, rest @ ..] = path.as_slice() else { return bad(format!("URL '{url}' is invalid")) };
    let mut attrs = Attrs::new();
    match rest {
        [] => (),
        [rev] if is_revision(rev) => set(&mut attrs, "rev", *rev),
        name => set(&mut attrs, "ref", name.join("/")),
    }
    for (name, what) in [("rev", "commit hashes"), ("ref", "branch/tag names")] {
        match url.query.get(name) {
            Some(_) if attrs.contains_key(name) => return bad(format!("URL '{url}' contains multiple {what}")),
            Some(value) => set(&mut attrs, name, value),
            None => (),
        }
    }
    for name in ["host", "narHash"] {
        if let Some(value) = url.query.get(name) {
            set(&mut attrs, name, value);
        }
    }
    set(&mut attrs, "type", kind);
    set(&mut attrs, "owner", *owner);
    set(&mut attrs, "repo", *repo);
    check_archive(&attrs)?;
    Ok(attrs)
}

fn check_archive(attrs: &Attrs) -> Answer<()> {
    text(attrs, "owner")?;
    text(attrs, "repo")?;
    let (name, rev) = (maybe_text(attrs, "ref")?, maybe_text(attrs, "rev")?);
    if let (Some(name), Some(rev)) = (name, rev) {
        return bad(format!("input {} contains both a commit hash ('{rev}') and a branch/tag name ('{name}')", json(attrs)));
    }
    if let Some(rev) = rev {
        Hash::parse(rev, Some(Algorithm::Sha1))?;
    }
    if name.is_some_and(|name| !is_legal_ref(name)) {
        return bad(format!("input {} contains an invalid branch/tag name", json(attrs)));
    }
    let is_host = |host: &str| host.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-');
    if maybe_text(attrs, "host")?.is_some_and(|host| !is_host(host)) {
        return bad(format!("input {} contains an invalid instance host", json(attrs)));
    }
    Ok(())
}

fn mercurial(url: &Url, transport: &str, reader: &mut Reader<'_>) -> Answer<Attrs> {
    let mut plain = Url { scheme: transport.to_owned(), query: Default::default(), ..url.clone() };
    let mut attrs = Attrs::new();
    set(&mut attrs, "type", "hg");
    for (name, value) in &url.query {
        match name.as_str() {
            "rev" | "ref" => set(&mut attrs, name, value),
            _ => drop(plain.query.insert(name.clone(), value.clone())),
        }
    }
    set(&mut attrs, "url", plain.to_string());
    check_mercurial(&attrs, reader)?;
    Ok(attrs)
}

fn check_mercurial(attrs: &Attrs, reader: &mut Reader<'_>) -> Answer<()> {
    Url::parse(text(attrs, "url")?, reader.dubious)?;
    match maybe_text(attrs, "ref")?.filter(|name| !is_mercurial_ref(name)) {
        Some(name) => bad(format!("invalid Mercurial branch/tag name '{name}'")),
        None => Ok(()),
    }
}

fn indirect(url: &Url) -> Answer<Attrs> {
    let path = url.segments();
    let mut attrs = Attrs::new();
    let id = match path.as_slice() {
        [id] => id,
        [id, rev] if is_revision(rev) => {
            set(&mut attrs, "rev", rev.to_ascii_lowercase());
            id
        }
        [id, name] if is_legal_ref(name) => {
            set(&mut attrs, "ref", *name);
            id
        }
        [_, name] => return bad(format!("in flake URL '{url}', '{name}' is not a commit hash or branch/tag name")),
        [_, name, _] if !is_legal_ref(name) => return bad(format!("in flake URL '{url}', '{name}' is not a branch/tag name")),
        [_, _, rev] if !is_revision(rev) => return bad(format!("in flake URL '{url}', '{rev}' is not a commit hash")),
        [id, name, rev] => {
            set(&mut attrs, "ref", *name);
            set(&mut attrs, "rev", rev.to_ascii_lowercase());
            id
        }
        _ => return bad(format!("GitHub URL '{url}' is invalid")),
    };
    if !is_flake_id(id) {
        return bad(format!("'{id}' is not a valid flake ID"));
    }
    set(&mut attrs, "type", "indirect");
    set(&mut attrs, "id", *id);
    Ok(attrs)
}

fn path(url: &Url) -> Answer<Attrs> {
    if let Some(authority) = url.authority.as_ref().filter(|authority| authority.has_host()) {
        return other(format!("path URL '{url}' should not have an authority ('{authority}')"));
    }
    let mut attrs = Attrs::new();
    set(&mut attrs, "type", "path");
    set(&mut attrs, "path", url.file_path()?);
    for (name, value) in &url.query {
        match name.as_str() {
            "rev" | "narHash" => set(&mut attrs, name, value),
            "revCount" | "lastModified" => match value.parse() {
                Ok(count) => drop(attrs.insert(name.clone(), Attr::Number(count))),
                Err(_) => return other(format!("path URL '{url}' has invalid parameter '{name}'")),
            },
            _ => return other(format!("path URL '{url}' has unsupported parameter '{name}'")),
        }
    }
    Ok(attrs)
}

/// Checks attributes that somebody wrote. Kinds that nobody knows are let through.
pub(super) fn from_attrs(attrs: Attrs, reader: &mut Reader<'_>) -> Answer<Attrs> {
    let Some(kind) = maybe_text(&attrs, "type")?.map(str::to_owned) else {
        return other("'type' attribute to specify input scheme is required but not provided".into());
    };
    let mut attrs = attrs;
    check_feature(&attrs, reader)?;
    if let Some(allowed) = allowed(&kind) {
        let is_known = |name: &str| name == "type" || name == "__final" || allowed.contains(&name);
        if let Some(name) = attrs.keys().find(|name| !is_known(name)) {
            return other(format!("input attribute '{name}' not supported by scheme '{kind}'"));
        }
    }
    match kind.as_str() {
        "git" => attrs = check_git(attrs, reader)?,
        "github" | "gitlab" | "sourcehut" => check_archive(&attrs)?,
        "hg" => check_mercurial(&attrs, reader)?,
        "indirect" => match text(&attrs, "id")? {
            id if is_flake_id(id) => (),
            id => return bad(format!("'{id}' is not a valid flake ID")),
        },
        "path" => drop(text(&attrs, "path")?),
        _ => (),
    }
    check_common(&attrs)?;
    Ok(attrs)
}

/// Returns the URL that says the same.
pub(super) fn to_url(attrs: &Attrs, reader: &mut Reader<'_>) -> Answer<Url> {
    let kind = text(attrs, "type")?;
    match kind {
        "file" | "tarball" => {
            let mut url = Url::parse(text(attrs, "url")?, reader.dubious)?;
            add_nar_hash(attrs, &mut url)?;
            Ok(url)
        }
        "git" => git_to_url(attrs, reader),
        "github" | "gitlab" | "sourcehut" => {
            let parts = [Some(text(attrs, "owner")?), Some(text(attrs, "repo")?), maybe_text(attrs, "ref")?];
            let path = parts.into_iter().flatten().map(str::to_owned).chain(revision_text(attrs)?).collect();
            let mut url = Url { scheme: kind.to_owned(), path, ..Default::default() };
            add_nar_hash(attrs, &mut url)?;
            if let Some(host) = maybe_text(attrs, "host")? {
                url.query.insert("host".into(), host.to_owned());
            }
            Ok(url)
        }
        "hg" => {
            let mut url = Url::parse(text(attrs, "url")?, reader.dubious)?;
            url.scheme.insert_str(0, "hg+");
            add_revision(attrs, &mut url)?;
            Ok(url)
        }
        "indirect" => {
            let parts = [Some(text(attrs, "id")?), maybe_text(attrs, "ref")?];
            let path = parts.into_iter().flatten().map(str::to_owned).chain(revision_text(attrs)?).collect();
            Ok(Url { scheme: "flake".into(), path, ..Default::default() })
        }
        "path" => {
            let path = text(attrs, "path")?.split('/').map(str::to_owned).collect();
            let is_shown = |name: &str| !matches!(name, "path" | "type" | "__final");
            let query = attrs.iter().filter(|(name, _)| is_shown(name)).map(|(name, value)| (name.clone(), value.to_string())).collect();
            Ok(Url { scheme: "path".into(), path, query, ..Default::default() })
        }
        _ => other(format!("cannot show unsupported input '{}'", json(attrs))),
    }
}

fn git_to_url(attrs: &Attrs, reader: &mut Reader<'_>) -> Answer<Url> {
    let mut url = Url::parse(text(attrs, "url")?, reader.dubious)?;
    if url.scheme != "git" {
        url.scheme.insert_str(0, "git+");
    }
    add_revision(attrs, &mut url)?;
    for name in ["shallow", "lfs", "submodules", "exportIgnore", "verifyCommit"] {
        if boolean(attrs, name)? {
            url.query.insert(name.to_owned(), "1".into());
        }
    }
    let keys = public_keys(attrs)?;
    match keys.as_slice() {
        [] => (),
        [key] => {
            url.query.insert("keytype".into(), key.kind.clone());
            url.query.insert("publicKey".into(), key.key.clone());
        }
        _ => drop(url.query.insert("publicKeys".into(), serde_json::to_string(&keys).expect("texts can be written"))),
    }
    Ok(url)
}

/// A key that may have signed a commit.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct PublicKey {
    /// The key in base 64.
    pub key: String,
    /// Its kind, such as `ssh-ed25519`.
    #[serde(rename = "type", default = "default_key_type")]
    pub kind: String,
}

fn default_key_type() -> String {
    "ssh-ed25519".into()
}

pub(super) fn public_keys(attrs: &Attrs) -> Answer<Vec<PublicKey>> {
    let mut keys: Vec<PublicKey> = match maybe_text(attrs, "publicKeys")? {
        Some(keys) => serde_json::from_str(keys).map_err(|error| InputError::Other(error.to_string()))?,
        None => Vec::new(),
    };
    if let Some(key) = maybe_text(attrs, "publicKey")? {
        let kind = maybe_text(attrs, "keytype")?.map_or_else(default_key_type, str::to_owned);
        keys.push(PublicKey { key: key.to_owned(), kind });
    }
    Ok(keys)
}

pub(super) fn revision(attrs: &Attrs) -> Answer<Option<Hash>> {
    let Some(rev) = maybe_text(attrs, "rev")? else { return Ok(None) };
    Ok(Some(Hash::parse_prefixed(rev).or_else(|_| Hash::parse(rev, Some(Algorithm::Sha1)))?))
}

fn revision_text(attrs: &Attrs) -> Answer<Option<String>> {
    Ok(revision(attrs)?.map(|hash| hash.format(HashFormat::Base16, false)))
}

fn add_revision(attrs: &Attrs, url: &mut Url) -> Answer<()> {
    if let Some(rev) = revision_text(attrs)? {
        url.query.insert("rev".into(), rev);
    }
    if let Some(name) = maybe_text(attrs, "ref")? {
        url.query.insert("ref".into(), name.to_owned());
    }
    Ok(())
}

pub(super) fn nar_hash(attrs: &Attrs) -> Answer<Option<Hash>> {
    let hash = match maybe_text(attrs, "narHash")? {
        None => return Ok(None),
        Some("") => Hash::zero(Algorithm::Sha256),
        Some(text) => Hash::parse_sri(text)?,
    };
    if hash.algorithm() != Algorithm::Sha256 {
        return other("narHash must use SHA-256".into());
    }
    Ok(Some(hash))
}

fn add_nar_hash(attrs: &Attrs, url: &mut Url) -> Answer<()> {
    if let Some(hash) = nar_hash(attrs)? {
        url.query.insert("narHash".into(), hash.format(HashFormat::Sri, true));
    }
    Ok(())
}
