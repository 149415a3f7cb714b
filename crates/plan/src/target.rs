//! What the policies of Envoy Gateway are about: Gateways, routes, and sections of them.

use std::collections::BTreeMap;

use tollgate_manifest::{GatewaySpec, PolicyTargetReference, TargetSelector};

use crate::findings::{Findings, ObjectId};
use crate::grant::{AI_ROUTE, GATEWAY, GATEWAY_API, HTTP_ROUTE, Kind};
use crate::index::{Index, Item};
use crate::invalid;
use crate::selector::selects;

/// What a policy is about, within the namespace that it shares with it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Scope {
    Gateway,
    Route,
}

/// Policies of one kind, by what they are about.
#[derive(Debug)]
pub(crate) struct Policies<'a, S> {
    /// Never an empty list.
    by_target: BTreeMap<Target, Result<Vec<&'a Item<'a, S>>, String>>,
    /// Namespaces with a policy that has mistakes and may be about anything there, and what to say of it.
    by_namespace: BTreeMap<String, String>,
}

/// What a policy is about: sort, namespace, name, section.
type Target = (Scope, String, String, Option<String>);

/// The policy that holds, or why nothing can be served where it would.
pub(crate) type Holding<'a, S> = Result<Option<&'a Item<'a, S>>, String>;

/// How a policy names what it is about; the three spellings are one list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Targets<'a> {
    pub(crate) target_ref: Option<&'a PolicyTargetReference>,
    pub(crate) target_refs: &'a [PolicyTargetReference],
    pub(crate) selectors: &'a [TargetSelector],
}

/// Whether routes can be meant, or Gateways only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    GatewaysAndRoutes,
    Gateways,
}

/// What counts of several policies about the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Several {
    /// The oldest.
    Oldest,
    /// All of them.
    All,
}

impl Reach {
    fn kinds(self) -> &'static [Kind] {
        match self {
            Self::GatewaysAndRoutes => &[GATEWAY, HTTP_ROUTE, AI_ROUTE],
            Self::Gateways => &[GATEWAY],
        }
    }
}

