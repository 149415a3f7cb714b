//! The nouns that every other crate shares: names, operations, usage, secrets and faults.
//!
//! This crate knows nothing about JSON, HTTP, sockets or configuration files. Whoever needs one of these ideas
//! imports it from here, so that a word means the same thing everywhere. `docs/lexicon.md` lists the words.

mod attempt;
mod content;
mod fault;
mod name;
mod operation;
mod principal;
mod secret;
mod table;
mod usage;

pub use attempt::AttemptId;
pub use content::content_hash;
pub use fault::{BackendFault, ClientFault, Fault, GatewayFault};
pub use name::{BackendName, ModelName, ModelNameError, RouteName};
pub use operation::{Delivery, Dialect, Operation, StreamFraming};
pub use principal::Principal;
pub use secret::Secret;
pub use table::{EntryRef, Equivalent, FastHasher, FastMap, FastSet, HashedText};
pub use usage::{Contradiction, Usage, UsageSource};
