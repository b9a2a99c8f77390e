//! `s3://` caches: what their addresses say about where the bucket is.

use std::sync::Arc;

use super::{OpenError, OpenObserver};
use crate::configuration::Configuration;
use crate::transfer::Transport;
use crate::transfer::s3::{AddressingStyle, CredentialChain, S3Options, S3Transport};

/// What the parameters of an address say.
#[derive(Default)]
pub(super) struct Bucket {
    options: S3Options,
    profile: Option<String>,
}

impl Bucket {
    /// Takes a parameter. Returns false if it is none of a bucket's.
    pub(super) fn parameter(&mut self, name: &str, value: &str) -> Result<bool, OpenError> {
        let given = Some(value.to_owned()).filter(|value| !value.is_empty());
        let number = || value.parse().map_err(|_| OpenError::new(format!("setting '{name}' has invalid value '{value}'")));
        match name {
            "profile" => self.profile = given.filter(|profile| profile != "default"),
            "region" => self.options.region = value.to_owned(),
            "endpoint" => self.options.endpoint = given,
            "scheme" => self.options.scheme = value.to_owned(),
            "storage-class" => self.options.storage_class = given,
            "addressing-style" => {
                self.options.addressing_style = match value {
                    "auto" => AddressingStyle::Auto,
                    "path" => AddressingStyle::Path,
                    "virtual" => AddressingStyle::Virtual,
                    other => return Err(OpenError::new(format!("option 'addressing-style' has invalid value '{other}', expected 'auto', 'path', or 'virtual'"))),
                }
            }
            "multipart-upload" => self.options.multipart.is_enabled = matches!(value, "true" | "1" | "yes"),
            "multipart-chunk-size" | "buffer-size" => self.options.multipart.part_size = number()?,
            "multipart-threshold" => self.options.multipart.threshold = number()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Checks what only all parameters together say.
    pub(super) fn check(&self, observer: &dyn OpenObserver) -> Result<(), OpenError> {
        if let Some(warning) = self.options.multipart.warning() {
            observer.warn(&warning);
        }
        self.options.multipart.complaint().map_or(Ok(()), |complaint| Err(OpenError::new(complaint)))
    }

    /// Returns whether there is only one bucket of this name: where somebody else than Amazon keeps it there may be more.
    pub(super) fn is_unique(&self) -> bool {
        self.options.endpoint.is_none()
    }

    /// Returns how to reach the bucket, over HTTP.
    pub(super) fn transport(self, configuration: &Arc<dyn Configuration>, http: Arc<dyn Transport>) -> Arc<dyn Transport> {
        let configuration = Arc::clone(configuration);
        let chain = CredentialChain::new(self.profile, move |name| configuration.variable(name)?.into_string().ok());
        Arc::new(S3Transport::new(http, self.options).chain(chain))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::transfer::s3::MultipartOptions;

    #[derive(Default)]
    struct Warnings(Mutex<Vec<String>>);

    impl OpenObserver for Warnings {
        fn warn(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
    }

    #[test]
    fn sizes_of_parts_are_checked() {
        let check = |parameters: &[(&str, &str)]| {
            let (mut bucket, warnings) = (Bucket::default(), Warnings::default());
            for (name, value) in parameters {
                assert!(bucket.parameter(name, value).map_err(|error| error.to_string())?);
            }
            bucket.check(&warnings).map_err(|error| error.to_string())?;
            Ok::<_, String>((bucket.options.multipart, warnings.0.into_inner().unwrap()))
        };
        // Messages of 2.34.8.
        assert_eq!(check(&[("multipart-chunk-size", "1000")]).unwrap_err(), "multipart-chunk-size must be at least 5.0 MiB, got 1.0 KiB");
        assert_eq!(check(&[("buffer-size", "9999999999")]).unwrap_err(), "multipart-chunk-size must be at most 5.0 GiB, got 9.3 GiB");
        assert!(check(&[("multipart-threshold", "many")]).is_err());
        let (options, warnings) = check(&[("multipart-upload", "true"), ("multipart-threshold", "1048576")]).unwrap();
        assert!(options.is_enabled && options.threshold == 1 << 20);
        assert!(warnings[0].starts_with("multipart-threshold (1.0 MiB) is less than multipart-chunk-size (5.0 MiB), which may"), "{warnings:?}");
        assert_eq!(check(&[]).unwrap(), (MultipartOptions::default(), Vec::new()));
    }
}
