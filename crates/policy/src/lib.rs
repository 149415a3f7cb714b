//! Decisions, one file each, as pure arithmetic: whom to try next, whether to try again, who is unhealthy, what an
//! untold usage was, what a usage costs. Time and chance are parameters.

pub mod cost;
pub mod estimate;
pub mod health;
pub mod price;
pub mod retry;
pub mod select;
