//! What requests are signed with, and where that is found.
//!
//! Amazon's own programs look into variables of the environment, then into the file of shared credentials, and then ask:
//! the service that trusts a token of somebody else's (`AssumeRoleWithWebIdentity`), the container's service, or the
//! machine's. The surprising thing: where a container's service is named the machine's is never asked, so that a failure
//! does not quietly end with another role's rights.
//!
//! Protocol source: Amazon's SDK reference, "Standardized credential providers"; the order is the reference's.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::transfer::http::{HttpOptions, HttpTransport};
use crate::transfer::{Body, Request, SendMethod, TransferError, TransferErrorKind, TransferResult, Transport};

/// Size of an answer in bytes, at most.
const LIMIT: u64 = 64 << 10;

/// What services of the machine give is good for some minutes more at least.
const OF_MACHINE: Duration = Duration::from_secs(4 * 60);

/// What a token is exchanged for is good for an hour, if nobody says otherwise.
const OF_TOKEN: Duration = Duration::from_secs(50 * 60);

/// Hosts of the services of containers and machines, which may be asked without TLS.
const LOCAL_SERVICES: [&str; 6] = ["169.254.170.2", "169.254.170.23", "[fd00:ec2::23]", "127.0.0.1", "localhost", "[::1]"];

/// What requests are signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Credentials {
    /// `AWS_ACCESS_KEY_ID`
    pub key: String,
    /// `AWS_SECRET_ACCESS_KEY`
    pub secret: String,
    /// `AWS_SESSION_TOKEN`
    pub token: Option<String>,
}

impl std::fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3Credentials").field("key", &self.key).finish_non_exhaustive()
    }
}

impl S3Credentials {
    /// Looks where nobody has to be asked: in variables of the environment, then in the file of shared credentials. `None`
    /// if there are none.
    pub fn find(profile: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Option<S3Credentials> {
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        if let (Some(key), Some(secret)) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"))
        {
            return Some(S3Credentials { key, secret, token: variable("AWS_SESSION_TOKEN") });
        }
        let named = variable("AWS_SHARED_CREDENTIALS_FILE").map(PathBuf::from);
        let file = named.or_else(|| Some(Path::new(&variable("HOME")?).join(".aws/credentials")))?;
        let profile = profile.map(str::to_owned).or_else(|| variable("AWS_PROFILE")).unwrap_or_else(|| "default".into());
        S3Credentials::read(&std::fs::read_to_string(file).ok()?, &profile)
    }

    /// Reads a profile in the text of a file of shared credentials.
    pub fn read(text: &str, profile: &str) -> Option<S3Credentials> {
        let mut is_inside = false;
        let (mut key, mut secret, mut token) = (None, None, None);
        for line in text.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
                is_inside = name.trim() == profile;
            } else if let (true, Some((name, value))) = (is_inside, line.split_once('=')) {
                let value = Some(value.trim().to_owned());
                match name.trim() {
                    "aws_access_key_id" => key = value,
                    "aws_secret_access_key" => secret = value,
                    "aws_session_token" => token = value,
                    _ => {}
                }
            }
        }
        Some(S3Credentials { key: key?, secret: secret?, token })
    }
}

/// Finds credentials, and finds them anew when they may be too old. Nothing is asked before somebody needs them.
pub struct CredentialChain {
    profile: Option<String>,
    variable: Box<dyn Fn(&str) -> Option<String> + Send + Sync>,
    /// What was found, and until when it counts.
    found: Mutex<Option<(Option<S3Credentials>, Option<Instant>)>>,
}

impl CredentialChain {
    /// Returns a chain that reads these variables of the environment.
    pub fn new(profile: Option<String>, variable: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> CredentialChain {
        CredentialChain { profile, variable: Box::new(variable), found: Mutex::default() }
    }

    /// Returns credentials, `None` if there are none. `transport` is for services elsewhere; those of this machine are
    /// reached without proxies.
    ///
    /// # Errors
    /// When a service that the environment names gives none.
    pub fn credentials(&self, transport: &dyn Transport) -> TransferResult<Option<S3Credentials>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((credentials, until)) = &*found
            && until.is_none_or(|until| Instant::now() < until)
        {
            return Ok(credentials.clone());
        }
        let (credentials, lifetime) = self.find(transport)?;
        *found = Some((credentials.clone(), lifetime.map(|lifetime| Instant::now() + lifetime)));
        Ok(credentials)
    }

    fn variable(&self, name: &str) -> Option<String> {
        (self.variable)(name).filter(|value| !value.is_empty())
    }

