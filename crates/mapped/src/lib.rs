//! A file whose bytes are memory: what is written into it belongs to the kernel at once, and survives the death of the process without
//! a call for each write.
//!
//! This is the only crate with code that the compiler cannot check, two expressions.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut};
use std::path::Path;

use memmap2::{MmapMut, MmapOptions};
use rustix::fs::{FallocateFlags, FsWord, fallocate, fstatfs};

/// File systems that keep the room that they have given to a file, so that no write into its memory can find the disk full: ext4,
/// XFS, tmpfs, and the overlay of a container, which lies on one of these. The numbers are those of statfs(2).
const KEEPS_ROOM: [FsWord; 4] = [0xef53, 0x5846_5342, 0x0102_1994, 0x794c_7630];

/// A file in memory.
#[derive(Debug)]
pub struct Mapped(MmapMut);

impl Mapped {
    /// Maps the file at `path`, which is made where there is none, and has `length` bytes afterwards. New ones are 0.
    ///
    /// Whoever calls this must be the only one to use the file: another process that cut it off would end this one.
    ///
    /// # Errors
    /// When the file cannot be opened or there is no room for it; [`io::ErrorKind::Unsupported`] when its file system may have no room
    /// for what is written later.
    pub fn open(path: &Path, length: u32) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path)?;
        if !KEEPS_ROOM.contains(&fstatfs(&file)?.f_type) {
            return Err(io::ErrorKind::Unsupported.into());
        }
        file.set_len(u64::from(length))?;
        fallocate(&file, FallocateFlags::empty(), 0, u64::from(length))?;
        map(&file, length).map(Self)
    }

    /// Tells the processor that bytes from `start` on are written next, so that it has fetched them by then: some that no core has seen for a
    /// while would be waited for at the next lock. Where there are none it does nothing.
    pub fn expect_write(&self, start: usize) {
        let lines = self.0.get(start..).unwrap_or_default().chunks(LINE_BYTES);
        lines.take(LINES_EXPECTED).for_each(|line| fetch(line.as_ptr()));
    }
}

/// Bytes of memory that a core fetches at once, and how many of these pieces it fetches ahead: an entry has less.
const LINE_BYTES: usize = 64;
const LINES_EXPECTED: usize = 3;

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "a pointer is handed to the processor")]
fn fetch(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    // SAFETY: a prefetch reads and writes nothing that the program could see, and is no fault wherever it points to.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(line.cast()) }
}

#[cfg(not(target_arch = "x86_64"))]
fn fetch(_: *const u8) {}

#[expect(unsafe_code, reason = "memory may change without the compiler's knowledge if the file is shared")]
fn map(file: &File, length: u32) -> io::Result<MmapMut> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
    // SAFETY: references into the mapping are sound as long as nobody else writes to the file or cuts it off. The caller of `open` has
    // promised to be the only one to use it, and the file has all of its bytes.
    unsafe { MmapOptions::new().len(length).map_mut(file) }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for Mapped {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_the_file_at_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mut mapped = Mapped::open(&path, 4096).expect("a file in memory");
        mapped[7] = 9;
        let bytes = std::fs::read(&path).expect("the file");
        assert_eq!((bytes.len(), bytes[7], bytes[8]), (4096, 9, 0));
        [0, 4095, 4096, usize::MAX].into_iter().for_each(|start| mapped.expect_write(start));
        drop(mapped);
        assert_eq!(Mapped::open(&path, 8192).expect("the same")[7], 9);
    }

    #[test]
    fn a_file_system_that_gives_no_room_is_refused() {
        let error = Mapped::open(Path::new("/proc/self/comm"), 4096).expect_err("no room");
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
}
