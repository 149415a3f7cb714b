//! Tables that are looked into while a request waits.
//!
//! They hash in a fifth of the time that the standard library takes. Their seeds are made anew in each process, so that nobody outside can aim at one
//! place of a table; who could measure each look into it would learn them in the end, which nobody can across a network.

/// What is looked up by what is equivalent to its key, and an entry that is looked for so.
pub use hashbrown::{Equivalent, hash_map::EntryRef};

/// What these tables hash with.
pub type FastHasher = hashbrown::DefaultHashBuilder;

/// A table by key.
pub type FastMap<K, V> = hashbrown::HashMap<K, V>;

/// A set.
pub type FastSet<K> = hashbrown::HashSet<K>;
