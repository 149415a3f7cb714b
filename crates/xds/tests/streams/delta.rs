//! The incremental protocol.

use std::time::Duration;

use tollgate_envoy::discovery::DeltaDiscoveryRequest;

use crate::support::{CLUSTER, LISTENER, LONG, ROUTES, Served, told, versions};

#[tokio::test]
async fn hears_everything_at_first_and_then_only_what_changes() {
    let served = Served::new(LONG);
    served.publish(&[(CLUSTER, "a", "1"), (CLUSTER, "b", "1")]);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    assert_eq!(told(&node.take().await), [("a", "1"), ("b", "1")]);
    assert!(node.is_quiet().await);
    served.publish(&[(CLUSTER, "a", "1"), (CLUSTER, "b", "2")]);
    let response = node.take().await;
    assert_eq!(told(&response), [("b", "2")]);
    assert!(response.removed_resources.is_empty());
    served.publish(&[(CLUSTER, "b", "2"), (CLUSTER, "a", "1")]);
    assert!(node.is_quiet().await, "nothing has changed");
}

#[tokio::test]
async fn a_first_request_without_names_asks_for_everything_of_some_types() {
    let served = Served::new(LONG);
    served.publish(&[(LISTENER, "a", "1"), (ROUTES, "r", "1")]);
    let mut node = served.delta().await;
    node.subscribe(ROUTES, &[]).await;
    assert!(node.is_quiet().await);
    node.subscribe(LISTENER, &[]).await;
    assert_eq!(told(&node.take().await), [("a", "1")]);
}

#[tokio::test]
async fn nothing_is_said_before_there_is_a_set_and_an_empty_set_is_said() {
    let served = Served::new(LONG);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    assert!(node.is_quiet().await);
    served.publish(&[]);
    let response = node.take().await;
    assert!(response.resources.is_empty() && response.removed_resources.is_empty());
}

#[tokio::test]
async fn one_response_of_a_type_is_on_its_way_and_a_stale_answer_does_not_count() {
    let served = Served::new(LONG);
    served.publish(&[(CLUSTER, "a", "1")]);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    let first = node.hear().await;
    served.publish(&[(CLUSTER, "a", "2")]);
    assert!(node.is_quiet().await);
    let stale = DeltaDiscoveryRequest {
        type_url: CLUSTER.to_owned(),
        response_nonce: "before".to_owned(),
        ..Default::default()
    };
    node.say(stale).await;
    assert!(node.is_quiet().await);
    assert_eq!(served.discovery.counts().stale, 1);
    node.accept(&first).await;
    assert_eq!(told(&node.take().await), [("a", "2")]);
}

#[tokio::test]
async fn what_was_rejected_is_not_sent_again_until_it_changes() {
    let served = Served::new(LONG);
    served.publish(&[(LISTENER, "a", "good"), (LISTENER, "b", "good")]);
    let mut node = served.delta().await;
    node.subscribe(LISTENER, &["*"]).await;
    node.take().await;
    served.publish(&[(LISTENER, "a", "bad"), (LISTENER, "b", "good")]);
    let response = node.hear().await;
    assert_eq!(told(&response), [("a", "bad")]);
    node.reject(&response).await;
    assert!(node.is_quiet().await);
    // What else changes is sent without it.
    served.publish(&[(LISTENER, "a", "bad"), (LISTENER, "b", "new")]);
    assert_eq!(told(&node.take().await), [("b", "new")]);
    served.publish(&[(LISTENER, "a", "better"), (LISTENER, "b", "new")]);
    assert_eq!(told(&node.take().await), [("a", "better")]);
}

#[tokio::test]
async fn what_was_before_a_rejected_one_is_sent_again_since_it_may_have_been_taken_in_part() {
    let served = Served::new(LONG);
    served.publish(&[(LISTENER, "a", "good")]);
    let mut node = served.delta().await;
    node.subscribe(LISTENER, &["*"]).await;
    node.take().await;
    served.publish(&[(LISTENER, "a", "bad")]);
    let response = node.hear().await;
    node.reject(&response).await;
    served.publish(&[(LISTENER, "a", "good")]);
    assert_eq!(told(&node.take().await), [("a", "good")]);
}

#[tokio::test]
async fn who_comes_again_hears_only_what_has_changed_since() {
    let served = Served::new(Duration::ZERO);
    served.publish(&[(CLUSTER, "a", "1"), (CLUSTER, "b", "1"), (CLUSTER, "c", "1")]);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    let has = versions(&node.take().await);
    drop(node);
    served.publish(&[(CLUSTER, "a", "1"), (CLUSTER, "b", "2")]);
    let mut node = served.delta().await;
    node.reconnect(CLUSTER, &["*"], &has).await;
    assert_eq!(told(&node.take().await), [("b", "2")]);
    assert_eq!(node.take().await.removed_resources, ["c"]);
    assert!(node.is_quiet().await);
}

#[tokio::test]
async fn who_has_everything_hears_nothing() {
    let served = Served::new(LONG);
    served.publish(&[(CLUSTER, "a", "1")]);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    let has = versions(&node.take().await);
    let mut node = served.delta().await;
    node.reconnect(CLUSTER, &["*"], &has).await;
    assert!(node.is_quiet().await);
}

