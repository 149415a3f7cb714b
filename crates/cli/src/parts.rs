//! `tollgate controlplane` and `tollgate extproc`: the parts of an Envoy data plane, run apart.

use std::io::Write;
use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use tollgate_fleet::Told;
use tollgate_telemetry::AccessLog;

use crate::account::Place;
use crate::anonymous::Anonymous;
use crate::arguments::{ControlArguments, ExtprocArguments, PrintSds};
use crate::counters::Counters;
use crate::keeper::Keeper;
use crate::origin::Origin;
use crate::paint::Paint;
use crate::run::{Start, access_log, serve, workers};
use crate::server::{Part, ServerOptions};

/// Programs Envoys until a signal, or prints what one is started with.
///
/// # Errors
/// When there is nothing to serve, or it cannot be served.
pub(crate) fn control(arguments: &ControlArguments, began: Instant, paint: Paint) -> Result<ExitCode> {
    if let Some(elsewhere) = &arguments.print_bootstrap {
        let place = elsewhere.as_ref().unwrap_or(&arguments.listen).told(&arguments.envoy)?;
        std::io::stdout().write_all(tollgate_fleet::bootstrap(&place)?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    if let (Some(half), Some(identity)) = (arguments.print_sds, arguments.envoy.identity()) {
        let half = match half {
            PrintSds::Certificate => Told::Certificate,
            PrintSds::Authorities => Told::Authorities,
        };
        std::io::stdout().write_all(tollgate_fleet::sds(&identity, half)?.as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let part =
        Part::Control { listen: arguments.listen.listen(&arguments.tls)?, parts: arguments.envoy.parts()? };
    let start = Start {
        origin: Origin::Paths(arguments.paths.clone()),
        prices: Vec::new(),
        keeper: Keeper::of(
            arguments.envoy.rate_limit_service.as_ref(),
            &arguments.envoy.envoy_authentication,
        ),
        default_address: arguments.address,
        anonymous: if arguments.allow_anonymous { Anonymous::Allowed } else { Anonymous::Refused },
        port: None,
        options: ServerOptions {
            admin_address: arguments.admin_address,
            access_log: AccessLog::Off,
            workers: 1,
            counters: Counters::default(),
            ledger: None,
            part,
        },
        // No request goes through it.
        drain_timeout: Duration::ZERO,
    };
    serve(start, began, paint)
}

/// Answers an Envoy until a signal.
///
/// # Errors
/// When there is nothing to serve, or it cannot be served.
pub(crate) fn extproc(arguments: &ExtprocArguments, began: Instant, paint: Paint) -> Result<ExitCode> {
    let start = Start {
        origin: Origin::Paths(arguments.paths.clone()),
        prices: arguments.requests.prices.clone(),
        keeper: Keeper::of(arguments.rate_limit_service.as_ref(), &arguments.envoy_authentication),
        // Where Envoys listen is nothing to it.
        default_address: Ipv4Addr::LOCALHOST.into(),
        anonymous: Anonymous::Allowed,
        port: None,
        options: ServerOptions {
            admin_address: arguments.admin_address,
            access_log: access_log(&arguments.requests.access_log),
            workers: workers(arguments.requests.workers),
            counters: Counters::of(&arguments.requests.counters),
            ledger: Place::of(&arguments.requests.ledger),
            part: Part::Processor(arguments.listen.listen(&arguments.tls)?),
        },
        drain_timeout: arguments.requests.drain_timeout,
    };
    serve(start, began, paint)
}
