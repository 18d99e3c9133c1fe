//! The same cycle, by the same driver, against servers that others wrote: scim2-server in Python under gunicorn, and
//! scimmy-routers in JavaScript under express. Both keep everything in memory, and rollcall writes to disk.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Result;
use crate::directory::{Directory, scratch};
use crate::driver::Target;
use crate::entra::{self, INCREMENTAL, INITIAL};
use crate::figure::Run;
use crate::options::Options;
use crate::report::Size;

/// Both programs, and what is installed for them.
const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/peers");
const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/.tools/peers");

/// How long a peer may take to listen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Cycles on an empty rollcall and on the empty peers, one after the other in each run.
pub fn compare(options: &Options) -> Result<Size> {
    install()?;
    let mut size = Size::new("cycles, all empty at first".to_owned(), 0);
    for number in 1..=options.runs {
        let mut run = Run::new(options, format!("peers, run {number}"));
        let directory = Directory::empty()?;
        let (server, _) = directory.serve()?;
        let target = Target::new(server.address, &directory.token).with_prefix("/scim/v2");
        entra::cycles(options, ": rollcall", &target, &mut run)?;
        server.stop()?;
        for start in [Peer::scim2, Peer::scimmy] {
            let peer = start()?;
            let target = Target::new(peer.address, "bench").with_prefix(peer.prefix);
            entra::cycles(options, &format!(": {}", peer.name), &target, &mut run)?;
            compared(peer.name, &mut run);
        }
        size.runs.push(run.figures);
    }
    Ok(size)
}

/// How many times a peer's requests in a second rollcall does.
fn compared(peer: &str, run: &mut Run<'_>) {
    for cycle in [INITIAL, INCREMENTAL] {
        let value = |who: &str| {
            let name = format!("{cycle}: {who}");
            let figure = run.figures.iter().find(|figure| figure.name == name);
            figure.map(|figure| figure.value)
        };
        if let (Some(ours), Some(theirs)) = (value("rollcall"), value(peer)) {
            let name = format!("{cycle}: rollcall to {peer}");
            run.quantity(&name, "x", ours / theirs);
        }
    }
}

/// A server of others, killed when it is dropped.
struct Peer {
    name: &'static str,
    prefix: &'static str,
    child: Child,
    address: SocketAddr,
    /// What it says, for who has to find out why it doesn't start.
    _folder: TempDir,
}

impl Peer {
    fn scim2() -> Result<Peer> {
        let gunicorn = Path::new(TOOLS).join("venv/bin/gunicorn");
        Peer::start("scim2-server", "/v2", |address| {
            let mut command = Command::new(gunicorn);
            // One process, since it keeps its resources in its memory; threads, since without them no connection
            // is kept open.
            command
                .args(["--bind", &address.to_string(), "--workers", "1"])
                .args(["--worker-class", "gthread", "--threads", "8"])
                .args(["--keep-alive", "60", "--no-control-socket"])
                .args(["--chdir", SOURCES, "scim2:application"])
                .env("PYTHONDONTWRITEBYTECODE", "1");
            command
        })
    }

    fn scimmy() -> Result<Peer> {
        Peer::start("scimmy-routers", "/scim", |address| {
            let mut command = Command::new("node");
            command
                .arg(Path::new(TOOLS).join("scimmy.mjs"))
                .arg(address.port().to_string())
                .env("NODE_ENV", "production");
            command
        })
    }

    /// Starts one and waits until it listens.
    fn start(
        name: &'static str,
        prefix: &'static str,
        command: impl FnOnce(SocketAddr) -> Command,
    ) -> Result<Peer> {
        // Free by now; the moment until the peer takes it is a risk that a benchmark can bear.
        let address = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let folder = scratch()?;
        let said = folder.path().join("said");
        let child = command(address)
            .stdin(Stdio::null())
            .stdout(File::create(&said)?)
            .stderr(File::options().append(true).open(&said)?)
            .spawn()?;
        let mut peer = Peer {
            name,
            prefix,
            child,
            address,
            _folder: folder,
        };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            if peer.child.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                let said = fs::read_to_string(&said)?;
                return Err(format!("{name} does not listen: {said}").into());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // SIGTERM, because gunicorn has to end its worker; and only while the number is still its own.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = Command::new("kill")
                .arg(self.child.id().to_string())
                .status();
            let _ = self.child.wait();
        }
    }
}

/// Installs what `peers/` names, unless it is there already.
fn install() -> Result<()> {
    let (sources, tools) = (Path::new(SOURCES), Path::new(TOOLS));
    let wanted = ["requirements.txt", "package.json", "scimmy.mjs"];
    let up_to_date = wanted.iter().all(|file| {
        let read = |folder: &Path| fs::read(folder.join(file)).ok();
        read(sources) == read(tools)
    });
    if up_to_date {
        return Ok(());
    }
    eprintln!("installing the peers");
    if tools.exists() {
        fs::remove_dir_all(tools)?;
    }
    fs::create_dir_all(tools)?;
    let pip: PathBuf = tools.join("venv/bin/pip");
    tool(
        Command::new("python3")
            .args(["-m", "venv"])
            .arg(tools.join("venv")),
    )?;
    tool(
        Command::new(pip)
            .args(["install", "--quiet", "--disable-pip-version-check"])
            .arg("--requirement")
            .arg(sources.join("requirements.txt")),
    )?;
    fs::copy(sources.join("package.json"), tools.join("package.json"))?;
    tool(
        Command::new("npm")
            .args(["install", "--silent", "--no-audit", "--no-fund"])
            .current_dir(tools),
    )?;
    // Beside its node_modules, where node looks for them. Last: a broken installation is made anew.
    for file in ["scimmy.mjs", "requirements.txt"] {
        fs::copy(sources.join(file), tools.join(file))?;
    }
    Ok(())
}

fn tool(command: &mut Command) -> Result<()> {
    match command.stdout(Stdio::null()).status()?.success() {
        true => Ok(()),
        false => Err(format!("{command:?} failed").into()),
    }
}
