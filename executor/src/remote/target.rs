//! Where a server is, and how it is spoken to.

use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::RemoteError;

/// The address of a server.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The value of the header `Host`.
    pub(crate) authority: String,
    /// What is before the paths of requests: nothing, or such as `/sandbox`.
    pub(crate) prefix: String,
    /// The name that its certificate has to have, where TLS is spoken.
    secret: Option<ServerName<'static>>,
}

/// A server, and how it is spoken to.
#[derive(Clone)]
pub(crate) struct Target {
    /// As the recipe has it, for messages.
    pub(crate) url: String,
    pub(crate) address: Address,
    pub(crate) tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Address {
    /// Takes an address apart.
    pub(crate) fn parse(url: &str) -> Result<Self, RemoteError> {
        let wrong = |why: &str| RemoteError::Address { url: url.to_owned(), why: why.to_owned() };
        let uri: Uri =
            url.parse().map_err(|error: hyper::http::uri::InvalidUri| wrong(&error.to_string()))?;
        let (usual, is_secret) = match uri.scheme_str() {
            Some("http") => (80, false),
            Some("https") => (443, true),
            _ => return Err(wrong("wanted `http://` or `https://` in front")),
        };
        let authority = uri.authority().ok_or_else(|| wrong("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("it has a user name, and the token belongs in a file"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has a query"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(host.clone()).map_err(|_| wrong("its host is no name or address"))?;
        Ok(Self {
            port: authority.port_u16().unwrap_or(usual),
            authority: authority.to_string(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            secret: is_secret.then_some(name),
            host,
        })
    }
}

impl Target {
    /// The server at `url`; `tls` is for those that begin with `https://`.
    pub(crate) fn new(url: &str, tls: &TlsConnector) -> Result<Self, RemoteError> {
        let address = Address::parse(url)?;
        let tls = address.secret.clone().map(|name| (tls.clone(), name));
        Ok(Self { url: url.to_owned(), address, tls })
    }
}

/// What trusts the certificates of `ca_file`, or those that browsers trust.
pub(crate) fn connector(ca_file: Option<&Path>) -> Result<TlsConnector, RemoteError> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        Some(path) => {
            let unreadable = |why: String| RemoteError::Certificates { path: path.to_owned(), why };
            let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
            for certificate in read.map_err(|error| unreadable(error.to_string()))? {
                roots.add(certificate).map_err(|error| unreadable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unreadable("it has none".to_owned()));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(RemoteError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_apart_or_refused_with_what_is_wrong() {
        let address = Address::parse("https://sandbox.example/fusion/").unwrap();
        assert_eq!((address.host.as_str(), address.port), ("sandbox.example", 443));
        assert_eq!((address.prefix.as_str(), address.secret.is_some()), ("/fusion", true));
        let address = Address::parse("http://[::1]:8080").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.secret.is_none()), ("::1", 8080, true));
        for (url, why) in [
            ("sandbox:7443", "wanted `http://`"),
            ("ftp://sandbox", "wanted `http://`"),
            ("https://token@sandbox", "the token belongs in a file"),
            ("http://sandbox/?a=b", "it has a query"),
            ("http://sand box", "invalid"),
            ("http://-_-!", "no name or address"),
        ] {
            let message = Address::parse(url).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains(why), "{url}: {message}");
        }
    }
}
