//! The configuration that is served, and how it follows its files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use crate::config::{self, ConfigError};
use crate::metrics::{Event, Metrics};
use crate::tree::Tree;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The configuration that is served. Cloning it copies one pointer.
#[derive(Debug, Clone)]
pub struct Live(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    tree: RwLock<Arc<Tree>>,
    metrics: Metrics,
}

/// The files as they were read: names and texts.
type Files = Vec<(String, String)>;

impl Live {
    /// Reads a file, or all files of a folder that end in `.yaml` or `.yml`, and follows their changes from then on. A change with a mistake
    /// is told and counted, and what was there before serves on.
    ///
    /// # Errors
    /// When there is a mistake now.
    pub fn open(path: &Path) -> Result<Self, ConfigError> {
        let files = read(path)?;
        let tree = RwLock::new(Arc::new(grown(&files)?));
        let inner = Arc::new(Inner { path: path.to_owned(), tree, metrics: Metrics::default() });
        inner.metrics.count(Event::Loaded);
        let watched = Arc::downgrade(&inner);
        let unreadable = |error: std::io::Error| ConfigError::Unreadable {
            file: path.display().to_string(),
            reason: error.to_string(),
        };
        thread::Builder::new()
            .name("ratelimit-files".to_owned())
            .spawn(move || {
                let mut seen = Ok(files);
                loop {
                    thread::sleep(LOOK_EVERY);
                    let Some(inner) = watched.upgrade() else { return };
                    inner.look(&mut seen);
                }
            })
            .map_err(unreadable)?;
        Ok(Self(inner))
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    pub(crate) fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.0.tree.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    fn look(&self, seen: &mut Result<Files, ConfigError>) {
        let files = read(&self.path);
        if files == *seen {
            return;
        }
        match files.as_ref().map_err(Clone::clone).and_then(grown) {
            Ok(tree) => {
                *self.tree.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tree);
                self.metrics.count(Event::Loaded);
                tracing::info!("the configuration of rate limits has changed");
            }
            Err(error) => {
                self.metrics.count(Event::LoadError);
                tracing::warn!(%error, "the configuration of rate limits has a mistake: the one before serves on");
            }
        }
        *seen = files;
    }
}

fn grown(files: &Files) -> Result<Tree, ConfigError> {
    let mut tree = Tree::default();
    for (name, text) in files {
        tree.add(name, config::read(name, text)?)?;
    }
    Ok(tree)
}

fn read(path: &Path) -> Result<Files, ConfigError> {
    let text = |path: &Path| {
        let unreadable = |error: std::io::Error| unreadable(path, &error);
        fs::read_to_string(path).map(|text| (path.display().to_string(), text)).map_err(unreadable)
    };
    if !path.is_dir() {
        return Ok(vec![text(path)?]);
    }
    let mut paths = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| unreadable(path, &error))? {
        let path = entry.map_err(|error| unreadable(path, &error))?.path();
        if path.extension().is_some_and(|end| end == "yaml" || end == "yml") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| text(path)).collect()
}

fn unreadable(path: &Path, error: &std::io::Error) -> ConfigError {
    ConfigError::Unreadable { file: path.display().to_string(), reason: error.to_string() }
}
