//! What names a store on the command line and in recipes.

use std::sync::Arc;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreScheme};
use url::{Position, Url};

use super::RemoteError;
use super::connector::Connector;

/// The address of a folder in a store.
#[derive(Clone, Debug)]
pub(super) struct Address {
    url: Url,
    scheme: ObjectStoreScheme,
    pub(super) prefix: Key,
}

impl Address {
    /// Reads `s3://BUCKET/PATH`, `gs://…`, `az://…`, `abfss://…`, `https://…` or `file:///…`; a text without `://` is the path of a
    /// folder. Nothing is looked up.
    ///
    /// # Errors
    ///
    /// If it is none of these, or holds a password, which would be stored with the recipe and printed.
    pub(super) fn parse(text: &str) -> Result<Address, RemoteError> {
        let wrong = |reason: String| RemoteError::Address { url: text.to_owned(), reason };
        let url = if text.contains("://") {
            Url::parse(text).map_err(|error| wrong(error.to_string()))?
        } else {
            let path = std::path::absolute(text).map_err(|error| wrong(error.to_string()))?;
            Url::from_file_path(path).map_err(|()| wrong("it is no path".to_owned()))?
        };
        if url.password().is_some() {
            return Err(wrong(
                "credentials belong into the environment, where nobody prints them".to_owned(),
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(wrong("nothing may come after the path".to_owned()));
        }
        let (scheme, prefix) = match ObjectStoreScheme::parse(&url) {
            Ok((ObjectStoreScheme::Memory, _)) | Err(_) => {
                return Err(wrong("no store has that scheme, or the bucket is missing".to_owned()));
            }
            Ok(found) => found,
        };
        Ok(Address { url, scheme, prefix })
    }

    /// The store, with credentials from the environment.
    ///
    /// # Errors
    ///
    /// If something is missing there.
    pub(super) fn open(&self) -> object_store::Result<Arc<dyn ObjectStore>> {
        let text = self.url.as_str();
        Ok(match self.scheme {
            ObjectStoreScheme::AmazonS3 => {
                let builder = AmazonS3Builder::from_env().with_url(text);
                Arc::new(builder.with_http_connector(Connector).build()?)
            }
            ObjectStoreScheme::GoogleCloudStorage => {
                let builder = GoogleCloudStorageBuilder::from_env().with_url(text);
                Arc::new(builder.with_http_connector(Connector).build()?)
            }
            ObjectStoreScheme::MicrosoftAzure => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(text);
                Arc::new(builder.with_http_connector(Connector).build()?)
            }
            ObjectStoreScheme::Http => {
                let builder = HttpBuilder::new().with_url(&self.url[..Position::BeforePath]);
                Arc::new(builder.with_http_connector(Connector).build()?)
            }
            _ => Arc::new(LocalFileSystem::new().with_fsync(true)),
        })
    }

    /// Whether it lists folders, so that one may be missing, rather than objects.
    pub(super) fn has_folders(&self) -> bool {
        matches!(self.scheme, ObjectStoreScheme::Local | ObjectStoreScheme::Http)
    }

    /// Whether a file can be sent in parts.
    pub(super) fn takes_parts(&self) -> bool {
        self.scheme != ObjectStoreScheme::Http
    }

    /// Variables by which the store knows whoever uses it; none where it asks nobody.
    pub(super) fn credentials(&self) -> &'static str {
        match self.scheme {
            ObjectStoreScheme::AmazonS3 => {
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT"
            }
            ObjectStoreScheme::GoogleCloudStorage => "GOOGLE_APPLICATION_CREDENTIALS, GOOGLE_SERVICE_ACCOUNT",
            ObjectStoreScheme::MicrosoftAzure => {
                "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_SAS_TOKEN, AZURE_CLIENT_ID"
            }
            _ => "",
        }
    }
}
