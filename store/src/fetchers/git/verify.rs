//! Signatures of commits, checked by git and ssh-keygen.

use std::io::Write;

use super::super::command::{Git, output};
use super::super::{FetchError, FetchResult, Fetchers, Importance};
use crate::hash::{Algorithm, Hash, HashFormat};
use crate::input::Input;

/// Kinds of keys, and what ssh calls them.
const KINDS: &[(&str, &str)] = &[
    ("ssh-dsa", "ssh-dsa"),
    ("ssh-ecdsa", "ssh-ecdsa"),
    ("ssh-ecdsa-sk", "sk-ecdsa-sha2-nistp256@openssh.com"),
    ("ssh-ed25519", "ssh-ed25519"),
    ("ssh-ed25519-sk", "sk-ssh-ed25519@openssh.com"),
    ("ssh-rsa", "ssh-rsa"),
];

impl Fetchers {
    /// Checks that one of the input's keys signed its commit, if it wants that. Without `git` there is no commit.
    pub(super) fn verify(&self, input: &Input, git: Option<&Git>) -> FetchResult<()> {
        let keys = input.public_keys()?;
        let is_wanted = if input.attrs().contains_key("verifyCommit") { input.is_on("verifyCommit")? } else { !keys.is_empty() };
        if !is_wanted {
            return Ok(());
        }
        let (Some(revision), Some(git)) = (input.revision_text()?, git) else {
            return Err(FetchError::refused(format!("commit verification is required for Git repository '{input}', but it's dirty")));
        };
        let mut signers = String::new();
        let mut fingerprints = Vec::new();
        for key in &keys {
            let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == key.kind) else {
                let kinds: String = KINDS.iter().map(|(name, _)| format!("  {name}\n")).collect();
                return Err(FetchError::refused(format!("Invalid SSH key type '{}' in publicKeys.\nPlease use one of:\n{kinds}", key.kind)));
            };
            // A line break would be another line of the list.
            let decoded = data_encoding::BASE64.decode(key.key.as_bytes()).map_err(|error| FetchError::While {
                message: format!("while decoding public key '{}' used for git signature", key.key),
                source: Box::new(FetchError::refused(error.to_string())),
            })?;
            signers.push_str(&format!("* {kind} {}\n", key.key));
            let fingerprint = Hash::digest(Algorithm::Sha256, &decoded).format(HashFormat::Base64, false);
            fingerprints.push(format!("key SHA256:{}", fingerprint.trim_end_matches('=')));
        }
        let mut file = tempfile::NamedTempFile::new().map_err(FetchError::spool)?;
        file.write_all(signers.as_bytes()).map_err(FetchError::spool)?;
        let mut setting = std::ffi::OsString::from("gpg.ssh.allowedSignersFile=");
        setting.push(file.path());
        let mut command = Git::nowhere();
        command.arg("-c").arg(setting).arg("-C").arg(git.dir()).args(["verify-commit", &revision]);
        let answer = output(&mut command, None)?;
        let said = [&answer.stdout[..], &answer.stderr[..]].concat();
        let said = String::from_utf8_lossy(&said);
        // The status alone doesn't do: a key that git knows from elsewhere may have signed too.
        let is_good = said.lines().any(|line| {
            line.starts_with("Good \"git\" signature for * with ") && fingerprints.iter().any(|fingerprint| line.ends_with(fingerprint.as_str()))
        });
        if !answer.status.success() || !is_good {
            return Err(FetchError::refused(format!("Commit signature verification on commit {revision} failed: {said}")));
        }
        self.observer.message(Importance::Talkative, &format!("Signature verification on commit {revision} succeeded."));
        Ok(())
    }
}
