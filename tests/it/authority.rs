//! A certificate authority of the `openssl` command, and clients that trust it alone: `openssl s_client` and rustls.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{PATIENCE, Server};

/// A request that every server answers with "ok".
pub const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A root, an intermediate authority, and room for what they sign.
pub struct Authority {
    dir: tempfile::TempDir,
}

impl Authority {
    /// Makes both.
    pub fn new() -> Authority {
        let authority = Authority {
            dir: tempfile::tempdir().unwrap(),
        };
        let ca = "basicConstraints=critical,CA:TRUE";
        authority.openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-keyout",
            "root.key",
            "-out",
            "root.pem",
            "-subj",
            "/CN=Root",
            "-addext",
            ca,
        ]);
        authority.sign(
            "middle",
            "Middle",
            "root",
            &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
            ca,
        );
        authority
    }

    /// A chain for `localhost` in `NAME.pem`, its key in `NAME.key`; `subject` tells it from others.
    pub fn issue(&self, name: &str, subject: &str, key: &[&str]) -> (PathBuf, PathBuf) {
        self.issue_for(name, subject, key, "subjectAltName=DNS:localhost")
    }

    /// The same for the names of `extension`.
    pub fn issue_for(
        &self,
        name: &str,
        subject: &str,
        key: &[&str],
        extension: &str,
    ) -> (PathBuf, PathBuf) {
        self.sign(name, subject, "middle", key, extension);
        let chain = ["end.pem", "middle.pem"].map(|file| match file {
            "end.pem" => fs::read(self.path(&format!("{name}.pem"))).unwrap(),
            other => fs::read(self.path(other)).unwrap(),
        });
        fs::write(self.path(&format!("{name}.pem")), chain.concat()).unwrap();
        (
            self.path(&format!("{name}.pem")),
            self.path(&format!("{name}.key")),
        )
    }

    fn sign(&self, name: &str, subject: &str, by: &str, key: &[&str], extension: &str) {
        let [request, pem, private] = ["csr", "pem", "key"].map(|end| format!("{name}.{end}"));
        let subject = format!("/CN={subject}");
        let arguments = [
            "-nodes", "-keyout", &private, "-out", &request, "-subj", &subject,
        ];
        self.openssl(&[&["req", "-newkey"], key, &arguments].concat());
        fs::write(self.path("extension"), extension).unwrap();
        let (ca, ca_key) = (format!("{by}.pem"), format!("{by}.key"));
        self.openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-days",
            "90",
            "-CAcreateserial",
            "-extfile",
            "extension",
            "-out",
            &pem,
        ]);
    }

    /// Where a file of it is.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `openssl` among its files.
    #[track_caller]
    pub fn openssl(&self, arguments: &[&str]) {
        let made = Command::new("openssl")
            .current_dir(self.dir.path())
            .args(arguments)
            .output()
            .expect("the openssl command");
        assert!(
            made.status.success(),
            "{arguments:?}: {}",
            text(&made.stderr)
        );
    }

    /// `openssl s_client`, which must be content with the chain and the name. `said` goes to its standard input.
    pub fn s_client(&self, address: SocketAddr, arguments: &[&str], said: &str) -> Output {
        let mut child = Command::new("timeout")
            .args([
                "20",
                "openssl",
                "s_client",
                "-connect",
                &address.to_string(),
            ])
            .args(["-servername", "localhost", "-verify_hostname", "localhost"])
            .args(["-verify_return_error", "-CAfile"])
            .arg(self.path("root.pem"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A client that was refused is gone without having read it.
        let _ = child.stdin.take().unwrap().write_all(said.as_bytes());
        child.wait_with_output().unwrap()
    }
}

/// An EC key, in the words of `openssl req`.
pub const EC: &[&str] = &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
/// An RSA key.
pub const RSA: &[&str] = &["rsa:2048"];

/// Bytes to read.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A server by this chain and key.
pub fn start((certificate, key): &(PathBuf, PathBuf), more: &[&str]) -> Server {
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    Server::start_with(&[&["--tls-cert", certificate, "--tls-key", key], more].concat())
}

/// An HTTPS connection of rustls that trusts `root` alone.
pub struct Secure(StreamOwned<ClientConnection, TcpStream>);

impl Secure {
    /// Connects; the handshake comes with the first request.
    pub fn connect(address: SocketAddr, root: &Path) -> Secure {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(root).unwrap())
            .unwrap();
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = "localhost".try_into().unwrap();
        let connection = ClientConnection::new(Arc::new(config), name).unwrap();
        let socket = TcpStream::connect_timeout(&address, PATIENCE).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Secure(StreamOwned::new(connection, socket))
    }

    /// Sends a request, and returns the answer's head and body.
    pub fn ask(&mut self, request: &str) -> (String, Vec<u8>) {
        self.try_ask(request).unwrap()
    }

    /// As [`Secure::ask`], for a server that may turn it away.
    pub fn try_ask(&mut self, request: &str) -> io::Result<(String, Vec<u8>)> {
        self.0.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        let mut piece = [0; 16 * 1024];
        loop {
            let count = self.0.read(&mut piece)?;
            if count == 0 {
                return Err(io::Error::other(format!("closed after {}", text(&bytes))));
            }
            bytes.extend_from_slice(&piece[..count]);
            let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = text(&bytes[..end]).to_ascii_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if bytes.len() == end + 4 + length {
                return Ok((head, bytes.split_off(end + 4)));
            }
        }
    }

    /// The certificate that the server showed.
    pub fn shown(&self) -> Vec<u8> {
        self.0.conn.peer_certificates().unwrap()[0].to_vec()
    }
}