impl<'a, S> Policies<'a, S> {
    /// Sorts `policies` by what they are about.
    pub(crate) fn attach(
        index: &Index<'_>,
        (kind, policies): (Kind, impl Iterator<Item = &'a Item<'a, S>>),
        targets: impl Fn(&'a S) -> Targets<'a>,
        (reach, several): (Reach, Several),
        findings: &mut Findings,
    ) -> Self {
        let mut policies: Vec<_> = policies.collect();
        policies.sort_by_key(|policy| policy.age());
        let mut attached = Self { by_target: BTreeMap::new(), by_namespace: BTreeMap::new() };
        for policy in policies {
            let targets = targets(policy.spec);
            let single = targets.target_ref.map(|target| ("spec.targetRef".to_owned(), target));
            let listed = targets
                .target_refs
                .iter()
                .enumerate()
                .map(|(at, one)| (format!("spec.targetRefs[{at}]"), one));
            for (path, target) in single.into_iter().chain(listed) {
                attached.attach_one(index, policy, &path, target, (reach, several), findings);
            }
            for (at, selector) in targets.selectors.iter().enumerate() {
                let path = format!("spec.targetSelectors[{at}]");
                let group = selector.group.as_deref().unwrap_or(GATEWAY_API);
                if !reach.kinds().iter().any(|kind| kind.is(group, &selector.kind)) {
                    findings.error(&policy.id, path, unexpected(reach, &selector.kind, group));
                    continue;
                }
                let selected = selected(index, &policy.id, selector);
                if selected.is_empty() {
                    findings.warning(
                        &policy.id,
                        path.as_str(),
                        "has no effect: selects nothing in its namespace",
                    );
                }
                for target in selected {
                    attached.attach_one(index, policy, &path, &target, (reach, several), findings);
                }
            }
        }
        attached.attach_invalid(index, kind, reach);
        attached
    }

    /// Puts policies with mistakes before those without that are about the same.
    fn attach_invalid(&mut self, index: &Index<'_>, kind: Kind, reach: Reach) {
        for policy in index.invalid_of(kind) {
            let (namespace, reason) = (&policy.metadata.namespace, invalid::reason(policy));
            let Some(targets) = invalid::targets(policy, reach.kinds()) else {
                self.by_namespace.insert(namespace.clone(), reason);
                continue;
            };
            for target in targets {
                // Without its section, if that is not there: the mistake may be in its name.
                let whole = PolicyTargetReference { section_name: None, ..target.clone() };
                let of_section = resolve(index, namespace, target, reach).map(|scope| (scope, target));
                let found = of_section
                    .or_else(|_| resolve(index, namespace, &whole, reach).map(|scope| (scope, &whole)));
                if let Ok((scope, target)) = found {
                    let key = (scope, namespace.clone(), target.name.clone(), target.section_name.clone());
                    self.by_target.insert(key, Err(reason.clone()));
                }
            }
        }
    }

    fn attach_one(
        &mut self,
        index: &Index<'_>,
        policy: &'a Item<'a, S>,
        path: &str,
        target: &PolicyTargetReference,
        (reach, several): (Reach, Several),
        findings: &mut Findings,
    ) {
        let namespace = &policy.id.namespace;
        let scope = match resolve(index, namespace, target, reach) {
            Ok(scope) => scope,
            Err(message) => return findings.error(&policy.id, path, message),
        };
        let key = (scope, namespace.clone(), target.name.clone(), target.section_name.clone());
        match self.by_target.get_mut(&key) {
            // A policy may name an HTTPRoute and the AIGatewayRoute that makes it: the same thing twice.
            Some(Ok(others)) if others.iter().any(|other| other.id == policy.id) => {}
            Some(Ok(others)) if several == Several::All => others.push(policy),
            Some(Ok(others)) => {
                let older = others.first().map(|other| other.id.to_string()).unwrap_or_default();
                let message = format!("has no effect on {} {:?}: {older} is older", target.kind, target.name);
                findings.error(&policy.id, path, message);
            }
            // Policies with mistakes come last.
            Some(Err(_)) => {}
            None => {
                self.by_target.insert(key, Ok(vec![policy]));
            }
        }
    }

    /// The policy about `listener` of `gateway`.
    ///
    /// # Errors
    /// When it has mistakes.
    pub(crate) fn effective(&self, gateway: &Item<'_, GatewaySpec>, listener: &str) -> Holding<'a, S> {
        self.most_specific(Scope::Gateway, &gateway.id, Some(listener))
    }

    /// The policy about the rule called `rule` of `route`.
    ///
    /// # Errors
    /// When it has mistakes.
    pub(crate) fn of_route(&self, route: &ObjectId, rule: Option<&str>) -> Holding<'a, S> {
        self.most_specific(Scope::Route, route, rule)
    }

    /// All policies about `gateway` or its `listener`.
    ///
    /// # Errors
    /// When one of them has mistakes.
    pub(crate) fn all_of_gateway(
        &self,
        gateway: &Item<'_, GatewaySpec>,
        listener: &str,
    ) -> Result<Vec<&'a Item<'a, S>>, String> {
        self.all(Scope::Gateway, &gateway.id, Some(listener))
    }

    /// All policies about `route` or its rule called `rule`.
    ///
    /// # Errors
    /// When one of them has mistakes.
    pub(crate) fn all_of_route(
        &self,
        route: &ObjectId,
        rule: Option<&str>,
    ) -> Result<Vec<&'a Item<'a, S>>, String> {
        self.all(Scope::Route, route, rule)
    }

    fn most_specific(&self, scope: Scope, id: &ObjectId, section: Option<&str>) -> Holding<'a, S> {
        let of_section = section.and_then(|section| self.about(&scope, id, Some(section)).transpose());
        let found = match of_section {
            Some(found) => Some(found?),
            None => self.about(&scope, id, None)?,
        };
        Ok(found.and_then(|policies| policies.first().copied()))
    }

    fn all(
        &self,
        scope: Scope,
        id: &ObjectId,
        section: Option<&str>,
    ) -> Result<Vec<&'a Item<'a, S>>, String> {
        let mut all = self.about(&scope, id, None)?.map(<[_]>::to_vec).unwrap_or_default();
        if section.is_some() {
            let of_section = self.about(&scope, id, section)?.unwrap_or_default();
            let others = of_section.iter().filter(|one| !all.iter().any(|other| other.id == one.id));
            let others: Vec<_> = others.copied().collect();
            all.extend(others);
        }
        Ok(all)
    }