    /// Returns what there is, and for how long it counts.
    fn find(&self, transport: &dyn Transport) -> TransferResult<(Option<S3Credentials>, Option<Duration>)> {
        if let Some(credentials) = S3Credentials::find(self.profile.as_deref(), &self.variable) {
            return Ok((Some(credentials), None));
        }
        if let (Some(file), Some(role)) = (self.variable("AWS_WEB_IDENTITY_TOKEN_FILE"), self.variable("AWS_ROLE_ARN")) {
            return Ok((Some(self.of_token(transport, &file, &role)?), Some(OF_TOKEN)));
        }
        let mut options = HttpOptions::default();
        (options.retry.n_attempts, options.connect_timeout) = (2, Some(Duration::from_secs(1)));
        options.stall_timeout = Some(Duration::from_secs(5));
        let local = HttpTransport::new(options);
        let relative = self.variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").map(|uri| format!("http://169.254.170.2{uri}"));
        if let Some(url) = relative.or_else(|| self.variable("AWS_CONTAINER_CREDENTIALS_FULL_URI")) {
            return Ok((Some(self.of_container(&local, &url)?), Some(OF_MACHINE)));
        }
        if self.variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok((None, None));
        }
        // Most machines are none of Amazon's.
        Ok(self.of_machine(&local).map_or((None, None), |credentials| (Some(credentials), Some(OF_MACHINE))))
    }

    fn of_token(&self, transport: &dyn Transport, file: &str, role: &str) -> TransferResult<S3Credentials> {
        let region = self.variable("AWS_REGION").or_else(|| self.variable("AWS_DEFAULT_REGION"));
        let endpoint = self.variable("AWS_ENDPOINT_URL_STS").unwrap_or_else(|| match region {
            Some(region) => format!("https://sts.{region}.amazonaws.com"),
            None => "https://sts.amazonaws.com".to_owned(),
        });
        let session = self.variable("AWS_ROLE_SESSION_NAME").unwrap_or_else(|| "nixlang".to_owned());
        let token = read(Path::new(file), &endpoint)?;
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let form = format!(
            "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn={}&RoleSessionName={}&WebIdentityToken={}",
            encoded(role),
            encoded(&session),
            encoded(token.trim())
        );
        let request = Request::new(format!("{}/", endpoint.trim_end_matches('/'))).header("content-type", "application/x-www-form-urlencoded");
        let url = request.url.clone();
        let answer = transport.send(SendMethod::Post, &request, Body::Bytes(form.as_bytes()))?.bytes(LIMIT)?;
        let text = String::from_utf8_lossy(&answer);
        let element = |name: &str| Some(text.split_once(&format!("<{name}>"))?.1.split_once('<')?.0.trim().to_owned());
        let (Some(key), Some(secret), token) = (element("AccessKeyId"), element("SecretAccessKey"), element("SessionToken")) else {
            return Err(nonsense(&url));
        };
        Ok(S3Credentials { key, secret, token })
    }

    fn of_container(&self, local: &HttpTransport, url: &str) -> TransferResult<S3Credentials> {
        let host = url.strip_prefix("http://").map(|rest| rest.split(['/', '?']).next().unwrap_or_default());
        let is_local = |host: &str| LOCAL_SERVICES.iter().any(|service| host == *service || host.strip_prefix(service).is_some_and(|port| port.starts_with(':')));
        if host.is_some_and(|host| !is_local(host)) {
            // Anybody on the way could read along.
            return Err(TransferError::new(TransferErrorKind::Refused, url, "credentials are asked for over TLS, or of this machine"));
        }
        let token = match self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") {
            Some(file) => Some(read(Path::new(&file), url)?.trim().to_owned()),
            None => self.variable("AWS_CONTAINER_AUTHORIZATION_TOKEN"),
        };
        let mut request = Request::new(url);
        request.headers.extend(token.map(|token| ("authorization".to_owned(), token)));
        from_json(url, &local.get(&request)?.bytes(LIMIT)?)
    }

    fn of_machine(&self, local: &HttpTransport) -> Option<S3Credentials> {
        let endpoint = self.variable("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| "http://169.254.169.254".to_owned());
        let base = format!("{}/latest", endpoint.trim_end_matches('/'));
        let request = Request::new(format!("{base}/api/token")).header("x-aws-ec2-metadata-token-ttl-seconds", "300");
        let token = local.send(SendMethod::Put, &request, Body::Bytes(b"")).ok()?.bytes(LIMIT).ok()?;
        let token = String::from_utf8(token).ok()?;
        let get = |name: &str| {
            let request = Request::new(format!("{base}/meta-data/iam/security-credentials/{name}")).header("x-aws-ec2-metadata-token", token.clone());
            local.get(&request).ok()?.bytes(LIMIT).ok()
        };
        let roles = String::from_utf8(get("")?).ok()?;
        let role = roles.lines().next()?.trim();
        from_json(&base, &get(role)?).ok()
    }
}

impl std::fmt::Debug for CredentialChain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CredentialChain").field("profile", &self.profile).finish_non_exhaustive()
    }
}

fn read(file: &Path, url: &str) -> TransferResult<String> {
    std::fs::read_to_string(file).map_err(|error| {
        let reason = format!("reading '{}': {}", file.display(), crate::error::without_number(&error));
        TransferError::new(TransferErrorKind::Refused, url, reason)
    })
}

