//! TLS: the certificate and its key from files, read again when they change; versions and suites.
//!
//! TLS 1.2 and 1.3, with ECDHE and AES-GCM or ChaCha20 alone: what rustls offers, and what identity providers ask for.
//! The handshake and the bytes are `wire`'s.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{InconsistentKeys, ServerConfig};

use super::certificate;

/// A certificate and its key, by the files that hold them.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    state: Mutex<State>,
}

/// Where they are.
#[derive(Clone, Debug)]
pub struct Files {
    /// The certificate, then those that lead from it to a root, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM: RSA or EC, in PKCS #8 or one of the older forms, not encrypted.
    pub key: PathBuf,
}

struct State {
    config: Arc<ServerConfig>,
    /// What was read last, whether it could be used or not.
    seen: [u8; 32],
    until: Option<Timestamp>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// What reading the files again came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Reload {
    /// They are as they were.
    Same,
    /// New connections get the new certificate, which ends then.
    Done(Option<Timestamp>),
    /// The old one stays in use.
    Refused(String),
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// One sentence that names the file and what is wrong with it.
    pub fn load(files: Files) -> Result<Tls, String> {
        let (bytes, seen) = files.read()?;
        let (config, until) = files.config(&bytes)?;
        let state = Mutex::new(State {
            config,
            seen,
            until,
        });
        Ok(Tls { files, state })
    }

    /// Reads the files again if they have changed. Connections that are open keep what they began with.
    pub fn reload(&self) -> Reload {
        // A file that is missing for a moment while it is replaced counts as no change until it can be read.
        let read = match self.files.read() {
            Ok(read) => read,
            Err(trouble) => return Reload::Refused(trouble),
        };
        let (bytes, seen) = read;
        if self.state().seen == seen {
            return Reload::Same;
        }
        let made = self.files.config(&bytes);
        let mut state = self.state();
        state.seen = seen;
        match made {
            Ok((config, until)) => {
                state.config = config;
                state.until = until;
                Reload::Done(until)
            }
            Err(trouble) => Reload::Refused(trouble),
        }
    }

    /// Until when the certificate in use is valid, where that can be read.
    pub fn until(&self) -> Option<Timestamp> {
        self.state().until
    }

    /// For a new connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.state().config)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Files {
    /// The certificates, the end's first.
    ///
    /// # Errors
    ///
    /// One sentence that names the file and what is wrong with it.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        chain(&self.certificate, &read(&self.certificate)?)
    }

    fn read(&self) -> Result<([Vec<u8>; 2], [u8; 32]), String> {
        let bytes = [read(&self.certificate)?, read(&self.key)?];
        let mut seen = [0; 32];
        let each = bytes.each_ref().map(|bytes| digest(&SHA256, bytes));
        let both = [each[0].as_ref(), each[1].as_ref()].concat();
        seen.copy_from_slice(digest(&SHA256, &both).as_ref());
        Ok((bytes, seen))
    }

    /// Also says until when the certificate is valid.
    fn config(
        &self,
        [certificate, key]: &[Vec<u8>; 2],
    ) -> Result<(Arc<ServerConfig>, Option<Timestamp>), String> {
        let chain = chain(&self.certificate, certificate)?;
        let until = chain
            .first()
            .and_then(|first| certificate::facts(first))
            .map(|facts| facts.until);
        let key = self.private_key(key)?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| self.words(&error))?;
        // Who speaks HTTP/2 alone should hear so in the handshake.
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok((Arc::new(config), until))
    }

    fn private_key(&self, bytes: &[u8]) -> Result<PrivateKeyDer<'static>, String> {
        let file = self.key.display();
        PrivateKeyDer::from_pem_slice(bytes).map_err(|error| match error {
            pem::Error::NoItemsFound if contains(bytes, b"ENCRYPTED PRIVATE KEY") => format!(
                "the key in {file} is encrypted, and rollcall has no password for it: \
                 write it out in the clear with `openssl pkey -in {file}`, readable by rollcall alone"
            ),
            pem::Error::NoItemsFound => {
                format!("there is no private key in {file}: it must hold one in PEM form")
            }
            error => format!("the key in {file} can't be read: {error}"),
        })
    }

    fn words(&self, error: &rustls::Error) -> String {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
                "the key in {key} is not that of the first certificate in {certificate}: \
                 the server's own certificate must stand first, and belong to this key"
            ),
            rustls::Error::InvalidCertificate(error) => {
                format!("the first certificate in {certificate} can't be used: {error:?}")
            }
            error => format!(
                "the key in {key} can't be used: {error}; it must be RSA of at least 2048 bits, or EC (P-256, P-384)"
            ),
        }
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|error| format!("{} can't be read: {error}", file.display()))
}

fn chain(path: &Path, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = path.display();
    let chain: Vec<_> = CertificateDer::pem_slice_iter(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("the certificates in {file} can't be read: {error}"))?;
    if chain.is_empty() {
        return Err(format!(
            "there is no certificate in {file}: it must hold a chain in PEM form, the server's own first"
        ));
    }
    Ok(chain)
}

fn contains(bytes: &[u8], words: &[u8]) -> bool {
    bytes.windows(words.len()).any(|window| window == words)
}
