//! `tollgate check`: every mistake in a configuration at once.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tollgate_config::Snapshot;

use crate::arguments::{CheckArguments, Output, Plane};
use crate::finding::{Finding, Tally, counted};
use crate::keeper::Keeper;
use crate::load::{self, Loaded};
use crate::paint::{Paint, Tint};
use crate::prices;

/// All findings, for programs.
#[derive(Serialize)]
struct Report<'a> {
    findings: &'a [Finding],
    #[serde(flatten)]
    tally: Tally,
    files: usize,
    objects: usize,
}

/// Checks, tells on standard output, and returns the exit code.
///
/// # Errors
/// When standard output cannot be written, or the configuration not as JSON.
pub(crate) fn run(arguments: &CheckArguments, paint: Paint) -> Result<ExitCode> {
    let mut loaded = load::paths(&arguments.paths, Ipv4Addr::LOCALHOST.into());
    prices::take_in(&arguments.prices, &mut loaded);
    if arguments.data_plane == Plane::Envoy {
        let service = arguments.rate_limit_service.as_ref();
        Keeper::of(service, &arguments.envoy_authentication).take_in(&mut loaded);
    }
    let (snapshot, diagnostics) = Snapshot::compile(std::mem::take(&mut loaded.bundle));
    loaded.add(diagnostics);
    let snapshot = snapshot.with_prices(std::sync::Arc::clone(&loaded.prices));
    loaded.add(snapshot.unpriced());
    if arguments.data_plane == Plane::Envoy {
        loaded.add(tollgate_fleet::obstacles(snapshot.bundle())?);
    }
    let tally = Tally::of(&loaded.findings);
    let text = match arguments.output {
        Output::Text => text(&loaded, tally, paint),
        Output::Json => json(&loaded, tally)?,
    };
    std::io::stdout().write_all(text.as_bytes())?;
    let failed = tally.errors > 0 || (arguments.deny_warnings && tally.warnings > 0);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn text(loaded: &Loaded, tally: Tally, paint: Paint) -> String {
    let mut text = String::new();
    for finding in &loaded.findings {
        finding.write(&mut text, &loaded.sources, paint);
        text.push('\n');
    }
    let tint = match (tally.errors, tally.warnings) {
        (0, 0) => Tint::Good,
        (0, _) => Tint::Doubtful,
        _ => Tint::Bad,
    };
    let read = format!("{}, {}", counted(loaded.sources.len(), "file"), counted(loaded.objects, "object"));
    text.push_str(&format!("{} in {read}\n", paint.tint(tint, tally)));
    text
}

fn json(loaded: &Loaded, tally: Tally) -> Result<String> {
    let report =
        Report { findings: &loaded.findings, tally, files: loaded.sources.len(), objects: loaded.objects };
    Ok(serde_json::to_string_pretty(&report)? + "\n")
}
