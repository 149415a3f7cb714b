//! Decisions, one file each, as pure arithmetic: whom to try next, whether to try again, who is unhealthy, what an
//! untold usage was, who is let in. Time and chance are parameters.

pub mod authorize;
pub mod estimate;
pub mod health;
pub mod retry;
pub mod select;
