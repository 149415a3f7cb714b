//! Three processes: an Envoy, its control plane, and its external processor.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::backend::Backend;
use crate::clients::{Kind, Seen, ask_once};
use crate::gateway::{File, Process, eventually, free_address, signal};

/// What control plane and processor follow.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Files {
    Same,
    Two,
}

/// The parts at work.
pub(crate) struct Apart {
    pub(crate) address: SocketAddr,
    /// What the control plane follows.
    pub(crate) file: File,
    /// What the processor follows.
    pub(crate) other: File,
    pub(crate) old: Backend,
    pub(crate) new: Backend,
    // In the order in which they are ended.
    pub(crate) envoy: Process,
    pub(crate) control: Process,
    pub(crate) processor: Process,
    folder: tempfile::TempDir,
}

impl Apart {
    /// Starts them with the configuration `old`, and waits until requests go through.
    pub(crate) fn start(files: Files) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (Backend::start("old"), Backend::start("new"));
        let address = free_address();
        let file = |name: &str| File::new(folder.path(), name, address.port());
        let (file, other) = match files {
            Files::Same => (file("gateway.yaml"), file("gateway.yaml")),
            Files::Two => (file("gateway.yaml"), file("processor.yaml")),
        };
        file.write("old", old.port);
        other.write("old", old.port);
        let processor = start_processor(folder.path(), &other);
        let control = start_control(folder.path(), &file);
        let envoy = start_envoy(folder.path());
        let apart = Self { address, file, other, old, new, envoy, control, processor, folder };
        apart.wait_until_good();
        apart
    }

    /// How long it takes until a request is served.
    pub(crate) fn wait_until_good(&self) -> Duration {
        eventually("a request is served", || ask_once(self.address, Kind::Document).is_good())
    }

    /// Kills it, waits, and starts it again.
    pub(crate) fn processor_dies_for(&mut self, time: Duration) {
        signal(self.processor.id(), "-KILL");
        thread::sleep(time);
        self.processor = start_processor(self.folder.path(), &self.other);
    }

    /// Kills it, waits, and starts it again.
    pub(crate) fn control_dies_for(&mut self, time: Duration) {
        signal(self.control.id(), "-KILL");
        thread::sleep(time);
        self.control = start_control(self.folder.path(), &self.file);
    }

    /// Kills it, waits, and starts it again.
    pub(crate) fn envoy_dies_for(&mut self, time: Duration) {
        signal(self.envoy.id(), "-KILL");
        thread::sleep(time);
        self.envoy = start_envoy(self.folder.path());
    }

    /// Changes to the other configuration; how long it takes until a client sees it.
    pub(crate) fn change(&self) -> Duration {
        self.file.write("new", self.new.port);
        self.other.write("new", self.new.port);
        let new = Seen::Good("new".to_owned());
        eventually("the change is seen", || ask_once(self.address, Kind::Document).seen == new)
    }

    /// Requests that came to a backend as their clients had sent them.
    pub(crate) fn unprocessed(&self) -> u64 {
        self.old.unprocessed() + self.new.unprocessed()
    }
}

fn spot(folder: &Path, name: &str) -> String {
    format!("unix:{}", folder.join(name).display())
}

fn start_processor(folder: &Path, file: &File) -> Process {
    let listen = spot(folder, "extproc.sock");
    let more = ["--workers", "1", "--access-log", "off", "--drain-timeout", "1s", file.path()];
    Process::tollgate(&[&["extproc", "--listen", &listen][..], &more].concat())
}

fn start_control(folder: &Path, file: &File) -> Process {
    let (listen, processor) = (spot(folder, "xds.sock"), spot(folder, "extproc.sock"));
    Process::tollgate(&["controlplane", "--listen", &listen, "--processor", &processor, file.path()])
}

/// Starts an Envoy that asks the control plane in this folder.
pub(crate) fn start_envoy(folder: &Path) -> Process {
    let listen = spot(folder, "xds.sock");
    let printed = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .args(["controlplane", "--listen", &listen, "--print-bootstrap"])
        .output()
        .expect("the binary");
    let bootstrap: PathBuf = folder.join("envoy.json");
    std::fs::write(&bootstrap, printed.stdout).expect("a file");
    let envoy = std::env::var_os("TOLLGATE_ENVOY").expect("TOLLGATE_ENVOY names an Envoy");
    let mut command = Command::new(envoy);
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "off", "--config-path"]);
    command.arg(&bootstrap).arg("--admin-address-path").arg(folder.join("admin"));
    Process::other(&mut command)
}
