//! The program under test as a process: `rollcall serve`, and its commands beside it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Result;

/// The program, as cargo built it for this benchmark.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_rollcall");

/// A running server, killed when it is dropped.
pub struct Server {
    child: Child,
    folder: PathBuf,
    /// Held open: a server that prints to a closed pipe would fail.
    _stdout: BufReader<ChildStdout>,
    pub address: SocketAddr,
}

impl Server {
    /// Starts it on a free port; also how long it took to listen.
    pub fn start(folder: &Path) -> Result<(Server, Duration)> {
        let started = Instant::now();
        let mut child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder)
            .env("RUST_LOG", "error")
            .env("ROLLCALL_SCIM_RATE", "1000000")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let stdout = child.stdout.take().ok_or("no pipe for stdout")?;
        let (mut stdout, mut line) = (BufReader::new(stdout), String::new());
        stdout.read_line(&mut line)?;
        let took = started.elapsed();
        let address = line
            .trim()
            .strip_prefix("listening on http://")
            .ok_or_else(|| format!("the server said {line:?}"))?
            .parse()?;
        let server = Server {
            child,
            folder: folder.to_owned(),
            _stdout: stdout,
            address,
        };
        Ok((server, took))
    }

    /// Its data folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs a command on its folder, beside it; how long that took, from start to end of the process.
    pub fn command(&self, arguments: &[&str]) -> Result<Duration> {
        let started = Instant::now();
        run(&self.folder, arguments)?;
        Ok(started.elapsed())
    }

    /// The number of its process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// Memory that it has, in MiB.
    pub fn resident(&self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// The most that it had, in MiB.
    pub fn most_resident(&self) -> Result<f64> {
        self.status("VmHWM:")
    }

    /// From now on the most that it had counts from what it has.
    pub fn forget_most_resident(&self) -> Result<()> {
        Ok(fs::write(
            format!("/proc/{}/clear_refs", self.child.id()),
            "5",
        )?)
    }

    fn status(&self, field: &str) -> Result<f64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .ok_or("no such line in /proc")?;
        Ok(kib.trim().parse::<f64>()? / 1024.0)
    }

    /// Ends it well, so that its folder is one whole file.
    pub fn stop(mut self) -> Result<()> {
        let sent = Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        if !sent.success() || !self.child.wait()?.success() {
            return Err("the server did not end well".into());
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processor time that a process has had so far, those of its threads that have ended included.
pub fn cpu(process: u32) -> Result<Duration> {
    let text = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // Behind the name, which may contain anything: fields 3 and on, of which 14 and 15 are hundredths of a second.
    let fields = text.rsplit_once(')').ok_or("no name in /proc")?.1;
    let hundredths = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<u64>)
        .sum::<std::result::Result<u64, _>>()?;
    Ok(Duration::from_millis(hundredths * 10))
}

/// Runs a command of the program on a data folder; what it printed, trimmed.
pub fn run(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(PROGRAM)
        .arg("--data")
        .arg(folder)
        .args(arguments)
        .output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("rollcall {arguments:?} failed: {said}").into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
