//! The requests of built-in builders, from the attributes of their derivations.
//!
//! The surprising part: an address is looked for at mirrors by its hash first, and only for a flat hash is there such a name.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nixlang_store::content_address::ContentAddressMethod;
use nixlang_store::derivation::{DerivationOutput, OutputName};
use nixlang_store::hash::HashFormat;
use nixlang_store::store::Store;

use super::{OutputPlace, Task};
use crate::error::BuildError;
use crate::executor::builtin::{BuiltinRequest, Channel, Fetch, buildenv};
use crate::options::BuildOptions;
use crate::sandbox::{Network, PROXY_ADDRESS};

/// Makes the request of a built-in builder.
pub(super) fn request(task: Task<'_>, outputs: &BTreeMap<OutputName, OutputPlace>, network: Network) -> Result<BuiltinRequest, BuildError> {
    let Task { store, options, path, derivation, .. } = task;
    let dir = store.store_dir();
    let reject = |reason: String| BuildError::Derivation { derivation: dir.display(path), reason };
    let name = String::from_utf8_lossy(&derivation.builder).into_owned();
    let attribute = |attribute: &str| {
        let value = derivation.env.get(attribute.as_bytes());
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    let required = |name: &str| attribute(name).ok_or_else(|| reject(format!("attribute '{name}' missing")));
    let out = outputs.get("out").ok_or_else(|| reject(format!("'{name}' requires an 'out' output")))?;
    let out = PathBuf::from(dir.display(&out.scratch));
    match name.as_str() {
        "builtin:fetchurl" => {
            let address = match derivation.outputs.get("out") {
                Some(DerivationOutput::Fixed(address)) => Some(address),
                Some(DerivationOutput::Impure { .. }) => None,
                _ => return Err(reject("'builtin:fetchurl' must be a fixed-output or impure derivation".to_owned())),
            };
            let url = required("url")?;
            let mut urls = Vec::new();
            if let Some(address) = address.filter(|address| address.method == ContentAddressMethod::Flat) {
                let (algorithm, hash) = (address.hash.algorithm().name(), address.hash.format(HashFormat::Base16, false));
                urls.extend(
                    options.hashed_mirrors.iter().map(|m| format!("{}/{algorithm}/{hash}", m.trim_end_matches('/'))),
                );
            }
            urls.push(url.clone());
            Ok(BuiltinRequest::Fetchurl(Fetch {
                urls,
                out,
                unpack: attribute("unpack").is_some_and(|value| value == "1"),
                executable: attribute("executable").is_some_and(|value| value == "1"),
                certificates: ca_file(options).and_then(|file| fs::read_to_string(file).ok()),
                proxy: match network {
                    Network::Proxied => Some(format!("http://{PROXY_ADDRESS}")),
                    _ => proxy(options, &url),
                },
            }))
        }
        "builtin:buildenv" => {
            let packages = buildenv::parse_packages(&required("derivations")?)
                .ok_or_else(|| reject("attribute 'derivations' is malformed".to_owned()))?;
            Ok(BuiltinRequest::Buildenv { out, manifest: required("manifest")?.into(), packages })
        }
        "builtin:unpack-channel" => {
            Ok(BuiltinRequest::UnpackChannel(Channel { src: required("src")?.into(), out, name: required("channelName")? }))
        }
        other => {
            let name = other.strip_prefix("builtin:").unwrap_or(other).to_owned();
            Ok(BuiltinRequest::Unknown { name })
        }
    }
}

/// Returns the certificates that downloads trust: a setting, a variable, or the machine's own.
pub(super) fn ca_file(options: &BuildOptions) -> Option<PathBuf> {
    let from_environment =
        || ["NIX_SSL_CERT_FILE", "SSL_CERT_FILE"].iter().find_map(|name| options.environment_variable(name));
    options
        .ca_file
        .clone()
        .or_else(|| from_environment().map(PathBuf::from))
        .or_else(|| Some(PathBuf::from("/etc/ssl/certs/ca-certificates.crt")))
        .filter(|file| file.is_file())
}

/// Returns the proxy that the environment names for an address.
fn proxy(options: &BuildOptions, url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let variable = |name: &str| {
        let value = options.environment_variable(name).or_else(|| options.environment_variable(&name.to_uppercase()));
        value.and_then(|value| value.into_string().ok()).filter(|value| !value.is_empty())
    };
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?.split(':').next()?;
    let is_excluded = variable("no_proxy").is_some_and(|list| {
        list.split(',').map(|item| item.trim().trim_start_matches('.')).any(|item| {
            item == "*" || (!item.is_empty() && (host == item || host.ends_with(&format!(".{item}"))))
        })
    });
    if is_excluded {
        return None;
    }
    match scheme {
        // Upper case would be a header of a CGI program.
        "http" => options.environment_variable("http_proxy").and_then(|value| value.into_string().ok()),
        "https" => variable("https_proxy"),
        _ => return None,
    }
    .or_else(|| variable("all_proxy"))
    .filter(|proxy| !proxy.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::Helper;

    #[test]
    fn proxies_come_from_the_environment() {
        let mut options = BuildOptions::new(Helper::program("/helper"));
        let variables = [("https_proxy", "http://s"), ("http_proxy", "http://p"), ("no_proxy", "localhost,.example.org")];
        options.environment = Some(variables.map(|(name, value)| (name.into(), value.into())).into());
        assert_eq!(proxy(&options, "https://a/b"), Some("http://s".to_owned()));
        assert_eq!(proxy(&options, "http://user@a:80/b"), Some("http://p".to_owned()));
        assert_eq!(proxy(&options, "http://localhost:8080/b"), None);
        assert_eq!(proxy(&options, "https://x.example.org"), None);
        assert_eq!(proxy(&options, "file:///b"), None);
    }
}
