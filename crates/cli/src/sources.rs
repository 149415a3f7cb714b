//! The files of a configuration: found, read, and told apart from what they were before.

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::finding::Finding;

/// Largest file that is read, in bytes: far beyond any configuration, far below what would hurt.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// One file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// Its path, as it is told to people.
    pub(crate) name: String,
    /// What is in it.
    pub(crate) text: String,
}

/// Reads every file of `paths`, and of the folders among them the files `*.yaml` and `*.yml`, in the order of their
/// names. Hidden files are not read: kubelet keeps its own beside the files of a mounted volume.
pub(crate) fn read(paths: &[PathBuf]) -> (Vec<Source>, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    for path in paths {
        match files_of(path) {
            Ok(found) => files.extend(found.into_iter().filter(|file| seen.insert(file.clone()))),
            Err(error) => findings.push(Finding::of_file(name_of(path), told(&error))),
        }
    }
    let mut sources = Vec::with_capacity(files.len());
    for file in files {
        match text_of(&file) {
            Ok(text) => sources.push(Source { name: name_of(&file), text }),
            Err(error) => findings.push(Finding::of_file(name_of(&file), told(&error))),
        }
    }
    (sources, findings)
}

/// A number that changes when one of the files that `paths` mean does, or when one comes or goes.
pub(crate) fn fingerprint(paths: &[PathBuf]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for path in paths {
        match files_of(path) {
            Ok(files) => files.iter().for_each(|file| hash_file(file, &mut hasher)),
            Err(error) => error.kind().hash(&mut hasher),
        }
    }
    hasher.finish()
}

/// The text of one file.
///
/// # Errors
/// When it cannot be read, is too large, or is not UTF-8.
pub(crate) fn text_of(path: &Path) -> io::Result<String> {
    let bytes = bytes_of(path)?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        io::Error::new(io::ErrorKind::InvalidData, format!("expected UTF-8, and byte {at} is not"))
    })
}

fn bytes_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("expected at most {FILE_BYTES_MAX} bytes"),
        ));
    }
    Ok(bytes)
}

fn hash_file(path: &Path, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    match bytes_of(path) {
        Ok(bytes) => bytes.hash(hasher),
        Err(error) => error.kind().hash(hasher),
    }
}

fn files_of(path: &Path) -> io::Result<Vec<PathBuf>> {
    if !fs::metadata(path)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path)? {
        let file = entry?.path();
        if is_configuration(&file) && fs::metadata(&file).is_ok_and(|data| data.is_file()) {
            files.push(file);
        }
    }
    if files.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::NotFound,
            "expected a file *.yaml or *.yml in this folder",
        ));
    }
    files.sort();
    Ok(files)
}

fn is_configuration(file: &Path) -> bool {
    let hidden = file.file_name().is_none_or(|name| name.to_string_lossy().starts_with('.'));
    !hidden && file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml")
}

fn name_of(path: &Path) -> String {
    path.display().to_string()
}

/// An error of the operating system in the words of the other findings.
fn told(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound if error.raw_os_error().is_some() => {
            "expected a file or folder, and there is none".to_owned()
        }
        io::ErrorKind::PermissionDenied => "expected a file that may be read, and this may not".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            fs::write(folder.path().join(name), text).expect("a file");
        }
        folder
    }

    #[test]
    fn a_folder_is_read_in_the_order_of_names_without_hidden_files() {
        let folder = folder(&[("b.yml", "b"), ("a.yaml", "a"), (".c.yaml", "c"), ("d.txt", "d")]);
        let paths = [folder.path().to_owned(), folder.path().join("a.yaml")];
        let (sources, findings) = read(&paths);
        assert_eq!(sources.iter().map(|source| source.text.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(findings, []);
    }

    #[test]
    fn what_cannot_be_read_is_told_and_the_rest_is_read() {
        let folder = folder(&[("a.yaml", "a"), ("d.txt", "d")]);
        fs::write(folder.path().join("bad.yaml"), b"a\xff").expect("a file");
        let empty = tempfile::tempdir().expect("a folder");
        let paths = [folder.path().to_owned(), folder.path().join("none.yaml"), empty.path().to_owned()];
        let (sources, findings) = read(&paths);
        assert_eq!(sources.len(), 1);
        let mut messages: Vec<_> = findings.iter().map(|finding| finding.message.as_str()).collect();
        messages.sort_unstable();
        assert_eq!(
            messages,
            [
                "expected UTF-8, and byte 1 is not",
                "expected a file *.yaml or *.yml in this folder",
                "expected a file or folder, and there is none",
            ]
        );
    }

    #[test]
    fn the_fingerprint_changes_with_content_and_with_files() {
        let folder = folder(&[("a.yaml", "a")]);
        let key = folder.path().join("key");
        let paths = [folder.path().to_owned(), key.clone()];
        let print = || fingerprint(&paths);
        let mut prints = vec![print()];
        assert_eq!(prints, [print()]);
        for (name, text) in [("a.yaml", "b"), ("b.yaml", "b"), ("key", "secret"), ("key", "other")] {
            fs::write(folder.path().join(name), text).expect("a file");
            prints.push(print());
        }
        let distinct: BTreeSet<_> = prints.iter().collect();
        assert_eq!(distinct.len(), prints.len());
        fs::remove_file(key).expect("removed");
        fs::write(folder.path().join("c.txt"), "not a configuration").expect("a file");
        assert_eq!(prints.get(2), Some(&print()));
    }
}
