//! The gateway's own log, on standard error: set up once, at the start of the program.

use std::io;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object each.
    Json,
}

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// With ANSI escapes.
    On,
    /// Plain.
    Off,
}

/// Why the log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The level is neither a level nor a list of `target=level`.
    #[error(
        "log level \"{level}\" is none of off, error, warn, info, debug, trace, nor a list of target=level"
    )]
    Level {
        /// The level as given.
        level: String,
    },
    /// It was set up before.
    #[error("the log is set up already")]
    Twice(#[source] TryInitError),
}

/// Sends the log of this process to standard error. `level` is a level, or a list such as
/// `warn,tollgate_proxy=debug`.
///
/// Values in a line are escaped by the formatter, so none of them can begin a new line or colour the screen.
///
/// # Errors
/// When `level` cannot be read, or the log was set up before.
pub fn start(level: &str, format: Format, colour: Colour) -> Result<(), LoggingError> {
    let filter = EnvFilter::try_new(level).map_err(|_| LoggingError::Level { level: level.to_owned() })?;
    let built = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        Format::Text => built.with_ansi(colour == Colour::On).with_target(false).finish().try_init(),
        Format::Json => built.json().with_ansi(false).flatten_event(true).finish().try_init(),
    };
    started.map_err(LoggingError::Twice)
}
