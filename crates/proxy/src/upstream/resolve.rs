//! Names to addresses, remembered for a while and kept when the resolver fails.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// How long an answer is used before the resolver is asked again.
const FRESH_FOR: Duration = Duration::from_secs(30);

/// Addresses of host names, as last told.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    known: Mutex<HashMap<(String, u16), Answer>>,
}

#[derive(Debug, Clone)]
struct Answer {
    addresses: Vec<SocketAddr>,
    at: Instant,
}

impl Resolver {
    /// The addresses of `hostname`. When the resolver fails, the last good answer serves on.
    ///
    /// # Errors
    /// When there is no answer and never was one.
    pub(crate) async fn resolve(&self, hostname: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let key = (hostname.to_owned(), port);
        let known = self.lock().get(&key).cloned();
        if let Some(answer) = &known
            && clock::now().saturating_duration_since(answer.at) < FRESH_FOR
        {
            return Ok(answer.addresses.clone());
        }
        let asked = tokio::net::lookup_host((hostname, port)).await.map(Iterator::collect::<Vec<_>>);
        match (asked, known) {
            (Ok(addresses), _) if !addresses.is_empty() => {
                self.lock().insert(key, Answer { addresses: addresses.clone(), at: clock::now() });
                Ok(addresses)
            }
            (_, Some(answer)) => Ok(answer.addresses),
            (Ok(_), None) => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            (Err(error), None) => Err(error),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, u16), Answer>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
