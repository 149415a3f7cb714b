//! The aggregated discovery service (ADS): sends resources to Envoys, and knows who has taken which.
//!
//! It knows types, names and bytes, and nothing of what a resource means, but for one thing: what others refer to has to be there
//! before they do, and stay a while after (clusters, endpoints and secrets; listeners and routes refer to them). A [`ResourceSet`] is
//! published whole; each stream of a node walks by itself from what it has to what is wanted, in both protocols. That walk is pure.
//! What a node rejects is told in [`Status`] and never sent to it again unchanged.

mod delta;
mod discovery;
mod interest;
mod order;
mod serve;
mod set;
mod status;
mod stream;
mod walk;
mod whole;

#[cfg(test)]
mod laws_tests;

pub use discovery::Discovery;
pub use serve::serve;
pub use set::{Resource, ResourceSet, Version};
pub use status::{Counts, NodeStatus, Rejection, Status, TypeCounts, TypeStatus};
