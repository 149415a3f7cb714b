//! Decisions, one file each, as pure arithmetic: whom to try next, whether to try again, who is unhealthy, what an
//! untold usage was and costs, what still fits into a limit, who is let in. Time and chance are parameters.

pub mod authorize;
pub mod claim;
pub mod cost;
pub mod estimate;
pub mod health;
pub mod price;
pub mod quota;
pub mod retry;
pub mod select;
