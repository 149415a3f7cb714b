//! How many tests passed and failed, read off the closing lines of test runners.

/// Counted tests; a step that counts none is one itself.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Tally {
    /// Adds what another one counted.
    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
    }

    /// The tally of a step that ended: trouble counts as a failure even when no test is to blame.
    pub(crate) fn concluded(self, in_trouble: bool) -> Tally {
        match (in_trouble, self.passed, self.failed) {
            (true, passed, 0) => Tally { passed, failed: 1 },
            (false, 0, 0) => Tally { passed: 1, failed: 0 },
            _ => self,
        }
    }

    /// Adds the counts of a line, if it is the closing line of cargo's, pytest's or Node's runner.
    pub(crate) fn count(&mut self, line: &str) {
        let line = line.trim();
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.add(worded(counts));
        } else if line.contains(" in ") && is_closing_of_pytest(line) {
            self.add(worded(line));
        } else if let Some(count) = after_mark(line, "pass ") {
            self.passed += count;
        } else if let Some(count) = after_mark(line, "fail ").or_else(|| after_mark(line, "cancelled ")) {
            self.failed += count;
        }
    }
}

/// `===== 1 failed, 2 passed in 3.4s =====`, in colour or not, with `=` or not; longer than a minute it ends with `(0:01:37)`.
fn is_closing_of_pytest(line: &str) -> bool {
    let line = line.trim_matches(['=', ' ']);
    let in_minutes = |word: &&str| word.starts_with('(') && word.ends_with(')');
    let words: Vec<_> = line.split_whitespace().filter(|word| !in_minutes(word)).collect();
    matches!(words.as_slice(), [count, .., "in", time] if count.parse::<u64>().is_ok() && time.ends_with('s'))
}

/// Adds up `N passed`, `N failed` and `N errors`.
fn worded(line: &str) -> Tally {
    let words: Vec<_> = line.split_whitespace().map(|word| word.trim_end_matches([',', ';'])).collect();
    let mut tally = Tally::default();
    for pair in words.windows(2) {
        let [count, what] = pair else { continue };
        let Ok(count) = count.parse::<u64>() else { continue };
        match *what {
            "passed" => tally.passed += count,
            "failed" | "error" | "errors" => tally.failed += count,
            _ => {}
        }
    }
    tally
}

/// Node's runner writes `ℹ pass 3`, or `# pass 3` where it speaks TAP.
fn after_mark(line: &str, word: &str) -> Option<u64> {
    let line = line.strip_prefix("ℹ ").or_else(|| line.strip_prefix("# "))?;
    line.strip_prefix(word)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Tally;

    fn counted(text: &str) -> (u64, u64) {
        let mut tally = Tally::default();
        text.lines().for_each(|line| tally.count(line));
        (tally.passed, tally.failed)
    }

    #[test]
    fn reads_each_runners_closing_line() {
        assert_eq!(counted("test result: ok. 12 passed; 1 failed; 0 ignored; finished in 0.03s"), (12, 1));
        assert_eq!(counted("==== 1 failed, 2 passed, 3 errors in 3.41s ===="), (2, 4));
        assert_eq!(counted("30 passed in 2.51s"), (30, 0));
        assert_eq!(counted("841 passed in 97.76s (0:01:37)"), (841, 0));
        assert_eq!(counted("ℹ tests 4\nℹ pass 3\nℹ fail 1\nℹ cancelled 0"), (3, 1));
    }

    #[test]
    fn reads_nothing_else() {
        assert_eq!(counted("3 passed by\nx 4 failed in 2 places\npass 3\ntest a ... ok"), (0, 0));
    }

    #[test]
    fn trouble_counts_as_a_failure() {
        assert_eq!(Tally::default().concluded(false), Tally { passed: 1, failed: 0 });
        assert_eq!(Tally::default().concluded(true), Tally { passed: 0, failed: 1 });
        assert_eq!(Tally { passed: 2, failed: 0 }.concluded(true), Tally { passed: 2, failed: 1 });
        assert_eq!(Tally { passed: 2, failed: 3 }.concluded(true), Tally { passed: 2, failed: 3 });
    }
}
