//! Ways to be there other than alone and in the clear: sentinels, clusters, TLS, users with passwords.

use std::fs;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tollgate_config::bundle::{LimitStore, Window};
use tollgate_effects::quota::{Quotas, RedisPlace, RedisSettings, Reserved};
use tollgate_policy::quota::{Charge, Claim, Unit};

use crate::attempt;
use crate::metric::value;
use crate::server::{Server, free_port};

/// Takes 5 twice from one counter, and from another of 2, and settles what was used: 3 each.
pub(crate) async fn counts(quotas: &Quotas) {
    assert!(quotas.up(Duration::from_secs(10)).await, "no connection");
    for id in ["1", "2"] {
        let claim = |key: &str, window| Claim {
            key: key.into(),
            limit: 10,
            window: Arc::new(window),
            take: 5,
            charge: Charge::Taken,
            unit: Unit::Tokens,
            group: None,
            shadow: false,
            store: LimitStore::Shared,
        };
        let claims =
            vec![claim("a", Window::Fixed { seconds: 1 << 30 }), claim("b", Window::Rolling { seconds: 60 })];
        let reserved = quotas.reserve(attempt(id), claims, SystemTime::now()).reserved().await;
        let Reserved::Granted(reservation) = reserved else { panic!("{reserved:?}") };
        assert_eq!(reservation.standings()[0].used, if id == "1" { 5 } else { 8 });
        reservation.settle([3, 3], SystemTime::now());
        settled(quotas).await;
    }
    assert_eq!(value(quotas, "tollgate_quota_settled_total{unit=\"tokens\"}"), 12);
}

async fn settled(quotas: &Quotas) {
    for _ in 0..500 {
        if value(quotas, "tollgate_quota_settlements_waiting") == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not settled");
}

fn quotas(url: &str, authorities: Option<Vec<u8>>) -> Quotas {
    let settings = RedisSettings { authorities, ..RedisSettings::new(RedisPlace::parse(url).unwrap()) };
    // A cold cluster finds out who has what in more than a moment.
    Quotas::in_redis(&RedisSettings { deadline: Duration::from_secs(2), ..settings }).unwrap()
}

#[tokio::test]
async fn users_show_their_passwords() {
    let server = Server::new(&[]);
    server.ask(&["ACL", "SETUSER", "gate:way", "on", ">p@ss/w", "~{tollgate}:*", "+@all", "-@admin"]);
    counts(&quotas(&format!("redis://gate%3Away:p%40ss%2Fw@127.0.0.1:{}", server.port()), None)).await;
    assert_eq!(server.counted("a"), 6);
    let wrong = quotas(&format!("redis://gate%3Away:other@127.0.0.1:{}", server.port()), None);
    assert!(!wrong.up(Duration::from_millis(500)).await);
}

#[tokio::test]
async fn one_with_tls_is_asked_if_its_authority_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let made =
        rcgen::generate_simple_self_signed(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
    fs::write(&chain, made.cert.pem()).unwrap();
    fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let port = free_port().to_string();
    let [chain, key] = [&chain, &key].map(|path| path.to_str().unwrap());
    let tls = ["--tls-port", &port, "--tls-cert-file", chain, "--tls-key-file", key];
    let server =
        Server::new(&[&tls[..], &["--tls-ca-cert-file", chain, "--tls-auth-clients", "no"]].concat());
    counts(&quotas(&format!("rediss://localhost:{port}"), Some(made.cert.pem().into_bytes()))).await;
    assert_eq!(server.counted("a"), 6);
    let unknown = quotas(&format!("rediss://localhost:{port}"), None);
    assert!(!unknown.up(Duration::from_millis(500)).await);
}
