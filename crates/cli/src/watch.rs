//! Tells when the files of a configuration change.
//!
//! The system's notifications make it quick; reading the files once a second makes it sure: notifications are lost on
//! network and overlay file systems, and when a folder on the way is replaced. Either way the content decides.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::sources::fingerprint;

/// How often the content is compared without a notification.
const POLL: Duration = Duration::from_secs(1);

/// How long files must be left alone before they are read: an editor writes in several steps.
const SETTLE: Duration = Duration::from_millis(50);

/// How many times in a row that wait is granted.
const SETTLE_TIMES_MAX: usize = 10;

/// What came to the watch.
enum Sign {
    /// Something in a watched folder is different.
    Touched,
    /// The watch is over.
    Stop,
}

/// Watches the files of a configuration.
pub(crate) struct Watch {
    paths: Vec<PathBuf>,
    /// Files that the configuration refers to, such as those of secrets.
    others: BTreeSet<PathBuf>,
    /// Of `paths`, and of `others`: apart, so that following others does not hide a change of the rest.
    fingerprints: (u64, u64),
    signs: Receiver<Sign>,
    sender: SyncSender<Sign>,
    _watcher: Option<RecommendedWatcher>,
}

/// Ends a [`Watch`] from another thread.
#[derive(Clone)]
pub(crate) struct StopWatch(SyncSender<Sign>);

impl StopWatch {
    /// Ends it.
    pub(crate) fn stop(&self) {
        let _ = self.0.send(Sign::Stop);
    }
}

impl Watch {
    /// Begins to watch `paths`. What they contain now counts as known, so begin before you read them.
    pub(crate) fn new(paths: Vec<PathBuf>) -> Self {
        // One place: a sign says only that there is something to look at.
        let (sender, signs) = mpsc::sync_channel(1);
        let others = BTreeSet::new();
        let fingerprints = (fingerprint(&paths), fingerprint(&[]));
        let watcher = watcher(&paths, sender.clone());
        let _watcher = watcher
            .inspect_err(|error| tracing::debug!(%error, "files are compared every second instead"))
            .ok();
        Self { paths, others, fingerprints, signs, sender, _watcher }
    }

    /// What ends this watch.
    pub(crate) fn stopper(&self) -> StopWatch {
        StopWatch(self.sender.clone())
    }

    /// Compares the files that the configuration refers to as well, instead of those before.
    pub(crate) fn follow(&mut self, others: BTreeSet<PathBuf>) {
        if others != self.others {
            self.others = others;
            self.fingerprints.1 = self.fingerprint_others();
        }
    }

    fn fingerprint_others(&self) -> u64 {
        fingerprint(&self.others.iter().cloned().collect::<Vec<_>>())
    }

    /// Waits until the content of a file is another one; false when the watch is over.
    pub(crate) fn changed(&mut self) -> bool {
        loop {
            match self.signs.recv_timeout(POLL) {
                Ok(Sign::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Ok(Sign::Touched) if !self.settled() => return false,
                Ok(Sign::Touched) | Err(RecvTimeoutError::Timeout) => {}
            }
            let now = (fingerprint(&self.paths), self.fingerprint_others());
            if now != self.fingerprints {
                self.fingerprints = now;
                return true;
            }
        }
    }

    /// Waits until nothing more comes for a moment; false when the watch is over.
    fn settled(&self) -> bool {
        for _ in 0..SETTLE_TIMES_MAX {
            match self.signs.recv_timeout(SETTLE) {
                Ok(Sign::Touched) => {}
                Ok(Sign::Stop) | Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => return true,
            }
        }
        true
    }
}

fn watcher(paths: &[PathBuf], sender: SyncSender<Sign>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            // Full is good enough: somebody will look.
            let _ = sender.try_send(Sign::Touched);
        }
    })?;
    let folders: BTreeSet<PathBuf> = paths.iter().map(|path| folder_of(path)).collect();
    for folder in folders {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Reading a file is an event too, and ours would wake us again and again.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

/// The folder to watch for `path`. A file is watched through its folder, since editors and kubelet put a new one in
/// its place.
fn folder_of(path: &Path) -> PathBuf {
    if path.is_dir() {
        return path.to_owned();
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// Runs `change` while a watch waits, and tells whether the watch saw it.
    fn sees(path: &Path, change: impl FnOnce()) -> bool {
        let mut watch = Watch::new(vec![path.to_owned()]);
        let stopper = watch.stopper();
        change();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(1500));
                stopper.stop();
            });
            watch.changed()
        })
    }

    #[test]
    fn sees_a_file_replaced_by_renaming() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a").expect("a file");
        assert!(sees(&file, || {
            fs::write(folder.path().join(".a.swp"), "b").expect("a file");
            fs::rename(folder.path().join(".a.swp"), &file).expect("renamed");
        }));
    }

    #[test]
    fn sees_a_mounted_volume_swapped_as_kubelet_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        for (version, text) in [("..1", "a"), ("..2", "b")] {
            fs::create_dir(at(version)).expect("a folder");
            fs::write(at(version).join("a.yaml"), text).expect("a file");
        }
        symlink("..1", at("..data")).expect("a link");
        symlink("..data/a.yaml", at("a.yaml")).expect("a link");
        assert!(sees(folder.path(), || {
            symlink("..2", at("..data_tmp")).expect("a link");
            fs::rename(at("..data_tmp"), at("..data")).expect("renamed");
        }));
    }

    #[test]
    fn sees_a_file_that_the_configuration_refers_to() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = folder.path().join("key");
        fs::write(&key, "a").expect("a file");
        let mut watch = Watch::new(Vec::new());
        watch.follow(BTreeSet::from([key.clone()]));
        fs::write(&key, "b").expect("a file");
        assert!(watch.changed());
    }

    #[test]
    fn sees_no_change_in_what_was_only_touched() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("a.yaml");
        fs::write(&file, "a").expect("a file");
        assert!(!sees(&file, || fs::write(&file, "a").expect("a file")));
    }
}
