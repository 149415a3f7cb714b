//! Listening sockets: one per worker and address, so that the kernel spreads connections among the workers.

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Binds `address` for one worker; several workers may bind the same one. Must be called inside a runtime.
///
/// # Errors
/// When the address is taken, or not of this machine.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = shared(address)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Proves that `address` can be bound, and holds it until the result is dropped. It does not listen.
///
/// # Errors
/// When the address is taken, or not of this machine.
pub(crate) fn reserve(address: SocketAddr) -> io::Result<Socket> {
    // Without SO_REUSEPORT first: otherwise another process's listener on the same port would go unnoticed.
    let exclusive = socket(address)?;
    exclusive.bind(&address.into())?;
    drop(exclusive);
    shared(address)
}

/// A socket bound together with those of the other workers.
fn shared(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket(address)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}
