//! Takes changes of a configuration in while it is served.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use tollgate_config::Severity;

use crate::anonymous::Anonymous;
use crate::finding::{Finding, Tally};
use crate::keeper::Keeper;
use crate::origin::{Origin, Port};
use crate::prices;
use crate::server::Server;
use crate::watch::{StopWatch, Watch};

/// What an error is about, wherever in its file it stands: object, field and message.
pub(crate) type Complaint = (String, String, String);

/// The errors among `findings`.
pub(crate) fn complaints(findings: &[Finding]) -> BTreeSet<Complaint> {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| (finding.object.clone(), finding.path.clone(), finding.message.clone())).collect()
}

/// Takes new configurations in.
pub(crate) struct Follower {
    pub(crate) watch: Watch,
    pub(crate) origin: Origin,
    /// Files of prices.
    pub(crate) prices: Vec<PathBuf>,
    pub(crate) keeper: Keeper,
    pub(crate) default_address: IpAddr,
    pub(crate) anonymous: Anonymous,
    pub(crate) port: Port,
    /// Errors that the served configuration has already.
    pub(crate) known: BTreeSet<Complaint>,
    pub(crate) server: Arc<Server>,
}

/// A [`Follower`] at work, on a thread of its own.
pub(crate) struct Following {
    stop: StopWatch,
    thread: thread::JoinHandle<()>,
}

impl Following {
    /// Ends it.
    pub(crate) fn stop(self) {
        self.stop.stop();
        if self.thread.join().is_err() {
            tracing::error!("the thread that follows the configuration panicked");
        }
    }
}

impl Follower {
    /// Begins.
    pub(crate) fn start(mut self) -> Following {
        let stop = self.watch.stopper();
        let thread = thread::spawn(move || {
            while self.watch.changed() {
                self.take();
            }
        });
        Following { stop, thread }
    }

    /// Serves the new configuration, unless it has an error that the one before had not.
    fn take(&mut self) {
        let mut loaded = self.origin.load(self.default_address);
        prices::take_in(&self.prices, &mut loaded);
        self.keeper.take_in(&mut loaded);
        let configuration = self.port.compile(&mut loaded);
        self.watch.follow(loaded.files);
        let complaints = complaints(&configuration.findings);
        if loaded.is_unreadable || !complaints.is_subset(&self.known) {
            log(&configuration.findings);
            let findings = Tally::of(&configuration.findings);
            tracing::error!(%findings, "the new configuration is refused; the one before is still served");
            self.server.refused();
            return;
        }
        if let Err(reason) = self.anonymous.check(configuration.snapshot.bundle()) {
            tracing::error!(reason, "the new configuration is refused; the one before is still served");
            self.server.refused();
            return;
        }
        let findings = Tally::of(&configuration.findings);
        match self.server.reload(configuration) {
            Ok(version) => {
                self.known = complaints;
                tracing::info!(version, %findings, "the new configuration is served");
            }
            Err(error) => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the new configuration is refused; the one before is still served"
                );
                self.server.refused();
            }
        }
    }
}

/// Logs each finding, without the line that it is about: a log is read by more people than a configuration.
pub(crate) fn log(findings: &[Finding]) {
    for finding in findings {
        match finding.severity {
            Severity::Error => tracing::error!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
        }
    }
}
