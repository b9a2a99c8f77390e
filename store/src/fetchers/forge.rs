//! GitHub, GitLab and SourceHut: the archive of a commit, which needs no git; and the question which commit a branch is.

use super::{FetchError, FetchResult, Fetchers, Found, Source};
use crate::input::{Attr, Input};
use crate::store::Store;
use crate::transfer::TransferError;

/// Headers of a request.
type Headers = Vec<(String, String)>;

struct Forge<'i> {
    kind: &'i str,
    host: &'i str,
    owner: &'i str,
    repo: &'i str,
}

impl<'i> Forge<'i> {
    fn of(input: &'i Input) -> Forge<'i> {
        let host = match input.kind() {
            "github" => "github.com",
            "gitlab" => "gitlab.com",
            _ => "git.sr.ht",
        };
        let text = |name| input.text(name).unwrap_or_default();
        Forge { kind: input.kind(), host: input.text("host").unwrap_or(host), owner: text("owner"), repo: text("repo") }
    }

    /// Returns the header that a token goes into; none if it is of no known form.
    fn header(&self, token: &str) -> Option<(String, String)> {
        let header = |name: &str, value: String| Some((name.to_owned(), value));
        match self.kind {
            "github" => header("Authorization", format!("token {token}")),
            "gitlab" => match token.split_once(':')? {
                ("OAuth2", token) => header("Authorization", format!("Bearer {token}")),
                ("PAT", token) => header("Private-token", token.to_owned()),
                _ => None,
            },
            _ => header("Authorization", format!("Bearer {token}")),
        }
    }

    /// Returns where a commit's archive is.
    fn archive(&self, revision: &str, has_token: bool) -> String {
        let Forge { kind, host, owner, repo } = self;
        match *kind {
            // The service for archives has no limit, but takes no tokens.
            "github" if *host == "github.com" && !has_token => format!("https://{host}/{owner}/{repo}/archive/{revision}.tar.gz"),
            "github" if *host == "github.com" => format!("https://api.{host}/repos/{owner}/{repo}/tarball/{revision}"),
            "github" => format!("https://{host}/api/v3/repos/{owner}/{repo}/tarball/{revision}"),
            "gitlab" => format!("https://{host}/api/v4/projects/{owner}%2F{repo}/repository/archive.tar.gz?sha={revision}"),
            _ => format!("https://{host}/{owner}/{repo}/archive/{revision}.tar.gz"),
        }
    }
}

impl Fetchers {
    /// Returns the token for a place: the one with the longest matching path, else the host's.
    fn token(&self, forge: &Forge<'_>) -> Option<&str> {
        let place = format!("{}/{}/{}", forge.host, forge.owner, forge.repo);
        let is_for = |prefix: &str| place.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let tokens = self.options.access_tokens.iter().filter(|(prefix, _)| is_for(prefix));
        tokens.max_by_key(|(prefix, _)| prefix.len()).map(|(_, token)| token.as_str())
    }

    fn headers(&self, forge: &Forge<'_>) -> Headers {
        let Some(token) = self.token(forge) else { return Vec::new() };
        let header = forge.header(token);
        if header.is_none() {
            self.observer.warn(&format!("Unrecognized access token for host '{}'", forge.host));
        }
        header.into_iter().collect()
    }

    pub(super) fn find_forge<'a>(&'a self, store: &'a dyn Store, input: &Input) -> FetchResult<(Found<'a>, Input)> {
        let mut input = input.clone();
        let revision = match input.revision_text()? {
            Some(revision) => revision,
            None => self.revision_of(store, &input)?,
        };
        input.remove("ref");
        input.set("rev", revision.as_str());
        let forge = Forge::of(&input);
        let headers = self.headers(&forge);
        let url = forge.archive(&revision, !headers.is_empty());
        let tarball = self.tarball_of_commit(store, &url, &headers, &revision, &input.to_string())?;
        input.set("lastModified", Attr::Number(tarball.last_modified));
        let shown = format!("«{input}»");
        Ok((Found { source: Source::Stored(tarball.path), fingerprint: Some(revision), shown }, input))
    }

    /// Asks which commit a branch or tag is.
    fn revision_of(&self, store: &dyn Store, input: &Input) -> FetchResult<String> {
        let forge = Forge::of(input);
        let Forge { kind, host, owner, repo } = forge;
        let name = input.text("ref").unwrap_or("HEAD");
        let headers = self.headers(&forge);
        let text = |url: String| -> FetchResult<(String, Vec<u8>)> {
            let file = self.download(store, &url, "source", &headers)?;
            Ok((url, store.read_file(&file.path)?))
        };
        let json = |(url, bytes): (String, Vec<u8>)| -> FetchResult<serde_json::Value> {
            serde_json::from_slice(&bytes).map_err(|error| unexpected(&url, &error))
        };
        match kind {
            "github" => {
                let api = if host == "github.com" { format!("https://api.{host}") } else { format!("https://{host}/api/v3") };
                let url = format!("{api}/repos/{owner}/{repo}/commits/{name}");
                let answer = json(text(url.clone())?)?;
                revision(&answer["sha"]).ok_or_else(|| unexpected(&url, &"it has no commit"))
            }
            "gitlab" => {
                let url = format!("https://{host}/api/v4/projects/{owner}%2F{repo}/repository/commits?ref_name={name}");
                let answer = json(text(url)?)?;
                match answer.as_array() {
                    Some(commits) if commits.is_empty() => {
                        Err(FetchError::refused("No commits returned by GitLab API -- does the git ref really exist?"))
                    }
                    _ => revision(&answer[0]["id"]).ok_or_else(|| FetchError::refused(format!("Unexpected response received from GitLab: {answer}"))),
                }
            }
            _ => {
                let base = format!("https://{host}/{owner}/{repo}");
                let wanted = if name == "HEAD" {
                    let (_, head) = text(format!("{base}/HEAD"))?;
                    let head = String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned();
                    let target = head.strip_prefix("ref: ").unwrap_or(&head).split_whitespace().next().unwrap_or_default().to_owned();
                    if target.is_empty() {
                        return Err(FetchError::refused(format!("in '{input}', couldn't resolve HEAD ref '{name}'")));
                    }
                    vec![target]
                } else {
                    vec![format!("refs/heads/{name}"), format!("refs/tags/{name}")]
                };
                let (_, lines) = text(format!("{base}/info/refs"))?;
                let lines = String::from_utf8_lossy(&lines).into_owned();
                let mut found = lines.lines().filter_map(|line| line.split_once('\t')).filter(|(_, name)| wanted.iter().any(|wanted| wanted == name));
                match found.next() {
                    Some((id, _)) if crate::input::is_revision(id) => Ok(id.to_owned()),
                    _ => Err(FetchError::refused(format!("in '{input}', couldn't find ref '{name}'"))),
                }
            }
        }
    }
}

fn revision(value: &serde_json::Value) -> Option<String> {
    value.as_str().filter(|text| crate::input::is_revision(text)).map(str::to_owned)
}

fn unexpected(url: &str, why: &dyn std::fmt::Display) -> FetchError {
    FetchError::Transfer(TransferError::new(crate::transfer::TransferErrorKind::Refused, url, format!("unexpected answer: {why}")))
}
