//! The program under test, and a plain HTTP client to talk to it.
//!
//! ```ignore
//! let server = Server::start_dev();
//! let mut client = server.client();
//! let answer = client.send("POST", "/scim/v2/Users", &json!({"userName": "ada"}));
//! assert_eq!((answer.status, &answer.json()["userName"]), (201, &json!("ada")));
//! ```
//!
//! The client is made of std alone: it sends what it is told, right or wrong, and hides nothing.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take before a test fails.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The body of an answer that no server sent; there must be one.
#[track_caller]
pub fn body_of(answer: &rollcall::provision::Answer) -> serde_json::Value {
    let text = answer.body.clone().expect("a body").text();
    serde_json::from_str(&text.to_string()).expect("JSON")
}

/// A running `rollcall serve` with its own data folder. Both are gone when it is dropped.
pub struct Server {
    child: Child,
    data: tempfile::TempDir,
    /// Its data folder: inside `data`, unless a test has its own.
    folder: PathBuf,
    stdout: Receiver<String>,
    /// Where it listens, on loopback.
    pub address: SocketAddr,
    /// The SCIM token of tenant `dev`; empty unless started by [`Server::start_dev`].
    pub token: String,
    /// The settings link; empty unless started by [`Server::start_dev`].
    pub settings: String,
}

impl Server {
    /// Starts it on a free port, with an empty data folder.
    #[track_caller]
    pub fn start() -> Server {
        Server::run(Command::new(env!("CARGO_BIN_EXE_rollcall")), None, &[])
    }

    /// Starts it on a data folder that was there before it and stays after it.
    #[track_caller]
    pub fn start_in(folder: &Path) -> Server {
        let program = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        Server::run(program, Some(folder), &[])
    }

    /// The same with more options.
    #[track_caller]
    pub fn start_in_with(folder: &Path, options: &[&str]) -> Server {
        let program = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        Server::run(program, Some(folder), options)
    }

    /// Starts it on such a folder, with these variables in its environment.
    #[track_caller]
    pub fn start_in_with_environment(folder: &Path, variables: &[(&str, &Path)]) -> Server {
        let mut program = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        program.envs(variables.iter().copied());
        Server::run(program, Some(folder), &[])
    }

    /// Starts it with more options, and an empty data folder.
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Server {
        Server::run(Command::new(env!("CARGO_BIN_EXE_rollcall")), None, options)
    }

    /// Starts it with more of its environment and more options, and an empty data folder.
    #[track_caller]
    pub fn start_with_env(environment: &[(&str, &str)], options: &[&str]) -> Server {
        let mut program = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        program.envs(environment.iter().copied());
        Server::run(program, None, options)
    }

    /// Starts it with `--dev`: there is a tenant `dev`, and its token is known.
    #[track_caller]
    pub fn start_dev() -> Server {
        Server::start_dev_with(&[])
    }

    /// The same with more options.
    #[track_caller]
    pub fn start_dev_with(options: &[&str]) -> Server {
        let program = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        let mut server = Server::run(program, None, &[&["--dev"], options].concat());
        while server.token.is_empty() || server.settings.is_empty() {
            let line = server.line();
            if let Some(token) = line.strip_prefix("SCIM token: ") {
                server.token = token.trim().to_owned();
            } else if let Some(settings) = line.strip_prefix("settings: ") {
                server.settings = settings.trim().to_owned();
            }
        }
        server
    }

