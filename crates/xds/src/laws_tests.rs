//! What holds after any sequence of sets, answers, waiting and reconnecting, in both protocols.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use tollgate_envoy::Any;
use tollgate_envoy::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Status,
};

use crate::delta::Delta;
use crate::set::ResourceSet;
use crate::walk::{Heard, Subscription, Walk};
use crate::whole::Whole;

const CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
const ROUTES: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
const GRACE: Duration = Duration::from_secs(30);

/// What a node has: content by type and name. The content of routes and listeners is the clusters that they name, and a number.
type Has = BTreeMap<String, BTreeMap<String, String>>;

#[derive(Debug, Clone)]
enum Event {
    /// Clusters `c0`..; the same numbers are their content. Listeners and routes name some of them.
    Publish {
        clusters: Vec<u8>,
        routes: Vec<u8>,
        listeners: Vec<u8>,
    },
    Accept,
    Reject,
    Wait(u8),
    Reconnect,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let some = |count| prop::collection::vec(0u8..3, 0..=count);
    let publish = (some(4usize), some(3usize), some(2usize))
        .prop_map(|(clusters, routes, listeners)| Event::Publish { clusters, routes, listeners });
    let event = prop_oneof![
        3 => publish,
        8 => Just(Event::Accept),
        1 => Just(Event::Reject),
        2 => (1u8..40).prop_map(Event::Wait),
        1 => Just(Event::Reconnect),
    ];
    prop::collection::vec(event, 1..60)
}

fn set(clusters: &[u8], routes: &[u8], listeners: &[u8]) -> ResourceSet {
    let mut set = ResourceSet::default();
    let any =
        |type_url: &str, content: String| Any { type_url: type_url.to_owned(), value: content.into_bytes() };
    for (at, content) in clusters.iter().enumerate() {
        set.insert(format!("c{at}"), any(CLUSTER, content.to_string()));
    }
    for (type_url, letter, all) in [(ROUTES, 'r', routes), (LISTENER, 'l', listeners)] {
        for (at, content) in all.iter().enumerate() {
            let names = (0..clusters.len()).filter(|cluster| (cluster + at) % 3 != usize::from(*content));
            let names: Vec<_> = names.map(|cluster| format!("c{cluster}")).collect();
            set.insert(format!("{letter}{at}"), any(type_url, format!("{content} {}", names.join(" "))));
        }
    }
    set
}

/// A node that speaks one of the protocols.
trait Protocol {
    type Subscription: Subscription;

    /// The first message about a type.
    fn subscribe(type_url: &str, has: &Has) -> <Self::Subscription as Subscription>::Request;
    fn answer(
        response: &<Self::Subscription as Subscription>::Response,
        error: Option<Status>,
    ) -> <Self::Subscription as Subscription>::Request;
    fn type_url(response: &<Self::Subscription as Subscription>::Response) -> &str;
    /// Whether a node hears that a route is gone. If not, that goes with the listener that named it.
    const TAKES_BACK_ROUTES: bool;
    /// Takes a response in; tells the names in it.
    fn apply(response: &<Self::Subscription as Subscription>::Response, has: &mut Has) -> Vec<String>;
}

/// Routes that are asked for, whether they are there or not.
fn names(type_url: &str) -> Vec<String> {
    match type_url {
        ROUTES => ["r0", "r1", "r2"].map(str::to_owned).to_vec(),
        _ => Vec::new(),
    }
}

fn text(body: &Any) -> String {
    String::from_utf8(body.value.clone()).unwrap()
}

struct Incremental;

impl Protocol for Incremental {
    type Subscription = Delta;
    const TAKES_BACK_ROUTES: bool = true;

