//! Whom to try next: priorities first, weights within a priority, healthy before ejected.

/// What selection needs to know of one target of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// 0 is tried first.
    pub priority: u32,
    /// Share among candidates of the same priority; 0 is never chosen.
    pub weight: u32,
    /// Whether it may be sent to now. An ejected candidate is used only when its whole priority is ejected and no
    /// other priority has anybody left: an answer from a doubtful backend beats none.
    pub healthy: bool,
    /// How often this exchange has tried it.
    pub tried: u32,
}

/// The candidate to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its index among the candidates.
    pub index: usize,
    /// Whether this exchange has not tried it yet, so that there is no reason to wait.
    pub fresh: bool,
}

/// Selects the next candidate, or `None` when none has any weight.
///
/// `candidates` are ordered by priority. One priority is tried `attempts_per_priority` times (as often as it has
/// healthy candidates, when absent) before the next; after the last comes the first again. Within a priority those
/// that were tried least stand for the choice, which `roll`, a uniformly random number, makes by weight.
pub fn select(candidates: &[Candidate], attempts_per_priority: Option<u32>, roll: u64) -> Option<Choice> {
    let usable = |candidate: &Candidate| candidate.weight > 0 && candidate.healthy;
    let anybody = |candidate: &Candidate| candidate.weight > 0;
    tier_to_try(candidates, attempts_per_priority, usable)
        .and_then(|priority| within(candidates, priority, usable, roll))
        .or_else(|| {
            let priority = tier_to_try(candidates, attempts_per_priority, anybody)?;
            within(candidates, priority, anybody, roll)
        })
}

/// The priority whose turn it is: the one with the fewest rounds behind it, the lowest number among equals.
fn tier_to_try(
    candidates: &[Candidate],
    attempts_per_priority: Option<u32>,
    eligible: impl Fn(&Candidate) -> bool,
) -> Option<u32> {
    candidates
        .chunk_by(|a, b| a.priority == b.priority)
        .filter_map(|tier| {
            let size = tier.iter().filter(|candidate| eligible(candidate)).count();
            let tries: u32 = tier.iter().map(|candidate| candidate.tried).sum();
            let per_round = attempts_per_priority.unwrap_or(u32::try_from(size).unwrap_or(u32::MAX)).max(1);
            let priority = tier.first()?.priority;
            (size > 0).then_some((tries / per_round, priority))
        })
        .min()
        .map(|(_, priority)| priority)
}

/// A weighted choice among the least tried eligible candidates of one priority.
fn within(
    candidates: &[Candidate],
    priority: u32,
    eligible: impl Fn(&Candidate) -> bool,
    roll: u64,
) -> Option<Choice> {
    let in_tier = || {
        candidates
            .iter()
            .enumerate()
            .filter(|(_, candidate)| candidate.priority == priority && eligible(candidate))
    };
    let tried = in_tier().map(|(_, candidate)| candidate.tried).min()?;
    let standing = || in_tier().filter(|(_, candidate)| candidate.tried == tried);
    let total: u64 = standing().map(|(_, candidate)| u64::from(candidate.weight)).sum();
    let mut point = roll.checked_rem(total)?;
    for (index, candidate) in standing() {
        let weight = u64::from(candidate.weight);
        if point < weight {
            return Some(Choice { index, fresh: tried == 0 });
        }
        point -= weight;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(priority: u32, weight: u32) -> Candidate {
        Candidate { priority, weight, healthy: true, tried: 0 }
    }

    /// The order in which a failing exchange visits the candidates.
    fn visits(
        mut candidates: Vec<Candidate>,
        attempts_per_priority: Option<u32>,
        count: usize,
    ) -> Vec<usize> {
        (0..count)
            .filter_map(|_| {
                let choice = select(&candidates, attempts_per_priority, 0)?;
                candidates[choice.index].tried += 1;
                Some(choice.index)
            })
            .collect()
    }

    #[test]
    fn falls_back_to_the_next_priority_and_comes_around() {
        assert_eq!(visits(vec![candidate(0, 1), candidate(1, 1), candidate(2, 1)], None, 5), [0, 1, 2, 0, 1]);
    }

    #[test]
    fn stays_at_a_priority_for_as_many_attempts_as_told() {
        assert_eq!(visits(vec![candidate(0, 1), candidate(1, 1)], Some(2), 4), [0, 0, 1, 1]);
    }

    #[test]
    fn tries_everybody_of_a_priority_before_the_next() {
        assert_eq!(visits(vec![candidate(0, 1), candidate(0, 9), candidate(1, 1)], None, 3), [0, 1, 2]);
    }

    #[test]
    fn splits_by_weight() {
        let candidates = [candidate(0, 1), candidate(0, 3), candidate(0, 0)];
        let mut counts = [0; 3];
        for roll in 0..400 {
            counts[select(&candidates, None, roll).expect("a choice").index] += 1;
        }
        assert_eq!(counts, [100, 300, 0]);
    }

    #[test]
    fn passes_over_the_ejected_unless_nobody_else_is_left() {
        let mut candidates = vec![candidate(0, 1), candidate(1, 1)];
        candidates[0].healthy = false;
        assert_eq!(select(&candidates, None, 7).map(|choice| choice.index), Some(1));
        candidates[1].healthy = false;
        assert_eq!(select(&candidates, None, 7).map(|choice| choice.index), Some(0));
    }

    #[test]
    fn finds_nobody_where_every_weight_is_zero() {
        assert_eq!(select(&[candidate(0, 0)], None, 1), None);
        assert_eq!(select(&[], None, 1), None);
    }
}
