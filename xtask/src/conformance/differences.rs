//! Where the gateway differs from a case on purpose, from the table in `docs/differences.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Verdict;

/// Names of cases, and a piece of text that the difference has to have in it.
pub(super) struct Differences(BTreeMap<String, String>);

impl Differences {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let rows = text.lines().filter_map(|line| {
            let cells: Vec<&str> = line.strip_prefix('|')?.split('|').map(str::trim).collect();
            let (name, sign) = (cells.first()?.strip_prefix('`')?, cells.get(1)?.strip_prefix('`')?);
            Some((name.strip_suffix('`')?.to_owned(), sign.strip_suffix('`')?.to_owned()))
        });
        Ok(Self(rows.collect()))
    }

    /// A failure that is documented is one in every line; a documented one that passes is stale.
    pub(super) fn judge(&self, name: &str, verdict: Verdict) -> Verdict {
        match (self.0.get(name), verdict) {
            (Some(sign), Verdict::Failed(lines)) if lines.iter().all(|line| line.contains(sign)) => {
                Verdict::Documented
            }
            (Some(_), Verdict::Passed) => {
                Verdict::Failed(vec!["docs/differences.md says that it differs, and it does not".to_owned()])
            }
            (_, verdict) => verdict,
        }
    }
}
