//! `tollgate plan`: what would become of a configuration, with nothing started.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use tollgate_config::{Bundle, Severity, Snapshot};
use tollgate_fleet::Patience;

use crate::arguments::{PlanArguments, PlanOutput, PlanTo};
use crate::finding::Tally;
use crate::keeper::Keeper;
use crate::load::{self, Loaded};
use crate::paint::Paint;
use crate::served::redacted;
use crate::yaml;

/// Prints the plan on standard output and mistakes on standard error, and returns the exit code.
///
/// # Errors
/// When the processor's place cannot be told to an Envoy, or one of the outputs cannot be written.
pub(crate) fn run(arguments: &PlanArguments, errors: Paint) -> Result<ExitCode> {
    let mut loaded = load::paths(&arguments.paths, Ipv4Addr::LOCALHOST.into());
    let told = &arguments.envoy;
    let keeper = Keeper::of(told.rate_limit_service.as_ref(), &told.envoy_authentication);
    let keeper = match arguments.to {
        PlanTo::Ratelimit => keeper.with_service(),
        PlanTo::Envoy | PlanTo::Bundle => keeper,
    };
    keeper.take_in(&mut loaded);
    let (snapshot, diagnostics) = Snapshot::compile(std::mem::take(&mut loaded.bundle));
    loaded.add(diagnostics);
    let planned = match arguments.to {
        PlanTo::Bundle => Some(serde_json::to_value(redacted(snapshot.bundle()))?),
        PlanTo::Ratelimit => Some(tollgate_plan::envoy::service_configuration(snapshot.bundle())),
        PlanTo::Envoy => envoy(snapshot.bundle(), arguments, &mut loaded)?,
    };
    let mut text = String::new();
    for finding in &loaded.findings {
        finding.write(&mut text, &loaded.sources, errors);
    }
    std::io::stderr().write_all(text.as_bytes())?;
    if let Some(planned) = planned.filter(|_| !loaded.is_unreadable) {
        let text = match arguments.output {
            PlanOutput::Yaml => yaml::document(&planned),
            PlanOutput::Json => serde_json::to_string_pretty(&planned)? + "\n",
        };
        std::io::stdout().write_all(text.as_bytes())?;
    }
    let failed = Tally::of(&loaded.findings).errors > 0;
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The resources; none when something cannot be said to Envoy, since then nothing would be pushed.
fn envoy(bundle: &Bundle, arguments: &PlanArguments, loaded: &mut Loaded) -> Result<Option<Value>> {
    let parts = arguments.envoy.parts()?;
    let resources = tollgate_fleet::written(bundle, &parts, Patience::default())?;
    let fails = resources.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error);
    loaded.add(resources.diagnostics);
    let planned = json!({
        "listeners": resources.listeners,
        "route_configurations": resources.route_configurations,
        "clusters": resources.clusters,
        "secrets": resources.secrets,
    });
    Ok((!fails).then_some(planned))
}
