//! Tests of how a credential is fetched, shared and renewed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tollgate_terms::Secret;

use super::*;
use crate::issue::{IssueError, Issued};

const MS: Duration = Duration::from_millis(1);

/// A source that does what it is told.
#[derive(Default)]
struct Source {
    asked: AtomicUsize,
    /// How long an answer takes, and how long what it gives lives.
    pace: Mutex<(Duration, Option<Duration>)>,
    /// How often it says no, and how.
    trouble: Mutex<Option<(usize, IssueError)>>,
}

impl Source {
    fn new(takes: Duration, lives: Option<Duration>) -> Arc<Self> {
        Arc::new(Self { pace: Mutex::new((takes, lives)), ..Self::default() })
    }

    /// Has it say no so many times.
    fn fail(&self, times: usize, how: IssueError) {
        *self.trouble.lock().expect("a lock") = Some((times, how));
    }

    fn trouble(&self) -> Option<IssueError> {
        let mut trouble = self.trouble.lock().expect("a lock");
        let (times, how) = trouble.as_mut()?;
        *times = times.checked_sub(1)?;
        Some(how.clone())
    }

    /// Gives `1`, `2`, ...
    async fn ask(&self) -> Result<Issued<Proof>, IssueError> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let (takes, lives) = *self.pace.lock().expect("a lock");
        tokio::time::sleep(takes).await;
        if let Some(trouble) = self.trouble() {
            return Err(trouble);
        }
        let value = Proof::Secret(Secret::new(number.to_string()));
        Ok(Issued { value, expires_at: lives.map(|lives| clock::now() + lives) })
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn kept_by(self: &Arc<Self>, keeper: &Keeper) -> Live {
        let source = Arc::clone(self);
        let fetch: Fetch = Box::new(move || {
            let source = Arc::clone(&source);
            Box::pin(async move { source.ask().await })
        });
        keeper.keep("a source".to_owned(), ENDLESS, fetch)
    }
}

fn keeper() -> Keeper {
    Keeper::start().expect("a thread")
}

fn refused(status: u16) -> IssueError {
    IssueError::Refused { service: "a source".to_owned(), status, said: String::new() }
}

/// What a request gets, as text.
async fn got(live: &Live) -> Option<String> {
    let proof = match live.find() {
        Found::Proof(proof) => Some(proof),
        Found::Later(awaited) => awaited.proof().await,
        Found::Unavailable => None,
    };
    match proof? {
        Proof::Secret(secret) => Some(secret.expose().to_owned()),
        Proof::Keys(_) => None,
    }
}

#[tokio::test]
async fn nothing_is_fetched_before_it_is_needed_and_then_once_for_all() {
    let source = Source::new(100 * MS, None);
    let keeper = keeper();
    let live = Arc::new(source.kept_by(&keeper));
    tokio::time::sleep(50 * MS).await;
    assert_eq!(source.asked(), 0);
    let requests: Vec<_> = (0..50)
        .map(|_| {
            let live = Arc::clone(&live);
            tokio::spawn(async move { got(&live).await })
        })
        .collect();
    for request in requests {
        assert_eq!(request.await.expect("an answer").as_deref(), Some("1"));
    }
    assert_eq!(source.asked(), 1);
    assert!(matches!(live.find(), Found::Proof(_)));
}

#[tokio::test]
async fn no_request_fails_or_waits_while_a_credential_is_renewed() {
    let source = Source::new(200 * MS, Some(2000 * MS));
    let keeper = keeper();
    let live = Arc::new(source.kept_by(&keeper));
    assert_eq!(got(&live).await.as_deref(), Some("1"));
    let until = clock::now() + 5000 * MS;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut served = 0_u32;
                while clock::now() < until {
                    assert!(matches!(live.find(), Found::Proof(_)), "after {served} requests");
                    served += 1;
                    std::thread::yield_now();
                }
            });
        }
    });
    assert!((4..=8).contains(&source.asked()), "{} fetches", source.asked());
}

#[tokio::test]
async fn the_old_one_serves_to_its_end_when_it_cannot_be_renewed() {
    let source = Source::new(MS, Some(4000 * MS));
    let keeper = keeper();
    let live = source.kept_by(&keeper);
    assert_eq!(got(&live).await.as_deref(), Some("1"));
    source.fail(usize::MAX, refused(403));
    tokio::time::sleep(3000 * MS).await;
    assert!(source.asked() > 1);
    assert_eq!(got(&live).await.as_deref(), Some("1"));
    tokio::time::sleep(1200 * MS).await;
    assert_eq!(got(&live).await, None);
}

#[tokio::test]
async fn a_refusal_is_told_at_once_and_forgotten_when_it_is_over() {
    let source = Source::new(MS, None);
    source.fail(2, refused(403));
    let keeper = keeper();
    let live = source.kept_by(&keeper);
    assert_eq!(got(&live).await, None);
    let began = clock::now();
    while got(&live).await.as_deref() != Some("3") {
        assert!(clock::now() < began + 20_000 * MS, "it was never asked again");
        tokio::time::sleep(20 * MS).await;
    }
    // A second and two, by chance up to a half less.
    assert!(clock::now() >= began + 1400 * MS);
}

#[tokio::test]
async fn one_passing_trouble_is_waited_out() {
    let source = Source::new(MS, None);
    source.fail(1, refused(503));
    let keeper = keeper();
    assert_eq!(got(&source.kept_by(&keeper)).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn a_slow_source_is_not_waited_for_without_end() {
    let source = Source::new(60_000 * MS, None);
    let keeper = keeper();
    let live = source.kept_by(&keeper);
    let began = clock::now();
    assert_eq!(got(&live).await, None);
    let took = clock::now().duration_since(began).expect("a time");
    assert!(took >= WAIT_MAX && took < WAIT_MAX + 1000 * MS, "{took:?}");
}

#[tokio::test]
async fn a_credential_that_has_ended_already_is_none() {
    let source = Source::new(MS, Some(Duration::ZERO));
    let keeper = keeper();
    let live = source.kept_by(&keeper);
    assert_eq!(got(&live).await, None);
}

#[tokio::test]
async fn what_is_retired_is_renewed_no_more() {
    let source = Source::new(MS, Some(2000 * MS));
    let keeper = keeper();
    let live = source.kept_by(&keeper);
    assert_eq!(got(&live).await.as_deref(), Some("1"));
    live.retire();
    assert_eq!(got(&live).await.as_deref(), Some("1"));
    tokio::time::sleep(2200 * MS).await;
    assert_eq!(source.asked(), 1);
    // Until somebody who has begun before needs it.
    assert_eq!(got(&live).await.as_deref(), Some("2"));
}

#[tokio::test]
async fn requests_outlive_the_thread_that_fetches() {
    let source = Source::new(60_000 * MS, None);
    let keeper = keeper();
    let live = source.kept_by(&keeper);
    let Found::Later(awaited) = live.find() else { panic!("nothing is there yet") };
    drop(keeper);
    assert!(awaited.proof().await.is_none());
}
