//! What models cost: the catalog that comes with the program, and files of prices over it.

mod import;
mod show;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context, Result, anyhow, bail};
use tollgate_config::prices::{Catalog, CatalogError};

use crate::arguments::{PricesAction, PricesArguments};
use crate::finding::Finding;
use crate::load::Loaded;
use crate::paint::Paint;
use crate::sources;

/// Shows prices, or takes new ones.
///
/// # Errors
/// When a file is no catalog, or cannot be read or written.
pub(crate) fn run(arguments: &PricesArguments, paint: Paint) -> Result<ExitCode> {
    let text = match &arguments.action {
        PricesAction::Show { model, prices } => {
            let catalog = load(prices).map_err(first)?;
            let shown = show::prices(&catalog, model.as_deref(), paint);
            shown.with_context(|| format!("{:?} has no known price", model.as_deref().unwrap_or_default()))?
        }
        PricesAction::Update { file, prices, dry_run } => update(file, prices, *dry_run, paint)?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Puts the catalog in `file` where the gateway reads it; returns what that changes.
fn update(file: &Path, prices: &[PathBuf], dry_run: bool, paint: Paint) -> Result<String> {
    let [place] = prices else {
        bail!("expected one --prices FILE, which is where the gateway reads prices")
    };
    let name = || file.display().to_string();
    let text = sources::text_of(file).with_context(name)?;
    let ours = import::import(&text, &load(&[]).map_err(first)?, &today()).with_context(name)?;
    let new = load(&[])
        .map_err(first)?
        .overlaid(Catalog::parse(&ours).map_err(|error| anyhow!("{}: {error}", name()))?);
    // What is there may be broken, and then everything is new.
    let old = load(prices).or_else(|_| load(&[])).map_err(first)?;
    if !dry_run {
        replace(place, &ours).with_context(|| place.display().to_string())?;
    }
    Ok(show::difference(&old, &new, paint))
}

#[expect(clippy::disallowed_methods, reason = "the command line reads the clock for those who must not")]
fn today() -> String {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    show::day(since_epoch.as_secs() / 86_400)
}

/// Writes a file whole: whoever reads it finds the one before or this one.
fn replace(place: &Path, text: &str) -> std::io::Result<()> {
    let mut beside = place.as_os_str().to_owned();
    beside.push(".new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, place)
}

fn first(findings: Vec<Finding>) -> anyhow::Error {
    anyhow!("{}", findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

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
