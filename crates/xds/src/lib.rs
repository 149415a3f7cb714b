//! The aggregated discovery service (ADS): sends resources to Envoys, and knows who has taken which.
//!
//! It knows types, names and bytes, and nothing of what a resource means, but for one thing: what others refer to has to be there
//! first (clusters and secrets before listeners and routes). A [`ResourceSet`] is published whole; each stream of an Envoy walks by itself
//! from what it has to what is wanted, in a [`delta::Session`] or a [`whole::Session`], which are pure. What an Envoy rejects is told
//! in [`Status`] and never sent to it again unchanged.

pub mod delta;
mod discovery;
mod order;
mod set;
mod status;
mod stream;
pub mod whole;

pub use discovery::Discovery;
pub use set::{Resource, ResourceSet};
pub use status::{Counts, Status, TypeStatus};
