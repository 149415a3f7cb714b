//! What the server knows of its nodes.

use std::time::Duration;

use crate::support::{CLUSTER, LISTENER, LONG, ROUTES, Served, contents, set, told};

const PATIENCE: Duration = Duration::from_secs(10);
const SOON: Duration = Duration::from_millis(100);

#[tokio::test]
async fn a_set_is_acknowledged_when_a_node_has_accepted_all_of_it() {
    let served = Served::new(LONG);
    let version = served.discovery.publish(set(&[(CLUSTER, "a", "1"), (ROUTES, "r", "1")]));
    let mut node = served.delta().await;
    node.subscribe(CLUSTER, &["*"]).await;
    node.take().await;
    let acknowledged = served.discovery.acknowledged(version);
    assert!(tokio::time::timeout(SOON, acknowledged).await.is_err(), "the routes are not there");
    node.subscribe(ROUTES, &["r"]).await;
    let routes = node.hear().await;
    assert!(!served.discovery.is_acknowledged(version));
    node.accept(&routes).await;
    tokio::time::timeout(PATIENCE, served.discovery.acknowledged(version)).await.unwrap();
    assert!(served.discovery.is_acknowledged(version));
    // Also when a later one was acknowledged instead.
    let later = served.discovery.publish(set(&[(CLUSTER, "a", "1"), (ROUTES, "r", "2")]));
    assert!(!served.discovery.is_acknowledged(later));
    node.take().await;
    tokio::time::timeout(PATIENCE, served.discovery.acknowledged(later)).await.unwrap();
    assert!(served.discovery.is_acknowledged(version));
}

#[tokio::test]
async fn a_rejection_is_shown_until_something_else_is_wanted() {
    let served = Served::new(LONG);
    served.publish(&[(LISTENER, "a", "good")]);
    let mut node = served.delta().await;
    node.subscribe(LISTENER, &["*"]).await;
    let good = node.take().await.system_version_info;
    served.discovery.settled().await.unwrap();
    let bad = served.discovery.publish(set(&[(LISTENER, "a", "bad")]));
    let response = node.hear().await;
    node.reject(&response).await;
    let words = served.discovery.settled().await.unwrap_err();
    assert_eq!(words, "no such filter");
    assert!(!served.discovery.is_acknowledged(bad));
    let status = served.discovery.status();
    assert_eq!((status.published, status.nodes.len()), (Some(bad), 1));
    let node_status = &status.nodes[0];
    assert_eq!((&*node_status.node, &*node_status.cluster), ("node-1", "nodes"));
    let of_type = &node_status.types[LISTENER];
    assert_eq!(of_type.error.as_deref(), Some("no such filter"));
    assert_eq!(of_type.accepted.unwrap().to_string(), good);
    assert_eq!(of_type.sent.unwrap().to_string(), response.system_version_info);
    assert_eq!(served.discovery.counts().rejections, 1);
    served.publish(&[(LISTENER, "a", "better")]);
    node.take().await;
    served.discovery.settled().await.unwrap();
    assert_eq!(served.discovery.status().nodes[0].types[LISTENER].error, None);
    let counts = served.discovery.counts();
    assert_eq!((counts.streams, counts.responses, counts.acceptances), (1, 3, 2));
    assert_eq!((counts.resources, counts.bytes), (3, 13));
    let of_type = served.discovery.counts_by_type()[LISTENER];
    assert_eq!((of_type.responses, of_type.acceptances, of_type.rejections), (3, 2, 1));
    let last = served.discovery.status().nodes[0].last_rejection.clone().unwrap();
    assert_eq!((&*last.type_url, &*last.error), (LISTENER, "no such filter"));
}

#[tokio::test]
async fn streams_are_independent() {
    let served = Served::new(LONG);
    served.publish(&[(LISTENER, "a", "1")]);
    let mut one = served.delta().await;
    let mut other = served.whole().await;
    one.subscribe(LISTENER, &["*"]).await;
    other.subscribe(LISTENER, &["*"]).await;
    let response = one.hear().await;
    one.reject(&response).await;
    assert_eq!(contents(&other.take(&["*"]).await), ["1"]);
    served.publish(&[(LISTENER, "a", "2")]);
    assert_eq!(contents(&other.take(&["*"]).await), ["2"], "though the first one is slow");
    assert_eq!(told(&one.take().await), [("a", "2")]);
    drop(other);
    while served.discovery.status().nodes.len() != 1 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    served.discovery.settled().await.unwrap();
}

#[tokio::test]
async fn a_stream_that_asks_for_too_much_ends() {
    let served = Served::new(LONG);
    served.publish(&[]);
    let mut node = served.delta().await;
    for number in 0..65 {
        node.subscribe(&format!("type {number}"), &["*"]).await;
    }
    assert_eq!(node.end().await.unwrap_err().code(), tonic::Code::ResourceExhausted);
}
