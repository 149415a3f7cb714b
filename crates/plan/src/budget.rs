//! Budget: what callers may use over all that it is about.

use std::collections::BTreeMap;

use tollgate_config::bundle::{
    CalendarPeriod, CostKind, Enforcement, Limit, LimitStore, Measure, OnExceeded, OnStoreFailure,
    PrincipalAttribute, Selector, Unpriced, Window,
};
use tollgate_manifest as manifest;
use tollgate_manifest::{BudgetLimit, BudgetSpec, BudgetSubject, BudgetUnit, SubjectMatch};
use tollgate_terms::ModelName;

use crate::findings::{Findings, ObjectId};
use crate::gateway::Origin;
use crate::grant::BUDGET;
use crate::index::{Index, Item};
use crate::limit::{ANSWER_TOKENS_MAX, Keeping, check_amount, expression};
use crate::target::{Policies, Reach, Several, Targets};

/// Billionths of a dollar, in which money is counted.
const DIGITS: usize = 9;
/// The shortest rolling time: its slices are a second long.
const ROLLING_SECONDS_MIN: u64 = 60;

type Written<'a> = Item<'a, BudgetSpec>;

/// Every Budget, resolved.
#[derive(Debug)]
pub(crate) struct Budgets<'a> {
    policies: Policies<'a, BudgetSpec>,
    resolved: BTreeMap<ObjectId, Result<Vec<Limit>, String>>,
}

/// The budgets that are for something, or why nothing can be served under them.
pub(crate) type Holding<'a> = Result<Vec<&'a ObjectId>, String>;

impl<'a> Budgets<'a> {
    /// Resolves every budget. All that are about the same thing count.
    pub(crate) fn resolve(index: &'a Index<'a>, findings: &mut Findings) -> Self {
        let targets = |spec: &'a BudgetSpec| Targets {
            target_ref: None,
            target_refs: &spec.target_refs,
            selectors: &spec.target_selectors,
        };
        let how = (Reach::GatewaysAndRoutes, Several::All);
        let policies = Policies::attach(index, (BUDGET, index.budgets.iter()), targets, how, findings);
        let resolved =
            index.budgets.iter().map(|budget| (budget.id.clone(), limits(budget, findings))).collect();
        Self { policies, resolved }
    }

    /// The budgets of the Gateway or listener that a route comes through.
    pub(crate) fn of_listener(&self, origin: &Origin<'_>) -> Holding<'a> {
        let all = self.policies.all_of_gateway(origin.gateway, &origin.listener.name)?;
        Ok(all.into_iter().map(|budget| &budget.id).collect())
    }

    /// The limits for a rule: those of its Gateway, of its route and of itself.
    ///
    /// # Errors
    /// When one of the budgets has mistakes.
    pub(crate) fn of_rule(
        &self,
        route: &ObjectId,
        rule: Option<&str>,
        gateway: &Holding<'_>,
    ) -> Result<Vec<Limit>, String> {
        let mut ids = gateway.clone()?;
        for budget in self.policies.all_of_route(route, rule)? {
            if !ids.contains(&&budget.id) {
                ids.push(&budget.id);
            }
        }
        let mut limits = Vec::new();
        for id in ids {
            match self.resolved.get(id) {
                Some(Ok(of_budget)) => limits.extend(of_budget.iter().cloned()),
                Some(Err(reason)) => return Err(reason.clone()),
                None => {}
            }
        }
        Ok(limits)
    }
}

fn limits(budget: &Written<'_>, findings: &mut Findings) -> Result<Vec<Limit>, String> {
    let spec = budget.spec;
    let keep = Keeping {
        enforcement: match spec.enforcement {
            None | Some(manifest::EnforcementMode::Settle) => Enforcement::Settle,
            Some(manifest::EnforcementMode::Reserve) => Enforcement::Reserve,
        },
        on_store_failure: match spec.failure_mode {
            None | Some(manifest::FailureMode::Open) => OnStoreFailure::Open,
            Some(manifest::FailureMode::Closed) => OnStoreFailure::Closed,
        },
        answer_tokens_max: spec.default_max_tokens.map(u64::from),
    };
    let select = select(budget, findings);
    let resolved: Vec<_> = spec
        .limits
        .iter()
        .enumerate()
        .map(|(at, written)| limit(budget, at, written, keep, findings))
        .collect();
    let name = |message: String| format!("{}: {message}", budget.id);
    let select = select.map_err(name)?;
    let with_selectors = |limit: Limit| Limit { select: select.clone(), ..limit };
    resolved.into_iter().map(|limit| limit.map(with_selectors)).collect::<Result<_, _>>().map_err(name)
}

/// Which requests a budget is for.
fn select(budget: &Written<'_>, findings: &mut Findings) -> Result<Vec<Selector>, String> {
    let nobody = SubjectMatch::default();
    let only = budget.spec.only.as_ref().unwrap_or(&nobody);
    let mut selectors = Vec::new();
    let callers = [
        (BudgetSubject::User, PrincipalAttribute::User, &only.users),
        (BudgetSubject::Team, PrincipalAttribute::Team, &only.teams),
        (BudgetSubject::Application, PrincipalAttribute::Application, &only.applications),
        (BudgetSubject::Key, PrincipalAttribute::KeyId, &only.keys),
    ];
    for (subject, attribute, values) in callers {
        if !values.is_empty() {
            selectors.push(Selector::Principal { attribute, values: values.clone() });
        }
        if budget.spec.per.contains(&subject) {
            selectors.push(Selector::Principal { attribute, values: Vec::new() });
        }
    }
    if !only.models.is_empty() {
        let models = only.models.iter().enumerate().map(|(at, name)| {
            let path = format!("spec.match.models[{at}]");
            model(budget, &path, name, findings)
        });
        selectors.push(Selector::RequestedModel { models: models.collect::<Result<_, _>>()? });
    }
    if budget.spec.per.contains(&BudgetSubject::Model) {
        selectors.push(Selector::RequestedModel { models: Vec::new() });
    }
    Ok(selectors)
}

