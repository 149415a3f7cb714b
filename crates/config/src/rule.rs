//! Rules and their targets, compiled.

use std::sync::Arc;

use tollgate_terms::{ModelName, RouteName};

use crate::access::{Accesses, Entry};
use crate::bundle::{self, Cost, OnLoss, Retry, Timeouts};
use crate::limit::CompiledLimit;
use crate::mutation::CompiledMutation;
use crate::{Bundle, Diagnostic, Severity};

/// One rule of a route, ready to serve.
#[derive(Debug)]
pub struct CompiledRule {
    /// The route it belongs to.
    pub route: RouteName,
    /// Its place in the route, from 0.
    pub index: usize,
    /// Its own name, if it has one.
    pub name: Option<String>,
    /// Where requests go, lowest priority number first.
    pub targets: Vec<CompiledTarget>,
    /// Bounds in time.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: Retry,
    /// What its requests may use.
    pub limits: Vec<Arc<CompiledLimit>>,
    /// What a rate limit service counts of them, which the core has no part in.
    pub served_limits: Vec<bundle::Limit>,
    /// Token numbers to publish.
    pub costs: Vec<Cost>,
    /// What to do when a translation cannot say all of a request.
    pub on_loss: OnLoss,
    /// The proxy through which its backends are reached, if any.
    pub proxy: Option<Arc<bundle::ForwardProxy>>,
    /// Whom it lets in.
    pub entry: Entry,
    /// Set when the rule cannot be served: it answers 500 with this reason.
    pub broken: Option<String>,
}

/// One backend of a rule, ready to be tried.
#[derive(Debug)]
pub struct CompiledTarget {
    /// The backend.
    pub backend: Arc<bundle::Backend>,
    /// Its number among all targets of the snapshot, from 0 without gaps.
    pub id: u32,
    /// 0 is tried first.
    pub priority: u32,
    /// Share among targets of the same priority; 0 gets nothing.
    pub weight: u32,
    /// Model to ask the backend for, instead of the client's.
    pub model_override: Option<ModelName>,
    /// Header and body changes.
    pub mutation: CompiledMutation,
    /// What requests may use of the backend.
    pub quotas: Vec<Arc<CompiledLimit>>,
}

/// The backends of a bundle, by name, shared by the rules that send to them.
pub(crate) type Backends<'a> = std::collections::HashMap<&'a str, Arc<bundle::Backend>>;

/// Compiles rules, numbering targets across all of them and sharing backends.
pub(crate) struct RuleCompiler<'a> {
    bundle: &'a Bundle,
    pub(crate) backends: Backends<'a>,
    pub(crate) accesses: Accesses,
    /// Those in use, each once.
    proxies: std::collections::HashMap<&'a bundle::ForwardProxy, Arc<bundle::ForwardProxy>>,
    next_target_id: u32,
}

impl<'a> RuleCompiler<'a> {
    pub(crate) fn new(bundle: &'a Bundle, accesses: Accesses) -> Self {
        let backends = bundle
            .backends
            .iter()
            .map(|(name, backend)| (name.as_ref(), Arc::new(backend.clone())))
            .collect();
        Self { bundle, proxies: std::collections::HashMap::new(), backends, accesses, next_target_id: 0 }
    }

    /// Compiles rule `index` of `route`. `broken` says what is already known to be wrong with it.
    pub(crate) fn compile(
        &mut self,
        route: &bundle::Route,
        index: usize,
        rule: &bundle::Rule,
        broken: Option<String>,
        diagnostics: &mut Vec<Diagnostic>,
    ) -> CompiledRule {
        let mut broken = rule.broken.clone().or(broken);
        let known = broken.is_some();
        let mut targets = Vec::with_capacity(rule.targets.len());
        for target in &rule.targets {
            match self.target(target) {
                Ok(target) => targets.push(target),
                Err(reason) => {
                    let message = format!("backend {:?}: {reason}", target.backend.as_ref());
                    if !known {
                        diagnostics.push(Diagnostic {
                            object: format!("AIGatewayRoute {}", route.name),
                            path: format!("spec.rules[{index}].backendRefs"),
                            severity: Severity::Error,
                            message: message.clone(),
                        });
                    }
                    broken.get_or_insert(message);
                }
            }
        }
        let limits = CompiledLimit::compile_all(&rule.limits).unwrap_or_else(|message| {
            broken.get_or_insert(message);
            Vec::new()
        });
        targets.sort_by_key(|target| target.priority);
        // What is wrong with it is told already.
        let (entry, closed) = Entry::find(&self.accesses, rule.access.as_deref());
        CompiledRule {
            route: route.name.clone(),
            index,
            name: rule.name.clone(),
            targets,
            timeouts: rule.timeouts.clone(),
            retry: rule.retry.clone(),
            limits,
            served_limits: bundle::Limit::served(&rule.limits),
            costs: route.costs.clone(),
            on_loss: route.on_loss,
            proxy: self.proxy(route),
            entry,
            broken: broken.or(closed),
        }
    }

    fn target(&mut self, target: &bundle::Target) -> Result<CompiledTarget, String> {
        let backend = self.backends.get(target.backend.as_ref()).ok_or("not in the configuration")?;
        let mutation = CompiledMutation::compile(&target.mutation)?;
        let id = self.next_target_id;
        self.next_target_id = id.checked_add(1).ok_or("too many targets")?;
        Ok(CompiledTarget {
            backend: Arc::clone(backend),
            id,
            priority: target.priority,
            weight: target.weight,
            model_override: target.model_override.clone(),
            mutation,
            quotas: CompiledLimit::compile_all(&backend.quotas)?,
        })
    }

    fn proxy(&mut self, route: &bundle::Route) -> Option<Arc<bundle::ForwardProxy>> {
        let proxy = self.bundle.forward_proxy(route)?;
        Some(Arc::clone(self.proxies.entry(proxy).or_insert_with(|| Arc::new(proxy.clone()))))
    }

    /// How many targets have been numbered.
    pub(crate) fn targets_count(&self) -> u32 {
        self.next_target_id
    }
}
