//! A process that is killed in the middle of its entries: whatever was told to be written is there.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tollgate_exchange::Journal;
use tollgate_terms::AttemptId;

use crate::tests::{entries, id, opening, options, record};
use crate::{IndexPlace, Ledger, Options};

/// Names the folder to the process that is killed.
const FOLDER: &str = "TOLLGATE_LEDGER_TEST_FOLDER";

/// Tells from which number on attempts are made, so that none is made twice.
const FIRST: &str = "TOLLGATE_LEDGER_TEST_FIRST";

const THREADS: u32 = 4;
const ROUNDS: u32 = 20;
const ATTEMPTS_MAX: u32 = 100_000;

/// The process that is killed. Without a folder it is a test that has nothing to do.
#[test]
fn the_process_that_is_killed() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let first: u32 = std::env::var(FIRST).ok().and_then(|text| text.parse().ok()).expect("a number");
    let ledger = Ledger::open(&folder, &with_table()).expect("a ledger");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let ledger = &ledger;
            scope.spawn(move || {
                for number in (0..ATTEMPTS_MAX / THREADS).map(|number| first + number * THREADS + thread) {
                    ledger.opened(&opening(number));
                    tell(&format!("o {number}\n"));
                    ledger.settled(&record(number));
                    tell(&format!("s {number}\n"));
                }
            });
        }
    });
}

fn with_table() -> Options {
    Options { index: Some(IndexPlace::Sqlite), ..options() }
}

/// In one write, past what the test runner would keep.
fn tell(line: &str) {
    std::io::stdout().lock().write_all(line.as_bytes()).expect("told");
}

#[test]
fn what_was_told_to_be_written_is_there_after_a_kill() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut opened, mut settled) = (BTreeSet::new(), BTreeSet::new());
    for round in 0..ROUNDS {
        let told = until_killed(folder.path(), round);
        for line in told.lines() {
            match line.split_once(' ').map(|(kind, number)| (kind, number.parse::<u32>())) {
                Some(("o", Ok(number))) => drop(opened.insert(number)),
                Some(("s", Ok(number))) => drop(settled.insert(number)),
                // The test runner has its say as well; the last line may be half.
                _ => {}
            }
        }
        let ledger = Ledger::open(folder.path(), &options()).expect("a ledger");
        let orphaned: BTreeSet<_> = ledger.replayed().orphaned.iter().cloned().collect();
        assert!(orphaned.len() <= THREADS as usize, "{orphaned:?}");
        drop(ledger);
        let (begun, ended) = entries(folder.path());
        let ids = |numbers: &BTreeSet<u32>| numbers.iter().map(|number| id(*number)).collect::<Vec<_>>();
        assert!(ids(&opened).iter().all(|id| begun.contains(id) && ended.contains_key(id)), "round {round}");
        assert!(ids(&settled).iter().all(|id| ended.get(id).is_some_and(|end| end == "complete")));
        assert!(begun.iter().all(|id: &AttemptId| ended.contains_key(id)));
    }
    assert!(settled.len() > 1000, "only {}", settled.len());
    // However often the process died while it filled the table: each attempt is in it once.
    let ledger = Ledger::open(folder.path(), &with_table()).expect("a ledger");
    ledger.close(Duration::from_secs(30));
    let (_, ended) = entries(folder.path());
    let report = crate::tests::usage(folder.path(), &[]);
    assert_eq!(report.total.attempts, ended.len() as u64);
    // In whichever segment and process it was read: of each it is known what it was.
    let models = crate::tests::usage(folder.path(), &[crate::usage::Dimension::RequestedModel]);
    assert_eq!(
        models.rows.iter().map(|row| row.key.clone()).collect::<Vec<_>>(),
        [[Some("asked".to_owned())]]
    );
    let tokens: u64 = ended.values().filter(|end| *end == "complete").count() as u64;
    assert_eq!(report.total.output_tokens, tokens);
}

/// Starts the process, kills it after some lines, and returns all that it has told.
fn until_killed(folder: &std::path::Path, round: u32) -> String {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "killed_tests::the_process_that_is_killed", "--nocapture", "--test-threads", "1"])
        .env(FOLDER, folder)
        .env(FIRST, (round * ATTEMPTS_MAX).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("its output"));
    let mut told = String::new();
    for _ in 0..(100 + round * 37) {
        lines.read_line(&mut told).expect("a line");
    }
    child.kill().expect("killed");
    let mut rest = Vec::new();
    lines.read_to_end(&mut rest).expect("the rest");
    child.wait().expect("an end");
    told + &String::from_utf8_lossy(&rest)
}
