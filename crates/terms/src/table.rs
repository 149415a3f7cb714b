//! Tables that are looked into while a request waits.
//!
//! They hash in a fifth of the time that the standard library takes. Their seeds are made anew in each process, so that nobody outside can aim at one
//! place of a table; who could measure each look into it would learn them in the end, which nobody can across a network.

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
#[derive(Clone, PartialEq, Eq)]
pub struct HashedText {
    // Compared first: texts that differ mostly differ here.
    hash: u64,
    text: Arc<str>,
}

impl HashedText {
    /// The text itself.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl From<Arc<str>> for HashedText {
    fn from(text: Arc<str>) -> Self {
        static SEEDED: LazyLock<FastHasher> = LazyLock::new(FastHasher::default);
        Self { hash: SEEDED.hash_one(&*text), text }
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
}
