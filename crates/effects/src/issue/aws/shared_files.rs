//! The files that AWS's tools share, `~/.aws/config` and `~/.aws/credentials`.

use tollgate_config::bundle::AwsProfile;
use tollgate_terms::Secret;

use crate::issue::{Environment, IssueError, file};

/// By variable, and where it is without one; the later one counts more.
const FILES: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];

/// The texts of those that are there.
pub(super) struct SharedFiles(Vec<Secret>);

impl SharedFiles {
    /// Reads them.
    ///
    /// # Errors
    /// [`IssueError::Misconfigured`] when one cannot be read.
    pub(super) async fn read(environment: &Environment) -> Result<Self, IssueError> {
        let mut texts = Vec::new();
        for (variable, usual) in FILES {
            let path = match (environment.get(variable), environment.get("HOME")) {
                (Some(path), _) => path.to_owned(),
                (None, Some(home)) => format!("{home}/{usual}"),
                (None, None) => continue,
            };
            if file::exists(&path).await {
                texts.push(file::read(&path).await?);
            }
        }
        Ok(Self(texts))
    }

    /// The profile `name`, or the section that is called so.
    pub(super) fn find<'a>(&'a self, name: &'a str) -> Option<AwsProfile<'a>> {
        let texts: Vec<&str> = self.0.iter().map(Secret::expose).map(AsRef::as_ref).collect();
        AwsProfile::find(&texts, name)
    }
}