    /// Starts it with at most so many descriptors.
    #[track_caller]
    pub fn start_with_descriptors(most: u32) -> Server {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -n {most}; exec \"$0\" \"$@\"");
        shell.args(["-c", &script, env!("CARGO_BIN_EXE_rollcall")]);
        Server::run(shell, None, &[])
    }

    /// Starts it by a command that becomes it.
    #[track_caller]
    pub fn start_by(command: Command, options: &[&str]) -> Server {
        Server::run(command, None, options)
    }

    #[track_caller]
    fn run(mut command: Command, folder: Option<&Path>, options: &[&str]) -> Server {
        let data = tempfile::tempdir().expect("a temporary folder");
        let folder = folder.map_or_else(|| data.path().join("data"), Path::to_owned);
        let stderr = File::create(data.path().join("stderr")).expect("a file for stderr");
        command
            .arg("serve")
            .arg("--data")
            .arg(&folder)
            .args(options);
        if !options.contains(&"--listen") {
            command.args(["--listen", "127.0.0.1:0"]);
        }
        command
            .env("RUST_LOG", "info")
            // Tests ask as fast as they can; those of the limit set it themselves.
            .env("ROLLCALL_SCIM_RATE", "1000000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr);
        let mut child = command.spawn().expect("the program starts");
        let (sender, stdout) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().expect("stdout is a pipe")).lines();
        // Reads on when nobody listens any more: a full pipe would stop the program.
        thread::spawn(move || {
            lines
                .map_while(Result::ok)
                .for_each(|line| drop(sender.send(line)))
        });
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (token, settings) = (String::new(), String::new());
        let mut server = Server {
            child,
            data,
            folder,
            stdout,
            address,
            token,
            settings,
        };
        let first = server.line();
        let listening = first.strip_prefix("listening on ");
        let address = listening.unwrap_or_else(|| panic!("the first line is {first:?}"));
        let (_, address) = address.split_once("//").unwrap_or_default();
        // A Unix socket has none.
        server.address = address.trim().parse().unwrap_or(server.address);
        server
    }

    /// The next line of stdout.
    #[track_caller]
    pub fn line(&self) -> String {
        self.stdout
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|_| panic!("no line on stdout; stderr: {}", self.stderr()))
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        fs::read_to_string(self.data.path().join("stderr")).unwrap_or_default()
    }

    /// Its data folder, for commands that run beside it.
    pub fn data(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Runs a command of the CLI on its data folder, beside it.
    pub fn rollcall(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
        command.arg("--data").arg(&self.folder).args(arguments);
        command.output().expect("the program starts")
    }

    /// Runs SQL on its database, beside it: what no address can do, as letting time pass.
    #[track_caller]
    pub fn sql(&self, statement: &str) {
        let conn = rusqlite::Connection::open(self.folder.join("rollcall.db")).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn.execute_batch(statement).unwrap();
    }

    /// What a query for one number answers.
    #[track_caller]
    pub fn number(&self, query: &str) -> i64 {
        let conn = rusqlite::Connection::open(self.folder.join("rollcall.db")).unwrap();
        conn.busy_timeout(PATIENCE).unwrap();
        conn.query_row(query, [], |row| row.get(0)).unwrap()
    }

    /// A client that shows the token of [`Server::start_dev`], if there is one.
    pub fn client(&self) -> Client {
        Client {
            token: self.token.clone(),
            ..self.anyone()
        }
    }

    /// A client without a token.
    pub fn anyone(&self) -> Client {
        Client::to(self.address)
    }

    /// A new connection.
    #[track_caller]
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Its entry in `/proc`, such as `status` or `fd`.
    pub fn proc(&self, entry: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join(entry)
    }

    /// Sends SIGTERM.
    #[track_caller]
    pub fn terminate(&self) {
        self.signal("-TERM");
    }

    /// Sends a signal, as `kill` names it.
    #[track_caller]
    pub fn signal(&self, signal: &str) {
        let sent = Command::new("kill")
            .args([signal, &self.child.id().to_string()])
            .status();
        assert!(sent.expect("kill runs").success());
    }

    /// Sends SIGKILL, and waits until it is gone.
    #[track_caller]
    pub fn kill(&mut self) {
        self.child.kill().expect("it is ours");
        self.child.wait().expect("an exit status");
    }

    /// Waits until it has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        // stdout is closed when the process ends, so this needs no polling.
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self
            .stdout
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            drop(line);
        }
        assert!(
            Instant::now() < deadline,
            "still running; stderr: {}",
            self.stderr()
        );
        self.child.wait().expect("an exit status")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Talks to the server over one connection, which it opens again when the server has closed it.
pub struct Client {
    address: SocketAddr,
    token: String,
    wire: Option<Wire>,
}

impl Client {
    /// One for something else that listens.
    pub fn to(address: SocketAddr) -> Client {
        Client {
            address,
            token: String::new(),
            wire: None,
        }
    }

    /// Uses another token. Empty: none.
    pub fn with_token(self, token: &str) -> Client {
        Client {
            token: token.to_owned(),
            ..self
        }
    }

    /// Sends a GET.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, &[], b"")
    }

    /// Sends anything. Host, Content-Length and the token are added.
    #[track_caller]
    pub fn request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        self.try_request(method, path, headers, body)
            .unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// As [`Client::request`], for a server that may vanish meanwhile.
    pub fn try_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Answer> {
        let mut bytes = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        if !self.token.is_empty() {
            bytes += &format!("Authorization: Bearer {}\r\n", self.token);
        }
        for (name, value) in headers {
            bytes += &format!("{name}: {value}\r\n");
        }
        let bytes = [bytes.as_bytes(), b"\r\n", body].concat();
        let wire = self.wire.get_or_insert_with(|| Wire::connect(self.address));
        wire.stream().write_all(&bytes)?;
        let answer = wire.read(method != "HEAD")?;
        if answer.header("connection") == Some("close") {
            self.wire = None;
        }
        Ok(answer)
    }
}

/// One connection: bytes out, answers in. Nothing takes longer than [`PATIENCE`].
pub struct Wire {
    reader: BufReader<TcpStream>,
}

impl Wire {
    /// Connects.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Wire {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket");
        Wire {
            reader: BufReader::new(stream),
        }
    }

    /// The socket itself.
    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref()
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.stream()
            .write_all(bytes.as_ref())
            .expect("the server reads");
    }

    /// Reads an answer.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.read(true).expect("an answer")
    }

    /// Whether the server closes the connection without another byte. Waits for that; a reset counts, too.
    pub fn is_closed(&mut self) -> bool {
        match self.reader.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    /// Reads an answer, or fails where there's none.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        self.read(true)
    }

    /// Reads the answer to a HEAD request.
    pub fn try_head(&mut self) -> io::Result<Answer> {
        self.read(false)
    }

    fn read(&mut self, has_body: bool) -> io::Result<Answer> {
        let status = self.line()?;
        let code = status
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .and_then(|code| code.parse().ok());
        let invalid = |line: &str| io::Error::new(io::ErrorKind::InvalidData, line.to_owned());
        let mut answer = Answer {
            status: code.ok_or_else(|| invalid(&status))?,
            headers: Vec::new(),
            body: Vec::new(),
        };
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(": ").ok_or_else(|| invalid(&line))?;
            answer.headers.push((name.to_owned(), value.to_owned()));
        }
        if has_body {
            let length = answer
                .header("content-length")
                .map_or(0, |length| length.parse().expect("a length"));
            answer.body = vec![0; length];
            self.reader.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        line.strip_suffix("\r\n")
            .map(str::to_owned)
            .ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// What came back.
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body, which must be JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", self.text()))
    }

    /// The first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[track_caller]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }
}

/// Readable in a failed assertion.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {:?} {}",
            self.status,
            self.headers,
            String::from_utf8_lossy(&self.body)
        )
    }
}
