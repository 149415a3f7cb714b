//! What models cost: the catalog that comes with the program, and files of prices over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tollgate_config::prices::{Catalog, CatalogError};

use crate::finding::Finding;
use crate::load::Loaded;
use crate::sources;

/// The shipped catalog with those of `files` over it, each over those before.
///
/// # Errors
/// What is wrong with which file.
pub(crate) fn load(files: &[PathBuf]) -> Result<Catalog, Vec<Finding>> {
    let told = |file: &Path, message: String| Finding::of_file(file.display().to_string(), message);
    let shipped = Catalog::shipped();
    let mut catalog = shipped.map_err(|error| vec![told(Path::new("shipped prices"), error.to_string())])?;
    let mut findings = Vec::new();
    for file in files {
        match read(file) {
            Ok(over) => catalog = catalog.overlaid(over),
            Err(message) => findings.push(told(file, message)),
        }
    }
    if findings.is_empty() { Ok(catalog) } else { Err(findings) }
}

/// Gives prices to what was loaded. Files of prices belong to the configuration: a mistake in one is one in it.
pub(crate) fn take_in(files: &[PathBuf], loaded: &mut Loaded) {
    loaded.files.extend(files.iter().cloned());
    match load(files) {
        Ok(catalog) => loaded.prices = Arc::new(catalog),
        Err(findings) => {
            loaded.is_unreadable = true;
            loaded.findings.extend(findings);
            loaded.findings.sort();
        }
    }
}

fn read(file: &Path) -> Result<Catalog, String> {
    let text = sources::text_of(file).map_err(|error| format!("cannot be read: {error}"))?;
    Catalog::parse(&text).map_err(|error: CatalogError| error.to_string())
}
