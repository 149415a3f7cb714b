//! Kinds of the group `tollgate.dev`: what Envoy AI Gateway has no kind for.

mod budget;

pub use budget::{
    BudgetCount, BudgetLimit, BudgetSpec, BudgetSubject, BudgetUnit, BudgetWindow, CalendarPeriod,
    EnforcementMode, ExceededAction, FailureMode, SubjectMatch, UnpricedAction,
};
