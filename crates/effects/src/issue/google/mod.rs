//! Access tokens of Google Cloud.
//!
//! Source: Google Identity, "Using OAuth 2.0 for server to server applications"; Security Token Service API v1; IAM
//! Service Account Credentials API v1; AIP-4110 to AIP-4117 for what a process finds around it.

mod ambient;
mod exchange;
mod found;
mod program;
mod service_account;

pub use ambient::ambient;
pub use exchange::{Addresses, Federation, federated};
pub use service_account::{ServiceAccount, service_account};

/// The variable with the address of a proxy for Google's token services, for [`super::Client::proxied_by`].
pub const PROXY_VARIABLE: &str = "AI_GATEWAY_GCP_AUTH_PROXY_URL";

/// What tokens are for: everything that their owner may do.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where tokens are issued, for accounts whose files do not say.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";
