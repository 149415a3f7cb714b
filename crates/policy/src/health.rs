//! Passive health: a backend that keeps failing is left out for a while.

use std::time::{Duration, Instant};

use tollgate_config::bundle::Ejection;
use tollgate_terms::{BackendFault, Fault};

/// What is known of one backend's health. Plain state: whoever shares it between threads brings the lock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Health {
    consecutive_5xx: u32,
    consecutive_gateway_errors: u32,
    /// How often in a row it was ejected; falls by one with each answer after a whole ejection time of good service.
    ejections: u32,
    ejected_until: Option<Instant>,
}

/// What an attempt said about its backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered, with anything but a server error.
    Well,
    /// It answered with a server error that is its own: 500, 501, 505 and above.
    ServerError,
    /// There was no answer, or 502, 503 or 504.
    GatewayError,
}

impl Sign {
    /// What an ended attempt says: `status` is the response's, if it began.
    ///
    /// `None` when it says nothing, because the fault was the client's or the gateway's.
    pub fn of(status: Option<u16>, fault: Option<&Fault>) -> Option<Self> {
        match fault {
            Some(Fault::Client(_) | Fault::Gateway(_)) => None,
            Some(Fault::Backend(BackendFault::Status { status, .. })) => Some(Self::of_status(*status)),
            Some(Fault::Backend(_)) => Some(Self::GatewayError),
            None => status.map(Self::of_status),
        }
    }

    fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Self::GatewayError,
            500..=599 => Self::ServerError,
            _ => Self::Well,
        }
    }
}

impl Health {
    /// Whether requests may be sent to the backend at `now`.
    pub fn is_healthy(&self, now: Instant) -> bool {
        self.ejected_until.is_none_or(|until| until <= now)
    }

    /// Takes in what an attempt said. Returns the length of the ejection when this one ejects, which `others` must allow.
    pub fn observe(
        &mut self,
        sign: Sign,
        policy: &Ejection,
        others: Others,
        now: Instant,
    ) -> Option<Duration> {
        match sign {
            Sign::Well => {
                self.consecutive_5xx = 0;
                self.consecutive_gateway_errors = 0;
                self.forgive(policy, now);
                return None;
            }
            Sign::ServerError => {
                self.consecutive_5xx = self.consecutive_5xx.saturating_add(1);
                self.consecutive_gateway_errors = 0;
            }
            Sign::GatewayError => {
                self.consecutive_5xx = self.consecutive_5xx.saturating_add(1);
                self.consecutive_gateway_errors = self.consecutive_gateway_errors.saturating_add(1);
            }
        }
        let reached = |count: u32, bound: u32| bound > 0 && count >= bound;
        let eject = reached(self.consecutive_5xx, policy.consecutive_5xx)
            || reached(self.consecutive_gateway_errors, policy.consecutive_gateway_errors);
        (eject && self.is_healthy(now) && others.may_lose_one(policy)).then(|| self.eject(policy, now))
    }

    fn eject(&mut self, policy: &Ejection, now: Instant) -> Duration {
        self.ejections = self.ejections.saturating_add(1);
        let length =
            policy.base_time.saturating_mul(self.ejections).min(policy.max_time.max(policy.base_time));
        self.ejected_until = now.checked_add(length);
        self.consecutive_5xx = 0;
        self.consecutive_gateway_errors = 0;
        length
    }

    fn forgive(&mut self, policy: &Ejection, now: Instant) {
        let Some(until) = self.ejected_until else { return };
        if now.saturating_duration_since(until) >= policy.base_time {
            self.ejections = self.ejections.saturating_sub(1);
            self.ejected_until = (self.ejections > 0).then_some(now);
        }
    }
}

/// The backends that can serve the same requests, the observed one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Others {
    /// How many there are.
    pub total: usize,
    /// How many of them are ejected.
    pub ejected: usize,
}

impl Others {
    /// Whether one more may be ejected.
    ///
    /// At least one may be, so that a rule with two or three backends can lose its bad one, unless the policy says 0 %.
    fn may_lose_one(self, policy: &Ejection) -> bool {
        let percent = usize::from(policy.max_ejection_percent);
        let allowed = self.total.saturating_mul(percent) / 100;
        percent > 0 && self.ejected < allowed.max(1)
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
mod tests {
    use super::*;

    const ALONE: Others = Others { total: 1, ejected: 0 };

    fn policy() -> Ejection {
        Ejection {
            consecutive_5xx: 3,
            consecutive_gateway_errors: 2,
            base_time: Duration::from_secs(30),
            max_time: Duration::from_secs(70),
            max_ejection_percent: 50,
        }
    }

    #[test]
    fn ejects_after_faults_in_a_row_and_longer_each_time() {
        let policy = policy();
        let mut now = Instant::now();
        let mut health = Health::default();
        let mut lengths = Vec::new();
        for _ in 0..3 {
            assert_eq!(health.observe(Sign::GatewayError, &policy, ALONE, now), None);
            lengths.extend(health.observe(Sign::GatewayError, &policy, ALONE, now));
            assert!(!health.is_healthy(now));
            now += Duration::from_secs(100);
            assert!(health.is_healthy(now));
        }
        assert_eq!(lengths, [30, 60, 70].map(Duration::from_secs));
    }

    #[test]
    fn one_good_answer_starts_the_count_again() {
        let policy = policy();
        let now = Instant::now();
        let mut health = Health::default();
        for sign in [Sign::ServerError, Sign::ServerError, Sign::Well, Sign::ServerError, Sign::ServerError] {
            assert_eq!(health.observe(sign, &policy, ALONE, now), None);
        }
        assert!(health.observe(Sign::ServerError, &policy, ALONE, now).is_some());
    }

    #[test]
    fn blames_the_backend_only_for_its_own_faults() {
        assert_eq!(Sign::of(None, Some(&Fault::Client(tollgate_terms::ClientFault::Gone))), None);
        assert_eq!(
            Sign::of(None, Some(&Fault::Backend(BackendFault::Unreachable))),
            Some(Sign::GatewayError)
        );
        assert_eq!(Sign::of(Some(429), None), Some(Sign::Well));
        assert_eq!(Sign::of(Some(500), None), Some(Sign::ServerError));
    }

    #[test]
    fn leaves_most_of_the_targets_in() {
        let mut policy = policy();
        assert!(Others { total: 1, ejected: 0 }.may_lose_one(&policy));
        assert!(!Others { total: 3, ejected: 1 }.may_lose_one(&policy));
        assert!(Others { total: 4, ejected: 1 }.may_lose_one(&policy));
        policy.max_ejection_percent = 0;
        assert!(!Others { total: 4, ejected: 0 }.may_lose_one(&policy));
    }
}
