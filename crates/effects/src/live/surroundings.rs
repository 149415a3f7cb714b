//! What credentials are fetched with: variables and a client.

use crate::issue::{Client, Environment, IssueError};

/// What credentials are fetched with. Cloning it is cheap.
#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Variables, as of the start of the process.
    pub(crate) environment: Environment,
    /// What asks the services.
    pub(crate) client: Client,
}

impl Surroundings {
    /// Those of this process.
    ///
    /// # Errors
    /// Never with the cryptography that is built in.
    pub(crate) fn of_process() -> Result<Self, IssueError> {
        let environment = std::env::vars_os().collect();
        Ok(Self { environment, client: Client::with_system_roots()? })
    }
}