    fn subscribe(type_url: &str, has: &Has) -> DeltaDiscoveryRequest {
        let mut known = ResourceSet::default();
        for (name, content) in has.get(type_url).into_iter().flatten() {
            let body = Any { type_url: type_url.to_owned(), value: content.clone().into_bytes() };
            known.insert(name.clone(), body);
        }
        let versions = known.of(type_url).iter();
        DeltaDiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names_subscribe: names(type_url),
            initial_resource_versions: versions
                .map(|(name, resource)| (name.clone(), resource.version.to_string()))
                .collect(),
            ..Default::default()
        }
    }

    fn answer(response: &DeltaDiscoveryResponse, error_detail: Option<Status>) -> DeltaDiscoveryRequest {
        DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..Default::default()
        }
    }

    fn type_url(response: &DeltaDiscoveryResponse) -> &str {
        &response.type_url
    }

    fn apply(response: &DeltaDiscoveryResponse, has: &mut Has) -> Vec<String> {
        let named = has.entry(response.type_url.clone()).or_default();
        for name in &response.removed_resources {
            named.remove(name);
        }
        for resource in &response.resources {
            named.insert(resource.name.clone(), text(resource.resource.as_ref().unwrap()));
        }
        response.resources.iter().map(|resource| resource.name.clone()).collect()
    }
}

struct StateOfTheWorld;

impl Protocol for StateOfTheWorld {
    type Subscription = Whole;
    const TAKES_BACK_ROUTES: bool = false;

    fn subscribe(type_url: &str, _: &Has) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: type_url.to_owned(),
            resource_names: names(type_url),
            ..Default::default()
        }
    }

    fn answer(response: &DiscoveryResponse, error_detail: Option<Status>) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: response.type_url.clone(),
            resource_names: names(&response.type_url),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..Default::default()
        }
    }

    fn type_url(response: &DiscoveryResponse) -> &str {
        &response.type_url
    }

    /// Only the order of names is known here, which is that of the test's names: the content of a resource does not hold its own.
    fn apply(response: &DiscoveryResponse, has: &mut Has) -> Vec<String> {
        let named = has.entry(response.type_url.clone()).or_default();
        named.clear();
        let letter = match response.type_url.as_str() {
            CLUSTER => 'c',
            ROUTES => 'r',
            _ => 'l',
        };
        for (at, body) in response.resources.iter().enumerate() {
            named.insert(format!("{letter}{at}"), text(body));
        }
        named.keys().cloned().collect()
    }
}

struct Node<P: Protocol> {
    walk: Walk<P::Subscription>,
    now: Instant,
    wanted: ResourceSet,
    has: Has,
    /// What was sent and not answered.
    inbox: Vec<<P::Subscription as Subscription>::Response>,
    /// Clusters that it once rejected: it may lack them.
    rejected: BTreeSet<String>,
    /// Routes that were gone for a while and that no listener names since.
    abandoned: BTreeSet<String>,
}

impl<P: Protocol> Node<P> {
    fn new() -> Self {
        let now = tokio::time::Instant::now().into_std();
        let mut node = Self {
            walk: Walk::new(GRACE),
            now,
            wanted: ResourceSet::default(),
            has: Has::default(),
            inbox: Vec::new(),
            rejected: BTreeSet::new(),
            abandoned: BTreeSet::new(),
        };
        node.connect();
        node
    }

    fn connect(&mut self) {
        self.walk = Walk::new(GRACE);
        self.inbox.clear();
        for type_url in [CLUSTER, LISTENER, ROUTES] {
            self.walk.take(P::subscribe(type_url, &self.has));
        }
    }

    fn receive(&mut self) {
        while let Some(response) = self.walk.next(&self.wanted, self.now) {
            let is_second = self.inbox.iter().any(|it| P::type_url(it) == P::type_url(&response));
            assert!(!is_second, "two responses of a type are on their way");
            self.inbox.push(response);
        }
    }

