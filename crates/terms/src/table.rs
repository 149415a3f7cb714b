//! Tables that are looked into while a request waits.
//!
//! They hash in a fifth of the time that the standard library takes. Their seeds are made anew in each process, so that nobody outside can aim at one
//! place of a table; who could measure each look into it would learn them in the end, which nobody can across a network.

use std::cell::RefCell;
use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher};
use std::ops::Deref;
use std::sync::{Arc, LazyLock};

/// What is looked up by what is equivalent to its key, and an entry that is looked for so.
pub use hashbrown::{Equivalent, hash_map::EntryRef};

/// What these tables hash with.
pub type FastHasher = hashbrown::DefaultHashBuilder;

/// A table by key.
pub type FastMap<K, V> = hashbrown::HashMap<K, V>;

/// A set.
pub type FastSet<K> = hashbrown::HashSet<K>;

/// A text that is looked up more than once, and is hashed when it is made.
#[derive(Clone, Eq)]
pub struct HashedText {
    hash: u64,
    text: Arc<str>,
}

/// How many texts a thread remembers to have made.
const REMEMBERED: usize = 256;

impl HashedText {
    /// This text, which the thread may have made before: then that one is handed out, and is found to be the same without being read.
    pub fn remembered(text: &str) -> Self {
        thread_local! {
            static MADE: RefCell<Vec<Option<HashedText>>> = RefCell::new(vec![None; REMEMBERED]);
        }
        let hash = hash_of(text);
        MADE.with_borrow_mut(|made| {
            let at = usize::try_from(hash).unwrap_or_default() % REMEMBERED;
            let Some(place) = made.get_mut(at) else { return text.into() };
            match place {
                Some(before) if before.hash == hash && *before.text == *text => before.clone(),
                _ => place.insert(Self { hash, text: text.into() }).clone(),
            }
        })
    }

    /// The text itself.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

fn hash_of(text: &str) -> u64 {
    static SEEDED: LazyLock<FastHasher> = LazyLock::new(FastHasher::default);
    SEEDED.hash_one(text)
}

impl From<Arc<str>> for HashedText {
    fn from(text: Arc<str>) -> Self {
        Self { hash: hash_of(&text), text }
    }
}

impl From<&str> for HashedText {
    fn from(text: &str) -> Self {
        Arc::<str>::from(text).into()
    }
}

impl From<HashedText> for Arc<str> {
    fn from(text: HashedText) -> Self {
        text.text
    }
}

impl Deref for HashedText {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// Texts that differ mostly differ in their hash, and those that are the same are mostly in the same place.
impl PartialEq for HashedText {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && (Arc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Hash for HashedText {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for HashedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.fmt(f)
    }
}

impl fmt::Display for HashedText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hashed_text_is_found_by_the_same_text() {
        let table: FastMap<HashedText, u8> =
            ["a", "b", ""].into_iter().map(HashedText::from).zip(1..).collect();
        let found = |text: &str| table.get(&HashedText::from(text)).copied();
        assert_eq!([found("a"), found("b"), found(""), found("c")], [Some(1), Some(2), Some(3), None]);
    }

    #[test]
    fn a_remembered_text_is_what_was_asked_for() {
        let same = [HashedText::remembered("a"), HashedText::remembered("a")];
        assert!(Arc::ptr_eq(same[0].text(), same[1].text()));
        // More than are remembered, twice.
        for number in (0..4 * REMEMBERED).chain(0..4 * REMEMBERED) {
            let text = number.to_string();
            assert_eq!(HashedText::remembered(&text), HashedText::from(text.as_str()));
        }
    }
}
