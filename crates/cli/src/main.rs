//! The `tollgate` binary: reads the command line, does what it says, and tells how it went by its exit code.

mod account;
mod anonymous;
mod arguments;
mod bound;
mod certificates;
mod check;
mod confidential;
mod counters;
mod demo;
mod finding;
mod follow;
mod healthcheck;
mod keeper;
mod load;
mod origin;
mod paint;
mod parts;
mod place;
mod plan;
mod prices;
mod ratelimit;
mod run;
mod served;
mod server;
mod shown;
mod signals;
mod sources;
mod usage;
mod watch;
mod yaml;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::{CommandFactory, Parser};
use tollgate_telemetry::logging;

use crate::arguments::{Arguments, Command, LogArguments, LogFormat};
use crate::paint::{Paint, Tint};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    #[expect(clippy::disallowed_methods, reason = "the start of the program, for the ready line")]
    let began = Instant::now();
    let arguments = Arguments::parse();
    let errors = Paint::decide(arguments.log.color, &io::stderr());
    match start_log(&arguments.log, errors).and_then(|()| act(arguments, began, errors)) {
        Ok(code) => code,
        // Whoever reads our output has left, as `head` does: nothing is wrong.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // The log says it nicely for machines; people get the chain of causes.
            let _ = writeln!(io::stderr(), "{}: {error:#}", errors.tint(Tint::Bad, "error"));
            ExitCode::FAILURE
        }
    }
}

fn act(arguments: Arguments, began: Instant, errors: Paint) -> Result<ExitCode> {
    let output = Paint::decide(arguments.log.color, &io::stdout());
    match arguments.command {
        Command::Run(arguments) => run::run(&arguments, began, errors),
        Command::Check(arguments) => check::run(&arguments, output),
        Command::Plan(arguments) => plan::run(&arguments, errors),
        Command::Controlplane(arguments) => parts::control(&arguments, began, errors),
        Command::Extproc(arguments) => parts::extproc(&arguments, began, errors),
        Command::Ratelimit(arguments) => ratelimit::run(&arguments, began),
        Command::Demo(arguments) => demo::run(&arguments, output),
        Command::Prices(arguments) => prices::run(&arguments, output),
        Command::Bound(arguments) => bound::run(&arguments),
        Command::Crds => print(&crds()),
        Command::Healthcheck(arguments) => {
            healthcheck::run(arguments.admin_address).map(|()| ExitCode::SUCCESS)
        }
        Command::Usage(arguments) => print(&usage::report(&arguments)?),
        Command::Version => print(concat!("tollgate ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tollgate", &mut script);
            print(&String::from_utf8(script)?)
        }
    }
}

fn start_log(log: &LogArguments, paint: Paint) -> Result<()> {
    let format = match log.log_format {
        LogFormat::Text => logging::Format::Text,
        LogFormat::Json => logging::Format::Json,
    };
    let colour = match paint {
        Paint::Colour => logging::Colour::On,
        Paint::Plain => logging::Colour::Off,
    };
    Ok(logging::start(&log.log_level, format, colour)?)
}

/// One document for each definition.
fn crds() -> String {
    let definitions = tollgate_manifest::crds();
    definitions.iter().map(|definition| format!("---\n{}", yaml::document(definition))).collect()
}

fn print(text: &str) -> Result<ExitCode> {
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
