//! The core: one client request and its answer as plain values, without sockets, clock or runtime.
//!
//! An [`Exchange`] takes in a request and says what to do with it; once its body is there, it has become a
//! [`Routed`] request and the [`ClientRequest`] behind it, which never change again. Each try at one backend is an [`Attempt`]
//! made from them. A data
//! plane moves bytes and time between these and its sockets, and does what each [`Step`] says. Nothing here knows
//! a vendor: what is said belongs to `dialect`, where it is said to `host`.

mod attempt;
mod charge;
mod detour;
mod entry;
mod exchange;
mod explain;
mod headers;
mod journal;
mod open;
mod passage;
mod record;
mod refusal;
mod response;
mod routed;
mod shape;
mod stages;
mod step;
mod stream;

pub use attempt::{Attempt, Ending};
pub use charge::Charge;
pub use detour::Detour;
pub use entry::Told;
pub use exchange::{Arrival, BodyFraming, BodyPlan, End, Exchange, RequestHead};
pub use journal::{Journal, Opening, Reserved};
pub use passage::{Passage, PassedRequest};
pub use record::{Facts, Outcome, Record, Summary};
pub use refusal::{Exceeded, LocalReply, Refusal};
pub use response::{Chance, Receive, ResponseHead, status_fault};
pub use routed::{ClientRequest, Routed};
pub use stages::UpstreamRequest;
pub use step::{Answer, Need, Offered, Step};
pub use tollgate_config::bundle::CostError;
pub use tollgate_dialect::error_dialect;
pub use tollgate_policy::authorize;
pub use tollgate_policy::claim::Admission;
