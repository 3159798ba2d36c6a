//! Binds the sockets of one Listen stanza.
//!
//! TCP: one socket for each loop that accepts (concurrency), sharing the port with SO_REUSEPORT, so that a connection is born on the
//! loop that serves it. A plain bind comes first: with SO_REUSEPORT alone a second daemon of the same user could share
//! the port unnoticed. Unix: one socket, whose connections are handed to the loops.

use std::io;
use std::net::SocketAddr;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

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
    /// One in all. Removed from the file system when `owned` is dropped.
    Unix(UnixListener),
}

/// Binds for `loops` loops.
pub(crate) fn bind(spec: &ListenSpec, loops: usize) -> Result<Bound, ListenError> {
    let bound = match &spec.address {
        ListenAddress::Ip(address) => tcp(*address, loops, spec).map(Bound::Tcp),
        ListenAddress::Unix(path) => unix(path, spec).map(Bound::Unix),
    };
    bound.map_err(|error| {
        let problem = match error.kind() {
            io::ErrorKind::AddrInUse => Problem::InUse(spec.address.clone()),
            _ => Problem::Io(spec.address.clone(), error),
        };
        ListenError { word: spec.word, listen: spec.listen.to_string(), problem }
    })
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

fn unix(path: &Path, spec: &ListenSpec) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // A socket nobody answers on was left by a daemon that died. Whatever else stands there is somebody's.
            if !is_socket(path) {
                let what = "something stands there that is no socket; name another path, or move it away";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, what));
            }
            match UnixStream::connect(path) {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    unlink(path)?;
                    UnixListener::bind(path)?
                }
                _ => return Err(error),
            }
        }
        other => other?,
    };
    chmod(path, Mode::from_raw_mode(spec.file_mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
