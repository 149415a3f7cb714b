//! Listening sockets: a Unix socket that only its owner may connect to, or TCP.

use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net as unix;
use std::path::{Path, PathBuf};

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{Place, Tls};

/// A bound socket that no runtime knows yet.
pub(super) enum Listener {
    Unix(unix::UnixListener, PathBuf),
    Tcp(std::net::TcpListener, Option<Tls>),
}

/// A socket that is accepted from.
pub(super) enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener, Option<Tls>),
}

/// A connection before TLS.
pub(super) enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream, Option<Tls>),
}

impl Listener {
    pub(super) fn bind(place: Place) -> io::Result<Self> {
        match place {
            Place::Unix(path) => {
                let listener = bind_unix(&path)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(listener, path))
            }
            Place::Tcp(address, tls) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener, tls))
            }
        }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        match self {
            Self::Unix(listener, path) => Ok(Self::Unix(listener.try_clone()?, path.clone())),
            Self::Tcp(listener, tls) => Ok(Self::Tcp(listener.try_clone()?, tls.clone())),
        }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Unix(_, path) => Some(path),
            Self::Tcp(..) => None,
        }
    }

    pub(super) fn address(&self) -> Option<std::net::SocketAddr> {
        match self {
            Self::Unix(..) => None,
            Self::Tcp(listener, _) => listener.local_addr().ok(),
        }
    }

    /// Hands it to the runtime.
    pub(super) fn listen(self) -> io::Result<Listening> {
        match self {
            Self::Unix(listener, _) => Ok(Listening::Unix(UnixListener::from_std(listener)?)),
            Self::Tcp(listener, tls) => Ok(Listening::Tcp(TcpListener::from_std(listener)?, tls)),
        }
    }
}

impl Listening {
    pub(super) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Self::Unix(listener) => Ok(Stream::Unix(listener.accept().await?.0)),
            Self::Tcp(listener, tls) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream, tls.clone()))
            }
        }
    }
}

/// Binds under another name first, so that nobody can connect before only the owner may, and nobody who comes too early fails.
fn bind_unix(path: &Path) -> io::Result<unix::UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "expected a socket or nothing there"));
        }
        Ok(_) if unix::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "somebody listens on this socket"));
        }
        Ok(_) | Err(_) => {}
    }
    let mut new = path.as_os_str().to_owned();
    new.push("~");
    let new = PathBuf::from(new);
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = unix::UnixListener::bind(&new)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(path: &Path) -> io::Result<Listener> {
        Listener::bind(Place::from(path))
    }

    #[test]
    fn only_the_owner_may_connect() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let _listener = bind(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_socket_that_was_left_is_replaced_and_one_in_use_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = bind(&path).unwrap();
        assert_eq!(bind(&path).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
        drop(listener);
        assert!(bind(&path).is_ok());
    }

    #[test]
    fn a_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, "precious").unwrap();
        assert!(bind(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
