//! The folder of a ledger: one process has it at a time, and it has an id by which databases know it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Names of files beside the segments.
const LOCK: &str = "lock";
const GATEWAY_ID: &str = "gateway-id";

/// How often a folder that is in use is looked at again, and the pause before.
const LOOKS: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Another process writes to it.
    #[error("the ledger {0} is in use by another process")]
    InUse(PathBuf),
    /// It cannot be read or written.
    #[error("cannot use the ledger {0}: {1}")]
    Io(PathBuf, io::Error),
}

/// A folder that is ours as long as this lives.
#[derive(Debug)]
pub(crate) struct Folder {
    pub(crate) path: PathBuf,
    /// What tells this ledger from others in one database.
    pub(crate) gateway: String,
    _lock: File,
}

impl Folder {
    /// Takes the folder, which is made where it is not there.
    pub(crate) fn take(path: &Path) -> Result<Self, FolderError> {
        let failed = |error| FolderError::Io(path.to_owned(), error);
        // It tells who has used what, which is nobody else's business.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let mut options = OpenOptions::new();
        let lock = options.create(true).write(true).truncate(false).open(path.join(LOCK)).map_err(failed)?;
        let mut looks = 0;
        loop {
            match lock.try_lock() {
                Ok(()) => break,
                // It may be somebody who only looks whether it is in use.
                Err(TryLockError::WouldBlock) if looks < LOOKS => looks += 1,
                Err(TryLockError::WouldBlock) => return Err(FolderError::InUse(path.to_owned())),
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            std::thread::sleep(PAUSE);
        }
        let gateway = gateway_id(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), gateway, _lock: lock })
    }
}

/// Whether a process writes to it.
pub(crate) fn is_in_use(path: &Path) -> io::Result<bool> {
    Ok(matches!(File::open(path.join(LOCK))?.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// The id of the folder, which is made up at its first use.
pub(crate) fn gateway_id(path: &Path) -> io::Result<String> {
    let file = path.join(GATEWAY_ID);
    match fs::read_to_string(&file) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let id = format!("{:032x}", rand::random::<u128>());
    // Whole or not at all: half an id would be another one.
    let unfinished = path.join("gateway-id.unfinished");
    let mut written = File::create(&unfinished)?;
    io::Write::write_all(&mut written, format!("{id}\n").as_bytes())?;
    written.sync_all()?;
    fs::rename(&unfinished, &file)?;
    Ok(id)
}
