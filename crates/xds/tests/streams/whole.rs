//! The state-of-the-world protocol.

use std::time::Duration;

use tollgate_envoy::discovery::DiscoveryRequest;

use crate::support::{CLUSTER, LISTENER, LONG, ROUTES, Served, contents};

#[tokio::test]
async fn hears_everything_whenever_something_changes() {
    let served = Served::new(LONG);
    served.publish(&[(LISTENER, "a", "1"), (LISTENER, "b", "1")]);
    let mut node = served.whole().await;
    node.subscribe(LISTENER, &[]).await;
    let first = node.take(&[]).await;
    assert_eq!(contents(&first), ["1", "1"]);
    assert!(node.is_quiet().await);
    served.publish(&[(LISTENER, "a", "1"), (LISTENER, "b", "2")]);
    let second = node.take(&[]).await;
    assert_eq!(contents(&second), ["1", "2"]);
    assert_ne!(first.version_info, second.version_info);
    served.publish(&[(LISTENER, "b", "2")]);
    assert_eq!(contents(&node.take(&[]).await), ["2"]);
}

#[tokio::test]
async fn what_was_rejected_is_not_sent_again_until_it_changes() {
    let served = Served::new(LONG);
    served.publish(&[(LISTENER, "a", "good")]);
    let mut node = served.whole().await;
    node.subscribe(LISTENER, &["*"]).await;
    node.take(&["*"]).await;
    served.publish(&[(LISTENER, "a", "bad")]);
    let response = node.hear().await;
    node.reject(&response, &["*"]).await;
    assert!(node.is_quiet().await);
    served.publish(&[(LISTENER, "a", "good")]);
    assert_eq!(contents(&node.take(&["*"]).await), ["good"]);
    served.discovery.settled().await.unwrap();
}

#[tokio::test]
async fn names_are_those_of_the_last_request() {
    let served = Served::new(LONG);
    served.publish(&[(ROUTES, "r", "1"), (ROUTES, "s", "2")]);
    let mut node = served.whole().await;
    node.subscribe(ROUTES, &["none"]).await;
    assert!(node.is_quiet().await, "nothing can be said about what is not there");
    node.subscribe(ROUTES, &["r"]).await;
    let response = node.take(&["r"]).await;
    assert_eq!(contents(&response), ["1"]);
    node.accept(&response, &["r", "s"]).await;
    let response = node.take(&["r", "s"]).await;
    assert_eq!(contents(&response), ["1", "2"]);
    node.accept(&response, &[]).await;
    assert!(node.is_quiet().await, "by then it is heard");
    served.publish(&[(ROUTES, "r", "3"), (ROUTES, "s", "2")]);
    assert!(node.is_quiet().await, "nothing is wanted any more");
}

#[tokio::test]
async fn a_request_that_crosses_a_response_is_not_counted() {
    let served = Served::new(LONG);
    served.publish(&[(ROUTES, "r", "1"), (ROUTES, "s", "2")]);
    let mut node = served.whole().await;
    node.subscribe(ROUTES, &["r"]).await;
    let response = node.hear().await;
    node.subscribe(ROUTES, &["r", "s"]).await;
    assert!(node.is_quiet().await);
    node.accept(&response, &["r", "s"]).await;
    assert_eq!(contents(&node.take(&["r", "s"]).await), ["1", "2"]);
}

#[tokio::test]
async fn who_comes_again_with_the_version_of_now_hears_nothing() {
    let served = Served::new(LONG);
    served.publish(&[(CLUSTER, "a", "1")]);
    let mut node = served.whole().await;
    node.subscribe(CLUSTER, &[]).await;
    let version = node.take(&[]).await.version_info;
    let mut node = served.whole().await;
    let request =
        DiscoveryRequest { type_url: CLUSTER.to_owned(), version_info: version, ..Default::default() };
    node.say(request).await;
    assert!(node.is_quiet().await);
    served.publish(&[(CLUSTER, "a", "2")]);
    assert_eq!(contents(&node.take(&[]).await), ["2"]);
}

#[tokio::test]
async fn clusters_stay_in_what_is_sent_until_the_grace_is_over() {
    let served = Served::new(Duration::from_millis(200));
    served.publish(&[(CLUSTER, "a", "1"), (ROUTES, "r", "to a")]);
    let mut node = served.whole().await;
    node.subscribe(CLUSTER, &[]).await;
    node.subscribe(ROUTES, &["r"]).await;
    node.take(&[]).await;
    node.take(&["r"]).await;
    served.publish(&[(CLUSTER, "b", "2"), (ROUTES, "r", "to b")]);
    assert_eq!(contents(&node.take(&[]).await), ["1", "2"]);
    assert_eq!(contents(&node.take(&["r"]).await), ["to b"]);
    assert_eq!(contents(&node.take(&[]).await), ["2"]);
    assert!(node.is_quiet().await);
}
