//! What can be listened on: TCP, a Unix socket, or a socket that systemd has opened for us.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use listenfd::ListenFd;
use socket2::{Domain, SockAddr, Socket, Type};

use super::probe::Target;

/// Connections that the kernel completes before we accept them.
const BACKLOG: i32 = 1024;

/// Who may connect to a Unix socket: our user and group. A proxy joins the group.
const UNIX_MODE: u32 = 0o660;

/// The descriptor of the first socket that systemd gives.
const FIRST_GIVEN: usize = 3;

/// Where to listen, as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `127.0.0.1:8080`, `[::]:443`, `localhost:8080`. Port 0 takes a free one.
    Tcp(SocketAddr),
    /// `unix:/run/rollcall/http.sock`
    Unix(PathBuf),
    /// `systemd`: the socket of the service's `.socket` unit. `systemd:NAME` where it has several, by `FileDescriptorName=`.
    Given(Option<String>),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Place, String> {
        if text == "systemd" {
            return Ok(Place::Given(None));
        }
        if let Some(name) = text
            .strip_prefix("systemd:")
            .filter(|name| !name.is_empty())
        {
            return Ok(Place::Given(Some(name.to_owned())));
        }
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Place::Unix(path.into()));
        }
        let address = text.to_socket_addrs().ok().and_then(|mut all| all.next());
        address.map(Place::Tcp).ok_or_else(|| {
            format!(
                "{text:?} is no address; write 127.0.0.1:8080, [::1]:8080, unix:/run/rollcall.sock or systemd"
            )
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Tcp(address) => write!(f, "{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
            Place::Given(None) => write!(f, "systemd"),
            Place::Given(Some(name)) => write!(f, "systemd:{name}"),
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
    /// What the system says: the address is in use, is not ours, or needs a privilege. Or what is amiss with a given socket.
    pub fn open(place: &Place, given: &mut Given) -> io::Result<Listener> {
        let socket = match place {
            Place::Tcp(address) => tcp(*address)?,
            Place::Unix(path) => unix(path)?,
            Place::Given(name) => given.take(name.as_deref())?,
        };
        let place = place.clone();
        Ok(Listener { socket, place })
    }

    /// Its address. `None` where it has none that a TCP client could use.
    pub fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()?.as_socket()
    }

    /// How this machine reaches it, where that is known.
    pub fn target(&self) -> Option<Target> {
        match &self.place {
            Place::Unix(path) => Some(Target::Unix(path.clone())),
            _ => self.address().map(Target::from),
        }
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

/// The sockets that systemd has opened for us, from descriptor 3 on (sd_listen_fds(3)). Each is used once.
pub struct Given {
    sockets: ListenFd,
    /// A name for each that isn't used yet.
    names: Vec<Option<String>>,
}

impl Given {
    /// What `LISTEN_FDS` tells of, if `LISTEN_PID` says that it is meant for us. `names` is `LISTEN_FDNAMES`.
    pub fn from_environment(names: &str) -> Given {
        let sockets = ListenFd::from_env();
        let mut names = names.split_terminator(':').map(str::to_owned);
        let names = (0..sockets.len()).map(|_| Some(names.next().unwrap_or("unknown".to_owned())));
        Given {
            names: names.collect(),
            sockets,
        }
    }

    /// None at all.
    pub fn nothing() -> Given {
        Given {
            sockets: ListenFd::empty(),
            names: Vec::new(),
        }
    }

    /// The names of those that nobody has taken: whoever connects there would wait for ever.
    pub fn unused(&self) -> Vec<&str> {
        self.names.iter().flatten().map(String::as_str).collect()
    }

    fn take(&mut self, name: Option<&str>) -> io::Result<Socket> {
        let unused = self.unused();
        if self.names.is_empty() {
            return Err(invalid(
                "systemd gave no socket (LISTEN_FDS): start the service by a .socket unit of its name".to_owned(),
            ));
        }
        if name.is_none() && self.names.len() > 1 {
            let names = unused.join(", ");
            return Err(invalid(format!(
                "systemd gave several sockets, so say which one, as in systemd:NAME: {names}"
            )));
        }
        let is_meant = |one: &Option<String>| match name {
            Some(name) => one.as_deref() == Some(name),
            None => one.is_some(),
        };
        let Some(index) = self.names.iter().position(is_meant) else {
            let left = unused.join(", ");
            return Err(invalid(format!(
                "systemd gave no socket of this name (FileDescriptorName=), or it is used already; there is: {left}"
            )));
        };
        // Whether it is a socket, and of which family, is asked before anything takes it.
        let socket = match self.sockets.take_tcp_listener(index) {
            Ok(socket) => socket.map(Socket::from),
            Err(_) => self
                .sockets
                .take_unix_listener(index)
                .ok()
                .flatten()
                .map(Socket::from),
        };
        let Some(socket) = socket.filter(|socket| socket.is_listener().unwrap_or(false)) else {
            return Err(invalid(format!(
                "descriptor {} is no socket that listens for connections: the .socket unit needs ListenStream= and Accept=no",
                FIRST_GIVEN + index
            )));
        };
        self.names[index] = None;
        socket.set_nonblocking(false)?;
        Ok(socket)
    }
}

fn invalid(words: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_written_in_three_ways() {
        for text in [
            "127.0.0.1:8080",
            "[::]:443",
            "unix:/run/a.sock",
            "systemd",
            "systemd:web",
        ] {
            assert_eq!(text.parse::<Place>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "unix:",
            "systemd:",
            "8080",
            "127.0.0.1",
            "http://a",
            "a:b",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_replaced_and_nothing_else() {
        let open = |place: &Place| Listener::open(place, &mut Given::nothing());
        let dir = tempfile::tempdir().unwrap();
        let place = Place::Unix(dir.path().join("a.sock"));
        let first = open(&place).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&dir.path().join("a.sock")), UNIX_MODE);
        assert!(open(&place).is_err(), "it is in use");
        let Listener { socket, .. } = &first;
        let left = socket.try_clone().unwrap();
        std::mem::forget(first);
        drop(left);
        let file = dir.path().join("file");
        fs::write(&file, "words").unwrap();
        assert!(open(&Place::Unix(file.clone())).is_err());
        assert_eq!(fs::read_to_string(file).unwrap(), "words");
    }
}
