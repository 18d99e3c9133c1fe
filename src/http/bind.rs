//! What can be listened on: TCP, a Unix socket, or a socket that whoever started us has opened.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use socket2::{Domain, SockAddr, Socket, Type};

/// Connections that the kernel completes before we accept them.
const BACKLOG: i32 = 1024;

/// Who may connect to a Unix socket: our user and group. A proxy joins the group.
const UNIX_MODE: u32 = 0o660;

/// Where to listen, as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `127.0.0.1:8080`, `[::]:443`, `localhost:8080`. Port 0 takes a free one.
    Tcp(SocketAddr),
    /// `unix:/run/rollcall/http.sock`
    Unix(PathBuf),
    /// `stdin`: our standard input is the listening socket, as with `StandardInput=socket` of systemd.
    Given,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if text == "stdin" {
            return Ok(Place::Given);
        }
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Place::Unix(path.into()));
        }
        let address = text.to_socket_addrs().ok().and_then(|mut all| all.next());
        address.map(Place::Tcp).ok_or_else(|| {
            format!(
                "{text:?} is no address; write 127.0.0.1:8080, [::1]:8080, unix:/run/rollcall.sock or stdin"
            )
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(f, "{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Given => write!(f, "stdin"),
        }
    }
}

/// An open listener. A Unix socket's file is removed when it is dropped.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: Socket,
    place: Place,
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.place.fmt(f)
    }
}

impl Listener {
    /// Opens it. `[::]` listens on IPv4, too.
    ///
    /// # Errors
    ///
    /// What the system says: the address is in use, is not ours, or needs a privilege.
    pub fn open(place: &Place) -> io::Result<Listener> {
        let socket = match place {
            Place::Tcp(address) => tcp(*address)?,
            Place::Unix(path) => unix(path)?,
            Place::Given => given()?,
        };
        let place = place.clone();
        Ok(Listener { socket, place })
    }

    /// Its address. `None` where it has none that a TCP client could use.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Place::Unix(file) = &self.place {
            // Whoever comes now is refused at once, and not after a time of waiting.
            let _ = fs::remove_file(file);
        }
    }
}

fn tcp(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Else a restart has to wait until the last run's connections are forgotten.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn unix(path: &Path) -> io::Result<Socket> {
    // A file that nobody listens on is left of a server that was killed. Anything else isn't ours to remove.
    let is_left_over = fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    if is_left_over {
        fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`, so its permissions are never wider than these.
    fs::set_permissions(path, fs::Permissions::from_mode(UNIX_MODE))?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Standard input and not descriptor 3: taking a number for a descriptor would need `unsafe`, which this program does without.
fn given() -> io::Result<Socket> {
    let socket = Socket::from(io::stdin().as_fd().try_clone_to_owned()?);
    if socket.local_addr().is_err() {
        let words = "standard input is no socket: under systemd, set StandardInput=socket in the service, \
                     and give it one socket unit with Accept=no";
        return Err(io::Error::new(ErrorKind::InvalidInput, words));
    }
    socket.set_nonblocking(false)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_in_three_ways() {
        for text in ["127.0.0.1:8080", "[::]:443", "unix:/run/a.sock", "stdin"] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for bad in ["", "unix:", "8080", "127.0.0.1", "http://a", "a:b"] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Unix(dir.path().join("a.sock"));
        let first = Listener::open(&place).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("a.sock")), UNIX_MODE);
        assert!(Listener::open(&place).is_err(), "it is in use");
        let Listener { socket, .. } = &first;
        let left = socket.try_clone().unwrap();
        std::mem::forget(first);
        drop(left);
        let file = dir.path().join("file");
        fs::write(&file, "words").unwrap();
        assert!(Listener::open(&Place::Unix(file.clone())).is_err());
        assert_eq!(fs::read_to_string(file).unwrap(), "words");
    }
}