#[tokio::test]
async fn clusters_leave_a_while_after_the_routes_that_named_them() {
    let grace = Duration::from_millis(300);
    let served = Served::new(grace);
    served.publish(&[(CLUSTER, "a", "1"), (ROUTES, "r", "to a")]);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    node.subscribe(ROUTES, &["r"]).await;
    node.take().await;
    node.take().await;
    served.publish(&[(CLUSTER, "b", "1"), (ROUTES, "r", "to b")]);
    let clusters = node.take().await;
    assert_eq!((told(&clusters), clusters.removed_resources.len()), (vec![("b", "1")], 0));
    let routes = node.hear().await;
    assert_eq!(told(&routes), [("r", "to b")]);
    tokio::time::sleep(2 * grace).await;
    assert!(node.is_quiet().await, "the routes that name it are still there");
    let accepted = tokio::time::Instant::now();
    node.accept(&routes).await;
    assert_eq!(node.take().await.removed_resources, ["a"]);
    assert!(accepted.elapsed() >= grace);
}

#[tokio::test]
async fn clusters_stay_as_long_as_the_routes_that_no_longer_name_them_are_rejected() {
    let served = Served::new(Duration::ZERO);
    served.publish(&[(CLUSTER, "a", "1"), (ROUTES, "r", "to a")]);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    node.subscribe(ROUTES, &["r"]).await;
    node.take().await;
    node.take().await;
    served.publish(&[(CLUSTER, "b", "1"), (ROUTES, "r", "bad")]);
    node.take().await;
    let routes = node.hear().await;
    node.reject(&routes).await;
    assert!(node.is_quiet().await);
    served.publish(&[(CLUSTER, "b", "1"), (ROUTES, "r", "to b")]);
    assert_eq!(told(&node.take().await), [("r", "to b")]);
    assert_eq!(node.take().await.removed_resources, ["a"]);
}

#[tokio::test]
async fn listeners_wait_for_the_answer_about_clusters_whichever_it_is() {
    let served = Served::new(LONG);
    served.publish(&[(CLUSTER, "a", "1"), (LISTENER, "l", "1")]);
    let mut node = served.delta().await;
    // The order of the requests does not matter.
    node.subscribe(LISTENER, &["*"]).await;
    node.subscribe(CLUSTER, &["*"]).await;
    let first = node.take().await;
    let second = node.take().await;
    assert_eq!(
        [first.type_url, second.type_url],
        [LISTENER, CLUSTER],
        "what is asked first alone is answered"
    );
    served.publish(&[(CLUSTER, "a", "2"), (LISTENER, "l", "2")]);
    let clusters = node.hear().await;
    assert_eq!(clusters.type_url, CLUSTER);
    assert!(node.is_quiet().await);
    node.reject(&clusters).await;
    assert_eq!(node.take().await.type_url, LISTENER);
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_gone_until_it_comes() {
    let served = Served::new(LONG);
    served.publish(&[]);
    let mut node = served.delta().await;
    node.subscribe(ROUTES, &["r"]).await;
    let response = node.take().await;
    assert_eq!((response.resources.len(), response.removed_resources), (0, vec!["r".to_owned()]));
    served.publish(&[(ROUTES, "r", "1"), (ROUTES, "other", "1")]);
    assert_eq!(told(&node.take().await), [("r", "1")]);
    served.publish(&[]);
    assert_eq!(node.take().await.removed_resources, ["r"]);
}

#[tokio::test]
async fn names_come_and_go_while_a_stream_lasts() {
    let served = Served::new(LONG);
    served.publish(&[(ROUTES, "r", "1"), (ROUTES, "s", "1")]);
    let mut node = served.delta().await;
    node.subscribe(ROUTES, &["r"]).await;
    assert_eq!(told(&node.take().await), [("r", "1")]);
    node.subscribe(ROUTES, &["s"]).await;
    assert_eq!(told(&node.take().await), [("s", "1")]);
    node.unsubscribe(ROUTES, &["r"]).await;
    assert!(node.is_quiet().await, "by then it is heard");
    served.publish(&[(ROUTES, "r", "2"), (ROUTES, "s", "1")]);
    assert!(node.is_quiet().await);
    node.subscribe(ROUTES, &["r"]).await;
    assert_eq!(told(&node.take().await), [("r", "2")]);
    node.subscribe(ROUTES, &["r"]).await;
    assert_eq!(told(&node.take().await), [("r", "2")], "who asks again may have lost it");
}

#[tokio::test]
async fn a_large_change_comes_in_parts_and_listeners_wait_for_all_of_them() {
    let served = Served::new(LONG);
    let large = "x".repeat(3 << 20);
    served.publish(&[(CLUSTER, "a", &large), (CLUSTER, "b", &large), (LISTENER, "l", "1")]);
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    node.subscribe(LISTENER, &["*"]).await;
    assert_eq!(node.take().await.resources[0].name, "a");
    assert_eq!(node.take().await.resources[0].name, "b");
    assert_eq!(node.take().await.type_url, LISTENER);
}

#[tokio::test]
async fn a_listener_leaves_when_those_that_come_are_there() {
    let served = Served::new(LONG);
    served.publish(&[(LISTENER, "old", "1")]);
    let mut node = served.delta().await;
    node.subscribe(LISTENER, &["*"]).await;
    node.take().await;
    served.publish(&[(LISTENER, "new", "1")]);
    let response = node.hear().await;
    assert_eq!((told(&response), response.removed_resources.len()), (vec![("new", "1")], 0));
    node.reject(&response).await;
    assert!(node.is_quiet().await, "the old one serves on");
    served.publish(&[(LISTENER, "new", "2")]);
    let response = node.take().await;
    assert_eq!((told(&response), response.removed_resources.len()), (vec![("new", "2")], 0));
    assert_eq!(node.take().await.removed_resources, ["old"]);
}
