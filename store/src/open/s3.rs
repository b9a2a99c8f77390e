//! `s3://` caches: what their addresses say about where the bucket is.

use std::sync::Arc;

use super::OpenError;
use crate::configuration::Configuration;
use crate::transfer::Transport;
use crate::transfer::s3::{AddressingStyle, S3Credentials, S3Options, S3Transport};

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
            // Files are sent in one piece.
            "multipart-upload" | "multipart-chunk-size" | "multipart-threshold" | "buffer-size" => {}
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Returns whether there is only one bucket of this name: where somebody else than Amazon keeps it there may be more.
    pub(super) fn is_unique(&self) -> bool {
        self.options.endpoint.is_none()
    }

    /// Returns how to reach the bucket, over HTTP.
    pub(super) fn transport(mut self, configuration: &dyn Configuration, http: Arc<dyn Transport>) -> Arc<dyn Transport> {
        let variable = |name: &str| configuration.variable(name)?.into_string().ok();
        self.options.credentials = S3Credentials::find(self.profile.as_deref(), variable);
        Arc::new(S3Transport::new(http, self.options))
    }
}
