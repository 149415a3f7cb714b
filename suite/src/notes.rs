//! A journal that keeps in memory what it is told.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tollgate_exchange::{Journal, Opening, Record};

/// What is known of the attempts of a gateway.
#[derive(Debug, Default)]
pub struct Notes(Mutex<Noted>);

#[derive(Debug, Default)]
struct Noted {
    opened: usize,
    settled: Vec<Record>,
}

impl Notes {
    /// How many attempts went to a backend.
    pub fn opened(&self) -> usize {
        self.noted().opened
    }

    /// Those that are over, whether or not they went to one.
    pub fn settled(&self) -> Vec<Record> {
        self.noted().settled.clone()
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Journal for Notes {
    fn opened(&self, _opening: &Opening) {
        self.noted().opened += 1;
    }

    fn settled(&self, record: &Record) {
        self.noted().settled.push(record.clone());
    }
}
