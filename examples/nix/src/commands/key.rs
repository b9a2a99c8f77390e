//! `key …`: signing keys. Also `nix-store --generate-binary-cache-key`.

use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;

use nixlang_store::signature::SecretKey;

use super::Invocation;
use crate::failure::{Failure, Outcome};

/// Makes a key from the operating system's randomness.
fn generate(name: &str) -> Outcome<SecretKey> {
    let mut seed = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(SecretKey::from_seed(name, &seed))
}

/// `key generate-secret --key-name NAME`
pub(super) fn generate_secret(mut invocation: Invocation) -> Outcome<u8> {
    let mut name = None;
    invocation.parse(
        |flag, args| {
            if flag == "--key-name" {
                name = Some(args.value(flag)?);
            }
            Ok(flag == "--key-name")
        },
        |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))),
    )?;
    invocation.context()?;
    let name = name.ok_or_else(|| Failure::Usage("required argument '--key-name' is missing".into()))?;
    print!("{}", generate(&name)?.to_secret_text());
    Ok(0)
}

/// `key convert-secret-to-public`
pub(super) fn to_public(mut invocation: Invocation) -> Outcome<u8> {
    invocation.parse(|_, _| Ok(false), |word, _| Err(Failure::Usage(format!("unexpected argument '{word}'"))))?;
    invocation.context()?;
    let text = String::from_utf8_lossy(&crate::common::read_stdin()?).into_owned();
    let key: SecretKey = text.trim().parse().map_err(|error: nixlang_store::signature::SignatureError| Failure::from_error(&error))?;
    print!("{}", key.public_key());
    Ok(0)
}

/// Makes a key and writes both halves to files, the secret one readable for nobody else.
pub(super) fn generate_to_files(name: &str, secret: &str, public: &str) -> Outcome<()> {
    let key = generate(name)?;
    let writing = |file: &str, error: std::io::Error| Failure::new(format!("opening file \"{file}\": {}", crate::failure::plain(&error)));
    std::fs::write(public, key.public_key().to_string()).map_err(|error| writing(public, error))?;
    let mut options = std::fs::File::options();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(secret).map_err(|error| writing(secret, error))?;
    std::io::Write::write_all(&mut file, key.to_secret_text().as_bytes()).map_err(|error| writing(secret, error))
}
