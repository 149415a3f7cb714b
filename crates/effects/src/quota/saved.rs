//! Counters as they are saved in a file, which is written whole or not at all.
//!
//! Its first line is `tollgate-counters`, the version of the format and the CRC-32 of what follows in hexadecimal digits; each of the others
//! is a counter in JSON. Names of callers may be in it, which are nobody else's business.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tollgate_config::bundle::Window;
use tollgate_policy::quota::Counter;

use super::memory::Name;

/// What the first line begins with.
const KIND: &str = "tollgate-counters";

/// The version of the format that this is.
const VERSION: &str = "1";

/// Names of the file, and of what is not whole yet.
const FILE: &str = "counters";
const UNFINISHED: &str = "counters.unfinished";

/// A larger file is none of ours: it would hold more counters than there may be.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Why what is saved cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("{0} cannot be read: {1}")]
    Io(PathBuf, io::Error),
    #[error("{0} has version {1} of its format, expected {VERSION}")]
    Version(PathBuf, String),
    #[error("{0} is broken")]
    Broken(PathBuf),
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    key: Arc<str>,
    window: Arc<Window>,
    slot: Option<u64>,
    end_ms: u64,
    /// By slot.
    taken: Vec<(u64, u64)>,
}

/// Reads what is saved in `folder` and still counts at `now_ms`, in milliseconds since the Unix epoch. Nothing, if nothing is saved.
///
/// # Errors
/// If what is there is not what was written.
pub(super) fn read(folder: &Path, now_ms: u64) -> Result<Vec<(Name, Counter)>, Unreadable> {
    let path = folder.join(FILE);
    match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Unreadable::Io(path, error)),
        Ok(found) if found.len() > FILE_BYTES_MAX => return Err(Unreadable::Broken(path)),
        Ok(_) => {}
    }
    let bytes = fs::read(&path).map_err(|error| Unreadable::Io(path.clone(), error))?;
    match decode(&bytes, now_ms) {
        Ok(counters) => Ok(counters),
        Err(Some(version)) => Err(Unreadable::Version(path, version)),
        Err(None) => Err(Unreadable::Broken(path)),
    }
}

/// Saves `counters` in `folder`. Whoever reads there finds these or those before.
///
/// # Errors
/// Those of the file system.
pub(super) fn write<'a>(
    folder: &Path,
    counters: impl Iterator<Item = (&'a Name, &'a Counter)>,
) -> io::Result<()> {
    let unfinished = folder.join(UNFINISHED);
    let mut options = OpenOptions::new();
    let mut file = options.create(true).write(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(&encode(counters)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, folder.join(FILE))?;
    File::open(folder)?.sync_all()
}

fn encode<'a>(counters: impl Iterator<Item = (&'a Name, &'a Counter)>) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for (name, counter) in counters {
        let line = Line {
            key: Arc::clone(name.key.text()),
            window: Arc::clone(&name.window),
            slot: name.slot,
            end_ms: counter.end_ms(),
            taken: counter.slots().to_vec(),
        };
        serde_json::to_writer(&mut lines, &line)?;
        lines.push(b'\n');
    }
    let mut bytes = format!("{KIND} {VERSION} {:08x}\n", crc32fast::hash(&lines)).into_bytes();
    bytes.append(&mut lines);
    Ok(bytes)
}

/// # Errors
/// The version, if it is another one.
fn decode(bytes: &[u8], now_ms: u64) -> Result<Vec<(Name, Counter)>, Option<String>> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(None)?;
    let (first, lines) = bytes.split_at_checked(end + 1).ok_or(None)?;
    let first = std::str::from_utf8(first).map_err(|_| None)?;
    let words: Vec<&str> = first.split_whitespace().collect();
    match *words.as_slice() {
        [KIND, VERSION, crc] if crc == format!("{:08x}", crc32fast::hash(lines)) => {}
        [KIND, version, ..] if version != VERSION => return Err(Some(version.to_owned())),
        _ => return Err(None),
    }
    let mut counters = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let Line { key, window, slot, end_ms, taken } = serde_json::from_slice(line).map_err(|_| None)?;
        if end_ms > now_ms {
            counters.push((Name { key: key.into(), window, slot }, Counter::restored(taken, end_ms)));
        }
    }
    Ok(counters)
}

#[cfg(test)]
mod tests {
    use tollgate_config::bundle::CalendarPeriod;

    use super::*;

    fn counters() -> Vec<(Name, Counter)> {
        let month = Window::Calendar { period: CalendarPeriod::Month, time_zone: "Europe/Berlin".to_owned() };
        let month =
            Name { key: "budget/teams/\"research\"\n".into(), window: Arc::new(month), slot: Some(7) };
        let hour =
            Name { key: "rate".into(), window: Arc::new(Window::Rolling { seconds: 3600 }), slot: None };
        vec![
            (month, Counter::restored([(7, 500)], 9_000)),
            (hour, Counter::restored([(1, 2), (3, u64::MAX)], 8_000)),
        ]
    }

    fn saved(counters: &[(Name, Counter)]) -> Vec<u8> {
        encode(counters.iter().map(|(name, counter)| (name, counter))).expect("encoded")
    }

    #[test]
    fn what_was_saved_is_read_again() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(read(folder.path(), 0).expect("nothing"), []);
        for counters in [counters(), Vec::new()] {
            write(folder.path(), counters.iter().map(|(name, counter)| (name, counter))).expect("saved");
            assert_eq!(read(folder.path(), 0).expect("counters"), counters);
        }
    }

    #[test]
    fn windows_that_are_over_are_left_out() {
        let bytes = saved(&counters());
        assert_eq!(decode(&bytes, 7_999).expect("counters"), counters());
        assert_eq!(decode(&bytes, 8_000).expect("counters"), counters()[..1]);
        assert_eq!(decode(&bytes, 9_000), Ok(Vec::new()));
    }

    #[test]
    fn what_is_not_what_was_written_is_refused() {
        let whole = saved(&counters());
        for length in 0..whole.len() {
            assert_eq!(decode(&whole[..length], 0), Err(None), "{length}");
        }
        for at in 0..whole.len() {
            let mut other = whole.clone();
            other[at] ^= 1;
            assert!(decode(&other, 0).is_err(), "{at}");
        }
        let newer = [b"tollgate-counters 2 what ever\n".as_slice(), &whole].concat();
        assert_eq!(decode(&newer, 0), Err(Some("2".to_owned())));
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join(FILE), &newer).expect("written");
        assert!(matches!(read(folder.path(), 0), Err(Unreadable::Version(..))));
    }
}
