//! What a part of a fleet shows to Envoys, and whom it takes for one: files, which are followed as those of the configuration are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use anyhow::{Context, Result};
use tollgate_fleet::grpc::{ServerConfig, Tls, server_config};

use crate::watch::Watch;

/// Files in PEM: the chain, its key, and the authorities that have signed the certificates of Envoys.
pub(crate) struct Shown(pub(crate) [PathBuf; 3]);

impl Shown {
    /// TLS as the files say now, and for connections to come as they say then. A change that cannot be served is told, and what was before
    /// is served on.
    ///
    /// # Errors
    /// When a file cannot be read, or they do not fit together.
    pub(crate) fn follow(self) -> Result<Tls> {
        // Before they are read, so that no change falls between.
        let mut watch = Watch::new(self.0.to_vec());
        let tls = Tls::new(self.read()?);
        let followed = tls.clone();
        thread::spawn(move || {
            while watch.changed() {
                match self.read() {
                    Ok(config) => {
                        followed.replace(config);
                        tracing::info!("the new certificate is shown to Envoys");
                    }
                    // Files are often replaced one after the other.
                    Err(error) => tracing::error!(
                        error = format!("{error:#}"),
                        "the new certificate is refused; the one before is still shown to Envoys"
                    ),
                }
            }
        });
        Ok(tls)
    }

    fn read(&self) -> Result<Arc<ServerConfig>> {
        let [chain, key, authorities] = &self.0;
        Ok(server_config(&text(chain)?, &text(key)?, Some(&text(authorities)?))?)
    }
}

fn text(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}
