//! Secret texts that cannot be printed by accident.

use std::sync::Arc;

use zeroize::Zeroizing;

/// A credential: no Debug, Display, Serialize or equality, and its memory is wiped when the last owner drops it.
///
/// Copies inside TLS and HTTP buffers are beyond its reach.
#[derive(Clone)]
pub struct Secret(Arc<Zeroizing<String>>);

impl Secret {
    /// Takes a credential in.
    pub fn new(text: String) -> Self {
        Self(Arc::new(Zeroizing::new(text)))
    }

    /// The credential itself. Whoever calls this answers for where it goes next.
    pub fn expose(&self) -> &str {
        &self.0
    }
}