fn model(budget: &Written<'_>, path: &str, name: &str, findings: &mut Findings) -> Result<ModelName, String> {
    let parsed = ModelName::parse(name).map_err(|error| error.to_string());
    parsed.inspect_err(|message| findings.error(&budget.id, path, message.as_str()))
}

fn limit(
    budget: &Written<'_>,
    at: usize,
    written: &BudgetLimit,
    keep: Keeping,
    findings: &mut Findings,
) -> Result<Limit, String> {
    let path = format!("spec.limits[{at}]");
    let id = &budget.id;
    let amount = amount(written).inspect_err(|message| {
        findings.error(id, format!("{path}.amount"), message.as_str());
    });
    let amount = amount.and_then(|amount| check_amount(amount, (id, &format!("{path}.amount")), findings));
    let window = window(written).inspect_err(|(field, message)| {
        findings.error(id, format!("{path}.window.{field}"), message.as_str());
    });
    let cost = written.cost_expression.as_ref();
    let cost = cost.map(|text| expression(text, (id, &format!("{path}.costExpression")), findings));
    let on_exceeded = match &written.reroute_to {
        Some(name) => model(budget, &format!("{path}.rerouteTo"), name, findings).map(OnExceeded::Reroute),
        None => Ok(OnExceeded::Reject),
    };
    let (request, measure) = counted(written, cost.transpose()?);
    let mut warn_at_percent = written.warn_at.clone();
    warn_at_percent.sort_unstable();
    Ok(Limit {
        name: format!("{id} {}", path.trim_start_matches("spec.")),
        select: Vec::new(),
        amount: amount?,
        window: window.map_err(|(_, message)| message)?,
        request,
        measure,
        enforcement: keep.enforcement,
        answer_tokens_max: keep.answer_tokens_max.unwrap_or(ANSWER_TOKENS_MAX),
        shadow: budget.spec.shadow_mode == Some(true),
        group: None,
        store: LimitStore::Shared,
        on_store_failure: keep.on_store_failure,
        on_exceeded: on_exceeded?,
        warn_at_percent,
        unpriced: match budget.spec.unpriced {
            None | Some(manifest::UnpricedAction::Allow) => Unpriced::Allow,
            Some(manifest::UnpricedAction::Reject) => Unpriced::Reject,
        },
    })
}

/// What a request takes before it is let in, and what of it is counted later.
fn counted(written: &BudgetLimit, cost: Option<CostKind>) -> (u64, Option<Measure>) {
    match written.unit {
        BudgetUnit::Requests | BudgetUnit::Concurrent => (1, None),
        BudgetUnit::Usd => (0, Some(Measure::Money)),
        BudgetUnit::Tokens => {
            let kind = match (cost, written.count) {
                (Some(expression), _) => expression,
                (None, Some(manifest::BudgetCount::Input)) => CostKind::InputToken,
                (None, Some(manifest::BudgetCount::Output)) => CostKind::OutputToken,
                (None, None | Some(manifest::BudgetCount::Total)) => CostKind::TotalToken,
            };
            (0, Some(Measure::Tokens(kind)))
        }
    }
}

/// The amount, money in billionths of a dollar.
fn amount(written: &BudgetLimit) -> Result<u64, String> {
    let too_much = || format!("is {}: more than can be counted", written.amount);
    let (whole, fraction) = written.amount.split_once('.').unwrap_or((&written.amount, ""));
    let whole: u64 = whole.parse().map_err(|_| too_much())?;
    if written.unit != BudgetUnit::Usd {
        return Ok(whole);
    }
    let fraction: u64 = format!("{fraction:0<DIGITS$}").parse().map_err(|_| too_much())?;
    whole
        .checked_mul(10_u64.pow(DIGITS as u32))
        .and_then(|whole| whole.checked_add(fraction))
        .ok_or_else(too_much)
}

fn window(written: &BudgetLimit) -> Result<Window, (&'static str, String)> {
    let Some(window) = &written.window else { return Ok(Window::InFlight) };
    if let Some(rolling) = window.rolling {
        let seconds = rolling.get().as_secs();
        if seconds < ROLLING_SECONDS_MIN {
            return Err(("rolling", format!("expected at least a minute, found {seconds}s")));
        }
        return Ok(Window::Rolling { seconds });
    }
    let period = match window.calendar {
        Some(manifest::CalendarPeriod::Day) => CalendarPeriod::Day,
        Some(manifest::CalendarPeriod::Week) => CalendarPeriod::Week,
        Some(manifest::CalendarPeriod::Year) => CalendarPeriod::Year,
        None | Some(manifest::CalendarPeriod::Month) => CalendarPeriod::Month,
    };
    let time_zone = window.time_zone.clone().unwrap_or_else(|| "UTC".to_owned());
    let window = Window::Calendar { period, time_zone };
    tollgate_policy::quota::check_window(&window).map_err(|error| ("timeZone", error.to_string()))?;
    Ok(window)
}
