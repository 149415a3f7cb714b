//! The folder in which the parts find each other: two sockets, Envoy's bootstrap, and the address that its admin has chosen.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use tollgate_plan::envoy::Place;

use crate::bootstrap::bootstrap;

/// A folder of one process, which only its user may enter. Removed when it is dropped.
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Makes it where sockets of running programs belong.
    pub(crate) fn new() -> Result<Self> {
        let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let base = if base.is_dir() { base } else { std::env::temp_dir() };
        let process = std::process::id();
        for number in 0..1000 {
            let path = base.join(format!("tollgate-{process}-{number}"));
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("cannot make {}", path.display())),
            }
        }
        anyhow::bail!("cannot make a folder for sockets in {}", base.display())
    }

    /// The socket of the external processor.
    pub(crate) fn processor(&self) -> PathBuf {
        self.path.join("extproc.sock")
    }

    /// The socket of the discovery service.
    pub(crate) fn discovery(&self) -> PathBuf {
        self.path.join("xds.sock")
    }

    /// Writes what Envoy is started with.
    pub(crate) fn write_bootstrap(&self) -> Result<PathBuf> {
        let path = self.path.join("bootstrap.json");
        let text = bootstrap(&place(&self.discovery()))?;
        std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Where Envoy's admin listens, once it does.
    pub(crate) fn admin(&self) -> Option<SocketAddr> {
        std::fs::read_to_string(self.admin_path()).ok()?.trim().parse().ok()
    }

    /// The file in which Envoy tells where its admin listens. The bootstrap and the command line have to agree on it.
    pub(crate) fn admin_path(&self) -> PathBuf {
        admin_path(&self.path)
    }
}

/// The socket at `path`, as Envoy is told it.
pub(crate) fn place(path: &Path) -> Place {
    Place::Unix { path: path.to_string_lossy().into_owned() }
}

/// The file of a folder that is only known by its path, in which Envoy tells where its admin listens.
pub(crate) fn admin_path(folder: &Path) -> PathBuf {
    folder.join("admin")
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            tracing::debug!(%error, "the folder of sockets was gone already");
        }
    }
}
