//! Asks a server one question, as a client would: whether it is well, and how it looks from there.
//!
//! HTTP/1.0, so that the answer ends where the connection does, whatever proxy stands in between.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};

/// For all of it.
const PATIENCE: Duration = Duration::from_secs(5);

/// More of an answer is of no interest.
const ANSWER_MAX_BYTES: usize = 1024 * 1024;

/// Where to ask.
#[derive(Clone, Debug)]
pub enum Target {
    /// `HOST:PORT`
    Tcp(String),
    /// A Unix socket.
    Unix(PathBuf),
}

/// How this machine reaches what listens there, also where that is every address.
impl From<SocketAddr> for Target {
    fn from(mut address: SocketAddr) -> Target {
        match address.ip() {
            ip if !ip.is_unspecified() => {}
            ip if ip.is_ipv4() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            _ => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        }
        Target::Tcp(address.to_string())
    }
}

/// Whose certificate will do.
#[derive(Clone, Debug)]
pub enum Trust {
    /// One that leads to a root in this file (PEM), for the host that is asked.
    Roots(PathBuf),
    /// This one alone, whatever its name.
    Leaf(CertificateDer<'static>),
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
    headers: Vec<(String, String)>,
}

impl Seen {
    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// Whether a connection is accepted there and answered somehow: that there are too many is an answer, and so is what a
/// port for TLS says to plain HTTP.
pub fn is_answered(target: &Target) -> bool {
    fn asked(mut stream: impl Read + Write) -> io::Result<usize> {
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n")?;
        stream.read(&mut [0])
    }
    let answer = match target {
        Target::Tcp(address) => tcp(address).and_then(asked),
        Target::Unix(path) => unix(path).and_then(asked),
    };
    // To close the connection is an answer, too: what it turns away by TLS, a server can't tell anything.
    let closed = [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    answer.map_or_else(|error| closed.contains(&error.kind()), |_| true)
}

fn unix(path: &Path) -> io::Result<UnixStream> {
    let socket = UnixStream::connect(path)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn tcp(address: &str) -> io::Result<TcpStream> {
    let no_address = || io::Error::new(ErrorKind::NotFound, "the name has no address");
    let first = address.to_socket_addrs()?.next().ok_or_else(no_address)?;
    let socket = TcpStream::connect_timeout(&first, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// Sends a GET for `path` at `host`, by TLS if `trust` says whom to believe.
///
/// # Errors
///
/// One sentence: nobody answers, the certificate won't do, or what comes is no HTTP.
pub fn get(target: &Target, host: &str, path: &str, trust: Option<&Trust>) -> Result<Seen, String> {
    let deadline = Instant::now() + PATIENCE;
    let words = |error: io::Error| error.to_string();
    let request = format!("GET {path} HTTP/1.0\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let bytes = match target {
        Target::Unix(path) => exchange(unix(path).map_err(words)?, &request, deadline),
        Target::Tcp(address) => {
            let socket = tcp(address).map_err(words)?;
            match trust {
                None => exchange(socket, &request, deadline),
                Some(trust) => {
                    let name = host_alone(host).to_owned();
                    let name = ServerName::try_from(name).map_err(|error| error.to_string())?;
                    let connection = ClientConnection::new(config(trust)?, name)
                        .map_err(|error| error.to_string())?;
                    exchange(StreamOwned::new(connection, socket), &request, deadline)
                }
            }
        }
    };
    read(&bytes?)
}

/// A host without its port and brackets.
fn host_alone(host: &str) -> &str {
    if let Some((inside, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return inside;
    }
    host.split(':').next().unwrap_or(host)
}

fn exchange(
    mut stream: impl Read + Write,
    request: &str,
    deadline: Instant,
) -> Result<Vec<u8>, String> {
    stream
        .write_all(request.as_bytes())
        .and_then(|()| stream.flush())
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    let mut piece = [0; 16 * 1024];
    while bytes.len() < ANSWER_MAX_BYTES {
        if Instant::now() > deadline {
            return Err("the answer takes too long".to_owned());
        }
        match stream.read(&mut piece) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            // Some servers close without TLS's farewell; the length says whether all is there.
            Err(_) if !bytes.is_empty() => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(bytes)
}

fn read(bytes: &[u8]) -> Result<Seen, String> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let Ok(httparse::Status::Complete(used)) = response.parse(bytes) else {
        return Err("what answers is no HTTP server".to_owned());
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok(Seen {
        status: response.code.unwrap_or_default(),
        headers: response
            .headers
            .iter()
            .map(|field| (field.name.to_owned(), text(field.value)))
            .collect(),
        body: bytes[used..].to_vec(),
    })
}

fn config(trust: &Trust) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let config = match trust {
        Trust::Roots(file) => {
            let trouble = |error| format!("{}: {error}", file.display());
            let mut roots = RootCertStore::empty();
            for root in CertificateDer::pem_file_iter(file).map_err(trouble)? {
                // A root that can't be read is one less, as for other clients.
                let _ = roots.add(root.map_err(trouble)?);
            }
            builder.with_root_certificates(roots).with_no_client_auth()
        }
        Trust::Leaf(leaf) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned {
                leaf: leaf.clone(),
                provider,
            }))
            .with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

/// Believes one certificate. Its key must still sign the handshake.
struct Pinned {
    leaf: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").finish_non_exhaustive()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *shown == self.leaf {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_loses_its_port() {
        for (host, alone) in [
            ("a", "a"),
            ("a:1", "a"),
            ("[::1]:1", "::1"),
            ("[::1]", "::1"),
        ] {
            assert_eq!(host_alone(host), alone);
        }
    }
}