    /// Answers the oldest response; false when there is none.
    fn answer(&mut self, accepts: bool) -> bool {
        self.receive();
        if self.inbox.is_empty() {
            return false;
        }
        let response = self.inbox.remove(0);
        // No node has a reason to reject that there is nothing.
        let accepts = accepts || P::apply(&response, &mut Has::default()).is_empty();
        let mut rejects = None;
        if accepts {
            let names = P::apply(&response, &mut self.has);
            self.abandoned.retain(|name| !names.contains(name));
        } else {
            let names = P::apply(&response, &mut self.has.clone());
            if P::type_url(&response) == CLUSTER {
                self.rejected.extend(names);
            }
            rejects = Some(Status { code: 3, message: "no".to_owned(), details: Vec::new() });
        }
        let heard = self.walk.take(P::answer(&response, rejects));
        assert_eq!(heard, if accepts { Heard::Acceptance } else { Heard::Rejection });
        self.abandon();
        self.make_before_break();
        true
    }

    fn abandon(&mut self) {
        let wanted = self.wanted.of(ROUTES);
        let routes = self.has.get(ROUTES).into_iter().flat_map(BTreeMap::keys);
        let gone = routes.filter(|name| !P::TAKES_BACK_ROUTES && !wanted.contains_key(*name));
        self.abandoned.extend(gone.cloned());
    }

    /// Whatever names a cluster, the cluster is there.
    fn make_before_break(&self) {
        let none = BTreeMap::new();
        let of = |type_url| self.has.get(type_url).unwrap_or(&none);
        let routes = of(ROUTES).iter().filter(|(name, _)| !self.abandoned.contains(*name));
        for content in of(LISTENER).values().chain(routes.map(|(_, content)| content)) {
            for cluster in content.split(' ').skip(1).filter(|name| !name.is_empty()) {
                let is_there = of(CLUSTER).contains_key(cluster) || self.rejected.contains(cluster);
                assert!(is_there, "{cluster} is named and not there: {:?}", self.has);
            }
        }
    }

    fn settle(&mut self) {
        while self.answer(true) {}
        self.now += 2 * GRACE;
        while self.answer(true) {}
    }

    fn has_exactly_what_is_wanted(&self) {
        for type_url in [CLUSTER, LISTENER, ROUTES] {
            let wanted: BTreeMap<_, _> = self
                .wanted
                .of(type_url)
                .iter()
                .map(|(name, resource)| (name.clone(), text(&resource.body)))
                .collect();
            let mut has = self.has.get(type_url).cloned().unwrap_or_default();
            has.retain(|name, _| wanted.contains_key(name) || !self.abandoned.contains(name));
            assert_eq!(has, wanted, "{type_url}");
        }
        assert!(self.walk.has(&self.wanted));
    }
}

fn walk_through<P: Protocol>(events: &[Event], reconnects: bool) {
    let mut node = Node::<P>::new();
    for event in events {
        match event {
            Event::Publish { clusters, routes, listeners } => {
                node.wanted = set(clusters, routes, listeners);
                node.abandon();
            }
            Event::Accept => drop(node.answer(true)),
            Event::Reject => drop(node.answer(false)),
            Event::Wait(seconds) => node.now += Duration::from_secs((*seconds).into()),
            Event::Reconnect if reconnects => node.connect(),
            Event::Reconnect => {}
        }
        node.receive();
    }
    node.settle();
    let rejected = events.iter().any(|event| matches!(event, Event::Reject));
    if !rejected {
        node.has_exactly_what_is_wanted();
    }
    // Whatever was rejected: other content is taken.
    node.wanted = set(&[7, 7, 7], &[8, 9], &[9]);
    node.settle();
    node.has_exactly_what_is_wanted();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_incremental_node_ends_with_what_is_wanted(events in events()) {
        walk_through::<Incremental>(&events, true);
    }

    /// Without reconnecting: such a node cannot say which clusters it has, so they may leave before the routes that name them.
    #[test]
    fn a_state_of_the_world_node_ends_with_what_is_wanted(events in events()) {
        walk_through::<StateOfTheWorld>(&events, false);
    }
}