    /// The policies about exactly this.
    fn about(
        &self,
        scope: &Scope,
        id: &ObjectId,
        section: Option<&str>,
    ) -> Result<Option<&[&'a Item<'a, S>]>, String> {
        if let Some(reason) = self.by_namespace.get(&id.namespace) {
            return Err(reason.clone());
        }
        let key = (scope.clone(), id.namespace.clone(), id.name.clone(), section.map(str::to_owned));
        match self.by_target.get(&key) {
            Some(Ok(policies)) => Ok(Some(policies)),
            Some(Err(reason)) => Err(reason.clone()),
            None => Ok(None),
        }
    }
}

fn resolve(
    index: &Index<'_>,
    namespace: &str,
    target: &PolicyTargetReference,
    reach: Reach,
) -> Result<Scope, String> {
    let (kind, name) = (&target.kind, &target.name);
    let scope = if GATEWAY.is(&target.group, kind) {
        Scope::Gateway
    } else if reach == Reach::GatewaysAndRoutes
        && (HTTP_ROUTE.is(&target.group, kind) || AI_ROUTE.is(&target.group, kind))
    {
        Scope::Route
    } else {
        return Err(unexpected(reach, kind, &target.group));
    };
    let sections: Option<Vec<&str>> = match scope {
        Scope::Gateway => index
            .gateways
            .get(namespace, name)
            .map(|gateway| gateway.spec.listeners.iter().map(|listener| listener.name.as_str()).collect()),
        // The HTTPRoute that Envoy AI Gateway makes of an AIGatewayRoute has its name, so both name the latter.
        Scope::Route => match index.ai_gateway_routes.get(namespace, name) {
            Some(route) => Some(route.spec.rules.iter().filter_map(|rule| rule.name.as_deref()).collect()),
            None => index
                .http_routes
                .get(namespace, name)
                .map(|route| route.spec.rules.iter().filter_map(|rule| rule.name.as_deref()).collect()),
        },
    };
    // What is wrong with it is told already.
    let is_invalid = reach
        .kinds()
        .iter()
        .any(|kind| kind.is(&target.group, &target.kind) && index.is_invalid(*kind, namespace, name));
    if is_invalid {
        return Ok(scope);
    }
    let sections = sections.ok_or_else(|| format!("no {kind} {name:?} in namespace {namespace:?}"))?;
    match target.section_name.as_deref() {
        Some(section) if !sections.contains(&section) => {
            Err(format!("no section {section:?} in {kind} {name:?}"))
        }
        _ => Ok(scope),
    }
}

fn unexpected(reach: Reach, kind: &str, group: &str) -> String {
    let expected = match reach {
        Reach::Gateways => "a Gateway",
        Reach::GatewaysAndRoutes => "a Gateway, HTTPRoute or AIGatewayRoute",
    };
    format!("expected {expected}, found {kind} of group {group:?}")
}

/// The objects in the namespace of `policy` whose labels meet `selector`.
fn selected(index: &Index<'_>, policy: &ObjectId, selector: &TargetSelector) -> Vec<PolicyTargetReference> {
    let group = selector.group.as_deref().unwrap_or(GATEWAY_API);
    let namespace = &policy.namespace;
    let meets = |labels: &BTreeMap<String, String>| {
        selects(&selector.match_labels, &selector.match_expressions, labels)
    };
    let names: Vec<&str> = if GATEWAY.is(group, &selector.kind) {
        let gateways = index.gateways.in_namespace(namespace);
        gateways.filter(|one| meets(&one.metadata.labels)).map(|one| one.id.name.as_str()).collect()
    } else if HTTP_ROUTE.is(group, &selector.kind) || AI_ROUTE.is(group, &selector.kind) {
        let models = index.ai_gateway_routes.in_namespace(namespace);
        let models = models.filter(|one| meets(&one.metadata.labels)).map(|one| one.id.name.as_str());
        let plain =
            index.http_routes.in_namespace(namespace).filter(|_| HTTP_ROUTE.is(group, &selector.kind));
        let plain = plain.filter(|one| meets(&one.metadata.labels)).map(|one| one.id.name.as_str());
        models.chain(plain).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    } else {
        Vec::new()
    };
    names
        .into_iter()
        .map(|name| PolicyTargetReference {
            group: group.to_owned(),
            kind: selector.kind.clone(),
            name: name.to_owned(),
            section_name: None,
        })
        .collect()
}
