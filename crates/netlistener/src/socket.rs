//! Binds the sockets of one Listen stanza.
//!
//! TCP: one socket for each loop that accepts (concurrency), sharing the port with SO_REUSEPORT, so that a connection is born on the
//! loop that serves it. A plain bind comes first: with SO_REUSEPORT alone a second daemon of the same user could share
//! the port unnoticed. Unix: one socket, whose connections are handed to the loops.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use config::ListenAddress;
use rustix::fs::{FileType, Mode, chmod, lstat, unlink};
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{ListenError, Problem};
use crate::options::ListenSpec;

/// Sockets that listen but are not registered with a loop.
#[derive(Debug)]
pub(crate) enum Bound {
    /// One a loop.
    Tcp(Vec<std::net::TcpListener>),
    /// One in all, and its name.
    Unix(UnixListener, SocketName),
}

/// The name of a Unix socket of ours in the file system. It goes with its owner, unless something else stands there by then.
#[derive(Debug)]
pub(crate) struct SocketName {
    path: PathBuf,
    /// Device and inode.
    made: (u64, u64),
}

impl SocketName {
    fn of(path: &Path) -> io::Result<Self> {
        let found = lstat(path)?;
        Ok(Self { path: path.to_owned(), made: (found.st_dev, found.st_ino) })
    }
}

impl Drop for SocketName {
    fn drop(&mut self) {
        if lstat(&self.path).is_ok_and(|found| (found.st_dev, found.st_ino) == self.made) {
            // In a folder that is not ours to write it stays, and the next start takes its place.
            let _ = unlink(&self.path);
        }
    }
}

/// Whether a start could bind this now, without anything being left of the question.
pub(crate) fn probe(spec: &ListenSpec) -> Result<(), ListenError> {
    let free = match &spec.address {
        ListenAddress::Ip(address) => tcp_socket(*address).and_then(|socket| socket.bind(&(*address).into())),
        ListenAddress::Unix(path) => take_over(path, false),
    };
    free.map_err(|error| failed(spec, error))
}

/// Whether this host has the address, whoever listens there.
pub(crate) fn is_here(address: SocketAddr) -> bool {
    let anywhere = SocketAddr::new(address.ip(), 0);
    let bound = tcp_socket(anywhere).and_then(|socket| socket.bind(&anywhere.into()));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

/// Binds for `loops` loops.
pub(crate) fn bind(spec: &ListenSpec, loops: usize) -> Result<Bound, ListenError> {
    let bound = match &spec.address {
        ListenAddress::Ip(address) => tcp(*address, loops, spec).map(Bound::Tcp),
        ListenAddress::Unix(path) => unix(path, spec).map(|(listener, name)| Bound::Unix(listener, name)),
    };
    bound.map_err(|error| failed(spec, error))
}

fn failed(spec: &ListenSpec, error: io::Error) -> ListenError {
    let problem = match error.kind() {
        io::ErrorKind::AddrInUse => Problem::InUse(spec.address.clone()),
        _ => Problem::Io(spec.address.clone(), error),
    };
    ListenError { word: spec.word, listen: spec.listen.to_string(), problem }
}

fn tcp(address: SocketAddr, loops: usize, spec: &ListenSpec) -> io::Result<Vec<std::net::TcpListener>> {
    let probe = tcp_socket(address)?;
    probe.bind(&address.into())?;
    // Port 0 stands for any free one; the loops must agree on which.
    let address = probe.local_addr()?.as_socket().unwrap_or(address);
    // The probe must be gone before the sharing sockets come: it does not share.
    drop(probe);
    (0..loops)
        .map(|_| {
            let socket = tcp_socket(address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&address.into())?;
            if spec.recv_buffer_octets != 0 {
                socket.set_recv_buffer_size(spec.recv_buffer_octets)?;
            }
            if spec.send_buffer_octets != 0 {
                socket.set_send_buffer_size(spec.send_buffer_octets)?;
            }
            // Inherited by the accepted connections.
            socket.set_tcp_nodelay(spec.disable_nagle)?;
            socket.listen(spec.backlog)?;
            Ok(socket.into())
        })
        .collect()
}

fn tcp_socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // A restart must not wait for the last connections' TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `*:25` and `[*]:25` are two sockets, and each can stand without the other.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Gives a socket that stays where it is the mode that is asked for now.
pub(crate) fn set_mode(spec: &ListenSpec) {
    let ListenAddress::Unix(path) = &spec.address else { return };
    let Ok(found) = lstat(path) else { return };
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket || found.st_mode & 0o7777 == spec.file_mode {
        return;
    }
    if let Err(error) = chmod(path, Mode::from_raw_mode(spec.file_mode)) {
        tracing::error!(target: "NET", "{} keeps its mode, not {:04o}: {error}", path.display(), spec.file_mode);
    }
}

fn is_socket(path: &Path) -> bool {
    lstat(path).is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Socket)
}

/// Looks at what stands where a socket is to be. One that nobody answers on was left by a daemon that died, and gives way if
/// `remove`; whatever else is there is somebody's.
fn take_over(path: &Path, remove: bool) -> io::Result<()> {
    if lstat(path).is_err() {
        return Ok(());
    }
    if !is_socket(path) {
        let what = "something stands there that is no socket; name another path, or move it away";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
    }
    match UnixStream::connect(path) {
        Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
            if remove {
                unlink(path)?;
            }
            Ok(())
        }
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn unix(path: &Path, spec: &ListenSpec) -> io::Result<(UnixListener, SocketName)> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        io_wrapper::make_folders(folder, FOLDER_MODE)?;
    }
    take_over(path, true)?;
    let listener = UnixListener::bind(path)?;
    let name = SocketName::of(path)?;
    chmod(path, Mode::from_raw_mode(spec.file_mode))?;
    listener.set_nonblocking(true)?;
    Ok((listener, name))
}

/// A folder made for a socket: for the owner and the group, as those of logs and of the pidfile are.
const FOLDER_MODE: u32 = 0o750;
