//! `tollgate usage`: what was used, from a ledger.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tollgate_ledger::usage::{Format, Query, Source, distinct};

use crate::arguments::{UsageArguments, UsageFormat};

/// The report as a text.
///
/// # Errors
/// When there is no ledger, or it cannot be read.
pub(crate) fn report(arguments: &UsageArguments) -> Result<String> {
    let source = match (&arguments.postgres, &arguments.ledger) {
        (Some(url), _) => Source::postgres(url),
        (None, Some(folder)) => in_folder(folder)?,
        (None, None) => bail!("expected --ledger or --postgres"),
    };
    let query =
        Query { by: distinct(arguments.by.iter().copied()), since: arguments.since, until: arguments.until };
    let report = source.report(&query).context("the ledger cannot be read")?;
    Ok(report.write(match arguments.format {
        UsageFormat::Table => Format::Table,
        UsageFormat::Csv => Format::Csv,
        UsageFormat::Json => Format::Json,
    }))
}

fn in_folder(folder: &Path) -> Result<Source> {
    if !folder.join("gateway-id").is_file() {
        bail!("no ledger in {}: expected the folder of `run --ledger`", folder.display());
    }
    tollgate_ledger::catch_up(folder).context("the ledger cannot be read")?;
    Ok(Source::folder(folder))
}