fn from_json(url: &str, bytes: &[u8]) -> TransferResult<S3Credentials> {
    let json: serde_json::Value = serde_json::from_slice(bytes).map_err(|_| nonsense(url))?;
    let field = |name: &str| json.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    let (Some(key), Some(secret), token) = (field("AccessKeyId"), field("SecretAccessKey"), field("Token")) else {
        return Err(nonsense(url));
    };
    Ok(S3Credentials { key, secret, token })
}

fn nonsense(url: &str) -> TransferError {
    TransferError::new(TransferErrorKind::Refused, url, "the answer has no credentials")
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};

    use super::*;

    #[test]
    fn credentials_come_from_the_environment_or_a_file() {
        let text = "[default]\naws_access_key_id = a\naws_secret_access_key=b\n[other]\naws_access_key_id=c\naws_secret_access_key=d\naws_session_token=e\n";
        let credentials = |profile| S3Credentials::read(text, profile).map(|found| (found.key, found.secret, found.token));
        assert_eq!(credentials("default"), Some(("a".into(), "b".into(), None)));
        assert_eq!(credentials("other"), Some(("c".into(), "d".into(), Some("e".into()))));
        assert_eq!(credentials("missing"), None);
        let environment = |name: &str| Some(name.to_owned()).filter(|name| name.starts_with("AWS_ACCESS") || name.starts_with("AWS_SECRET"));
        assert_eq!(S3Credentials::find(None, environment).map(|found| found.key), Some("AWS_ACCESS_KEY_ID".into()));
    }

    /// Starts a service that gives credentials in all ways, to whoever asks as one should.
    fn service() -> String {
        const JSON: &str = r#"{"AccessKeyId":"k","SecretAccessKey":"s","Token":"t","Expiration":"2030-01-01T00:00:00Z"}"#;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    reader.read_line(&mut head).unwrap();
                }
                let head = head.to_lowercase();
                let size = head.split_once("content-length: ").map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
                let mut body = vec![0; size];
                reader.read_exact(&mut body).unwrap();
                let body = String::from_utf8(body).unwrap();
                let has = |part: &str| head.contains(part);
                let xml = "<A><AccessKeyId>k</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken></A>";
                let answer = match head.split(' ').nth(1).unwrap() {
                    "/" if body.contains("RoleArn=arn%3Arole") && body.ends_with("WebIdentityToken=a%2Fb") => Some(xml),
                    "/container" if has("authorization: secret") => Some(JSON),
                    "/latest/api/token" if has("put ") && has("token-ttl-seconds") => Some("word"),
                    "/latest/meta-data/iam/security-credentials/" if has("metadata-token: word") => Some("role\n"),
                    "/latest/meta-data/iam/security-credentials/role" if has("metadata-token: word") => Some(JSON),
                    _ => None,
                };
                let status = if answer.is_some() { "200 OK" } else { "403 Forbidden" };
                let answer = answer.unwrap_or_default();
                write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}", answer.len()).unwrap();
            }
        });
        format!("http://{address}")
    }

    #[test]
    fn credentials_come_from_whoever_the_environment_names() {
        let service = service();
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("token");
        std::fs::write(&file, "a/b\n").unwrap();
        let check = |variables: &[(&str, &str)]| {
            let mut variables: Vec<(String, String)> = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            variables.push(("AWS_EC2_METADATA_SERVICE_ENDPOINT".into(), service.clone()));
            let variable = move |name: &str| Some(variables.iter().find(|(found, _)| found == name)?.1.clone());
            let found = CredentialChain::new(None, variable).credentials(&HttpTransport::new(HttpOptions::default()));
            found.map(|found| found.map(|found| (found.key, found.secret, found.token))).map_err(|error| error.message)
        };
        let expected = Ok(Some(("k".to_owned(), "s".to_owned(), Some("t".to_owned()))));
        let file = file.to_str().unwrap();
        assert_eq!(check(&[("AWS_WEB_IDENTITY_TOKEN_FILE", file), ("AWS_ROLE_ARN", "arn:role"), ("AWS_ENDPOINT_URL_STS", &service)]), expected);
        let container = format!("{service}/container");
        let by_uri = |uri| [("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri), ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "secret")];
        assert_eq!(check(&by_uri(&container)), expected);
        assert_eq!(check(&[]), expected);
        // One that is named and does not give any is not replaced by another.
        assert!(check(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)]).unwrap_err().contains("HTTP error 403"));
        assert!(check(&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent"), ("AWS_ROLE_ARN", "arn:role")]).unwrap_err().contains("/nonexistent"));
        for uri in ["http://example.org/container", "http://127.0.0.1.example.org/container"] {
            assert!(check(&by_uri(uri)).unwrap_err().contains("over TLS"), "{uri}");
        }
        assert_eq!(check(&[("AWS_EC2_METADATA_DISABLED", "true")]), Ok(None));
        assert_eq!(check(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]), Ok(Some(("a".into(), "b".into(), None))));
    }
}
