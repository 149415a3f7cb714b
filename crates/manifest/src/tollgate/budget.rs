//! Budget: how much money, how many tokens or requests callers may use in a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::envoy_gateway::TargetSelector;
use crate::gateway_api::PolicyTargetReference;
use crate::rules::cel;
use crate::scalar::GatewayDuration;

/// What a Budget says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([(
    "(has(self.targetRefs) && self.targetRefs.size() > 0) || (has(self.targetSelectors) && self.targetSelectors.size() > 0)",
    "targetRefs or targetSelectors must be used",
)])))]
pub struct BudgetSpec {
    /// The Gateways or routes whose requests it is for. They share it.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub target_refs: Vec<PolicyTargetReference>,
    /// The same, by their labels.
    #[serde(default)]
    pub target_selectors: Vec<TargetSelector>,
    /// Each value of these has a budget of its own. Requests that have no value are not for it.
    #[serde(default)]
    #[schemars(length(max = 5))]
    pub per: Vec<BudgetSubject>,
    /// Only requests of these callers and models are for it.
    #[serde(rename = "match")]
    pub only: Option<SubjectMatch>,
    /// The limits. Each of them holds.
    #[schemars(length(min = 1, max = 16))]
    pub limits: Vec<BudgetLimit>,
    /// When a request is charged; `Settle` when absent.
    pub enforcement: Option<EnforcementMode>,
    /// What becomes of requests while the store of counters does not answer; `Open` when absent.
    pub failure_mode: Option<FailureMode>,
    /// The bound on an answer, in tokens, that a request without one gets where it has to be reserved for; 4096 when absent.
    #[schemars(range(min = 1))]
    pub default_max_tokens: Option<u32>,
    /// What becomes of a request for a model without a known price, where a limit is in money; `Allow` when absent.
    pub unpriced: Option<UnpricedAction>,
    /// Whether it only counts.
    pub shadow_mode: Option<bool>,
}

/// What becomes of a request for a model without a known price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum UnpricedAction {
    /// It is let in, and uses no money.
    Allow,
    /// It is refused with a 422.
    Reject,
}

/// What a budget is given to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BudgetSubject {
    /// A person or service.
    User,
    /// A team.
    Team,
    /// An application.
    Application,
    /// An API key.
    Key,
    /// A model, as clients ask for it.
    Model,
}

/// Callers and models. Of each list that is not empty, one must be met.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SubjectMatch {
    /// Persons or services.
    #[serde(default)]
    pub users: Vec<String>,
    /// Teams.
    #[serde(default)]
    pub teams: Vec<String>,
    /// Applications.
    #[serde(default)]
    pub applications: Vec<String>,
    /// API keys.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Models, as clients ask for them.
    #[serde(default)]
    pub models: Vec<String>,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    ("(self.unit == 'Concurrent') != has(self.window)", "window must be set, unless unit is Concurrent"),
    ("self.unit == 'Tokens' || (!has(self.count) && !has(self.costExpression))", "count and costExpression are for unit Tokens"),
    ("!(has(self.count) && has(self.costExpression))", "only one of count and costExpression can be set"),
    ("self.unit == 'USD' || !self.amount.contains('.')", "amount must be a whole number, unless unit is USD"),
    ("(has(self.onExceeded) && self.onExceeded == 'Reroute') == has(self.rerouteTo)", "rerouteTo must be set when onExceeded is Reroute"),
])))]
pub struct BudgetLimit {
    /// How much, as a decimal number.
    #[schemars(regex(pattern = r"^[0-9]{1,15}(\.[0-9]{1,9})?$"))]
    pub amount: String,
    /// Of what.
    pub unit: BudgetUnit,
    /// Which tokens; all when absent.
    pub count: Option<BudgetCount>,
    /// What a request uses, in CEL, as in `llmRequestCosts`.
    pub cost_expression: Option<String>,
    /// In which time.
    pub window: Option<BudgetWindow>,
    /// Shares of the amount, in percent, at which a warning is given.
    #[serde(default)]
    #[schemars(length(max = 8), inner(range(min = 1, max = 100)))]
    pub warn_at: Vec<u8>,
    /// What becomes of a request for which nothing is left; `Reject` when absent.
    pub on_exceeded: Option<ExceededAction>,
    /// The model that it is routed to instead.
    #[schemars(length(min = 1, max = 256))]
    pub reroute_to: Option<String>,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BudgetUnit {
    /// Dollars, by the catalog of prices.
    #[serde(rename = "USD")]
    Usd,
    /// Tokens.
    Tokens,
    /// Requests.
    Requests,
    /// Requests at the same time.
    Concurrent,
}

/// Which tokens are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BudgetCount {
    /// Of prompts, cached ones included.
    Input,
    /// Of answers, reasoning included.
    Output,
    /// Of both.
    Total,
}

/// A time: one of its members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = cel([
    ("has(self.calendar) != has(self.rolling)", "exactly one of calendar and rolling must be set"),
    ("!has(self.timeZone) || has(self.calendar)", "timeZone is for calendar"),
])))]
pub struct BudgetWindow {
    /// A period of the calendar.
    pub calendar: Option<CalendarPeriod>,
    /// Name of the time zone of the calendar, such as `Europe/Berlin`; UTC when absent.
    pub time_zone: Option<String>,
    /// The last so much time, at any moment; at least a minute.
    pub rolling: Option<GatewayDuration>,
}

/// A period of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CalendarPeriod {
    /// From midnight to midnight.
    Day,
    /// From Monday to Sunday.
    Week,
    /// From the first to the last day.
    Month,
    /// From January to December.
    Year,
}

/// What becomes of a request for which nothing is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ExceededAction {
    /// It is refused with a 429.
    Reject,
    /// It is routed as if it had asked for another model.
    Reroute,
}

/// When a request is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum EnforcementMode {
    /// When it is over: requests at the same time may use more than there is.
    Settle,
    /// Before, with the most that it can use; what it did not use is given back.
    Reserve,
}

/// What becomes of requests while the store of counters does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum FailureMode {
    /// They are let through.
    Open,
    /// They are refused.
    Closed,
}
