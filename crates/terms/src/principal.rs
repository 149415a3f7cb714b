//! Who calls.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who a request comes from, as far as it has proved it. Limits, logs and the ledger tell callers apart by it.
///
/// Everything is absent for a caller that nobody asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Principal {
    /// The person or service: the id of an API key's client, or the subject of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<Arc<str>>,
    /// The team that pays for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Arc<str>>,
    /// The application that asks on its behalf.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub application: Option<Arc<str>>,
    /// Which API key, or which issuer's token, proved it. Never the key itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Arc<str>>,
}
