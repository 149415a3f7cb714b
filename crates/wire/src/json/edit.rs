//! Pointed edits of a text that was scanned: what does not change shares its memory.

use std::borrow::Cow;
use std::ops::Range;

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Malformed, Map, Member, Object, Value, find, is_key};

/// A text of at most so many bytes is copied: that is less work than handing out pieces of it.
const COPIED_MAX: usize = 16 << 10;

/// What a member has beside its key and its value: quotes, a colon and a comma.
const MEMBER_BYTES: usize = 4;

/// A key, which is mostly one that the gateway knows itself.
type Key = Cow<'static, str>;

/// Where a member is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// In the top level.
    Top(Key),
    /// In the object that is the member of the first key.
    Inner(Key, Key),
}

/// A pointed change of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Give the member at `path` this value, adding it where it is absent.
    Set {
        /// Where it is.
        path: Path,
        /// JSON text.
        value: Bytes,
    },
    /// Take the member at `path` away.
    Remove {
        /// Where it is.
        path: Path,
    },
}

impl Path {
    /// Of a member in the top level.
    pub fn top(key: &'static str) -> Self {
        Self::Top(Key::Borrowed(key))
    }

    /// Of a member of the object at `key`.
    pub fn inner(key: &'static str, inner: &'static str) -> Self {
        Self::Inner(Key::Borrowed(key), Key::Borrowed(inner))
    }
}

/// Applies `edits` to the scanned `text`. The result, joined, is the edited text; of a large one all that did not change shares
/// the memory of `text`. Edits of the same place: removals come first, the last `Set` wins.
pub fn splice(text: &Bytes, object: &Object, edits: impl IntoIterator<Item = Edit>) -> Vec<Bytes> {
    let mut changes = Changes::default();
    edits.into_iter().for_each(|edit| match edit {
        Edit::Set { path: Path::Top(key), value } => changes.set_top(text, object, key, value),
        Edit::Set { path: Path::Inner(key, inner), value } => {
            changes.set_inner(text, object, key, &inner, value);
        }
        Edit::Remove { path: Path::Top(key) } => changes.remove_top(text, object, &key),
        Edit::Remove { path: Path::Inner(key, inner) } => changes.remove_inner(text, object, &key, &inner),
    });
    changes.apply(text, object)
}

/// Makes `edits` in an object that is not written yet: written, it is what [`splice`] makes of its text, but that values are written anew.
///
/// # Errors
/// When the value of an edit is no JSON text.
pub fn edit(object: &mut Map, edits: Vec<Edit>) -> Result<(), Malformed> {
    let is_set = |edit: &Edit, removed: &Path| matches!(edit, Edit::Set { path, .. } if path == removed);
    let mut rest = edits.into_iter();
    while let Some(edit) = rest.next() {
        match edit {
            Edit::Set { path: Path::Top(key), value } => object.insert(key, Value::read(&value)?),
            Edit::Set { path: Path::Inner(key, inner), value } => {
                let value = Value::read(&value)?;
                match object.get_mut(&key) {
                    Some(Value::Object(members)) => members.insert(inner, value),
                    _ => object.insert(key, Map::from_iter([(inner, value)]).into()),
                }
            }
            // What is set again stays where it stands.
            Edit::Remove { path } if rest.as_slice().iter().any(|edit| is_set(edit, &path)) => {}
            Edit::Remove { path: Path::Top(key) } => drop(object.remove(&key)),
            Edit::Remove { path: Path::Inner(key, inner) } => {
                drop(object.get_mut(&key).and_then(Value::as_object_mut).and_then(|it| it.remove(&inner)));
            }
        }
    }
    Ok(())
}

/// Changes to a text, gathered before any is made.
#[derive(Default)]
struct Changes {
    /// Replacements of values, by the range replaced.
    replaced: Vec<(Range<usize>, Bytes)>,
    /// Members of the top level that go, by index.
    removed: Vec<usize>,
    /// Members that come, at the end of the top level.
    added: SmallVec<[(Key, Bytes); 1]>,
}

impl Changes {
    fn set_top(&mut self, text: &[u8], object: &Object, key: Key, value: Bytes) {
        match position(object, text, &key) {
            Some((index, member)) => {
                self.removed.retain(|&removed| removed != index);
                self.replaced
                    .retain(|(range, _)| range.start < member.value.start || range.end > member.value.end);
                self.replaced.push((member.value.clone(), value));
            }
            None => {
                self.added.retain(|(added, _)| *added != key);
                self.added.push((key, value));
            }
        }
    }

    fn set_inner(&mut self, text: &[u8], object: &Object, key: Key, inner: &str, value: Bytes) {
        let members = position(object, text, &key)
            .and_then(|(_, member)| Some((member.value.end, object.inner.get(member.inner.clone()?)?)));
        let Some((end, members)) = members else {
            return self.set_top(text, object, key, joined(b"{", inner, &value, b"}"));
        };
        if let Some(found) = find(members, text, inner) {
            self.replaced.push((found.value.clone(), value));
            return;
        }
        let before: &[u8] = if members.is_empty() { b"" } else { b"," };
        self.replaced.push((end - 1..end - 1, joined(before, inner, &value, b"")));
    }

    fn remove_top(&mut self, text: &[u8], object: &Object, key: &str) {
        self.added.retain(|(added, _)| added != key);
        if let Some((index, member)) = position(object, text, key) {
            self.replaced
                .retain(|(range, _)| range.start < member.value.start || range.end > member.value.end);
            self.removed.push(index);
        }
    }

    fn remove_inner(&mut self, text: &[u8], object: &Object, key: &str, inner: &str) {
        let Some((_, member)) = position(object, text, key) else { return };
        let Some(range) = member.inner.clone() else { return };
        let members = object.inner.get(range).unwrap_or_default();
        let is_it =
            |member: &Member| text.get(member.key.clone()).is_some_and(|raw| is_key(raw, inner.as_bytes()));
        if let Some(index) = members.iter().position(is_it) {
            self.replaced.push((cut(members, index, member.value.start + 1), Bytes::new()));
        }
    }

    fn apply(mut self, text: &Bytes, object: &Object) -> Vec<Bytes> {
        self.removed.sort_unstable();
        self.removed.dedup();
        let left = object.members.len() - self.removed.len();
        if left == 0 && !self.removed.is_empty() {
            self.replaced.push((object.open..object.close, Bytes::new()));
        } else {
            self.cut_runs(object);
        }
        self.replaced.sort_by_key(|(range, _)| (range.start, range.end));
        if text.len() <= COPIED_MAX {
            return vec![self.copied(text, object.close, left)];
        }
        if !self.added.is_empty() {
            let mut added = Vec::with_capacity(self.added_bytes());
            self.write_added(left, &mut added);
            self.replaced.push((object.close..object.close, Bytes::from(added)));
        }
        self.pieces(text)
    }

    /// Most bytes that the members have which come.
    fn added_bytes(&self) -> usize {
        self.added.iter().map(|(key, value)| key.len() + value.len() + MEMBER_BYTES).sum()
    }

    /// Writes the members that come behind `left` others.
    fn write_added(&self, left: usize, out: &mut Vec<u8>) {
        for (at, (key, value)) in self.added.iter().enumerate() {
            if at + left > 0 {
                out.push(b',');
            }
            write_member(out, key, value);
        }
    }

    /// Where each change comes in the text, the changes being in order: up to where it is kept before, and where it goes on.
    fn places(&self) -> impl Iterator<Item = (Range<usize>, &Bytes)> {
        let mut at = 0;
        self.replaced.iter().map(move |(range, value)| {
            // An addition to an object stands behind what was cut off its end.
            let kept = at..range.start.max(at);
            at = range.end.max(at);
            (kept, value)
        })
    }

    fn end(&self) -> usize {
        self.replaced.iter().map(|(range, _)| range.end).max().unwrap_or_default()
    }

    /// The edited text, whose object ends at `close` and has `left` members before those that come.
    fn copied(&self, text: &[u8], close: usize, left: usize) -> Bytes {
        let more: usize = self.replaced.iter().map(|(_, value)| value.len()).sum();
        let mut copied = Vec::with_capacity(text.len() + more + self.added_bytes());
        for (kept, value) in self.places() {
            copied.extend_from_slice(text.get(kept).unwrap_or_default());
            copied.extend_from_slice(value);
        }
        copied.extend_from_slice(text.get(self.end()..close).unwrap_or_default());
        self.write_added(left, &mut copied);
        copied.extend_from_slice(text.get(close..).unwrap_or_default());
        Bytes::from(copied)
    }

    fn pieces(&self, text: &Bytes) -> Vec<Bytes> {
        let mut pieces = Vec::with_capacity(2 * self.replaced.len() + 1);
        for (kept, value) in self.places() {
            push(&mut pieces, text.slice(kept));
            push(&mut pieces, value.clone());
        }
        push(&mut pieces, text.slice(self.end()..));
        pieces
    }

    /// Cuts removed members out together with one comma each, runs of them at once.
    fn cut_runs(&mut self, object: &Object) {
        let removed = std::mem::take(&mut self.removed);
        for run in removed.chunk_by(|a, b| a + 1 == *b) {
            let (Some(&first), Some(&last)) = (run.first(), run.last()) else { continue };
            let start = match first.checked_sub(1).and_then(|before| object.members.get(before)) {
                Some(before) => before.value.end,
                None => object.open,
            };
            let end = match (first, object.members.get(last + 1)) {
                // Nothing stands before: the comma behind goes too.
                (0, Some(next)) => next.key.start - 1,
                _ => object.members.get(last).map_or(start, |member| member.value.end),
            };
            self.replaced.push((start..end, Bytes::new()));
        }
    }
}

/// The range of one member with one of its commas.
fn cut(members: &[Member], index: usize, open: usize) -> Range<usize> {
    let end = members.get(index).map_or(open, |member| member.value.end);
    match (index.checked_sub(1).and_then(|before| members.get(before)), members.get(index + 1)) {
        (Some(before), _) => before.value.end..end,
        (None, Some(next)) => open..next.key.start - 1,
        (None, None) => open..end,
    }
}

fn position<'a>(object: &'a Object, text: &[u8], key: &str) -> Option<(usize, &'a Member)> {
    object
        .members
        .iter()
        .enumerate()
        .find(|(_, member)| text.get(member.key.clone()).is_some_and(|raw| is_key(raw, key.as_bytes())))
}

/// A member between `before` and `after`.
fn joined(before: &[u8], key: &str, value: &[u8], after: &[u8]) -> Bytes {
    let length = before.len() + key.len() + value.len() + after.len() + MEMBER_BYTES;
    let mut joined = Vec::with_capacity(length);
    joined.extend_from_slice(before);
    write_member(&mut joined, key, value);
    joined.extend_from_slice(after);
    Bytes::from(joined)
}

fn write_member(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.push(b'"');
    // All of it is looked at, since that is done for many bytes at once.
    let is_escaped = |byte| byte < b' ' || matches!(byte, b'"' | b'\\');
    if key.bytes().fold(false, |found, byte| found | is_escaped(byte)) {
        write_escaped(out, key);
    } else {
        out.extend_from_slice(key.as_bytes());
    }
    out.extend_from_slice(b"\":");
    out.extend_from_slice(value);
}

fn write_escaped(out: &mut Vec<u8>, key: &str) {
    for character in key.chars() {
        match character {
            '"' | '\\' => out.extend_from_slice(&[b'\\', u8::try_from(character).unwrap_or(b'?')]),
            control if control < ' ' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
            }
            plain => out.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn push(pieces: &mut Vec<Bytes>, piece: Bytes) {
    if !piece.is_empty() {
        pieces.push(piece);
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::{Limits, scan};
    use super::*;

    const KEYS: [&str; 4] = ["a", "b", "c", "d"];

    fn value() -> impl Strategy<Value = Value> {
        let plain = prop_oneof![
            Just(Value::Null),
            any::<u64>().prop_map(Value::from),
            "[a-z\"\\n]{0,12}".prop_map(Value::from)
        ];
        let members = vec((prop::sample::select(&KEYS[..]), plain.clone()), 0..4);
        prop_oneof![plain, members.prop_map(|members| Map::from_iter(members).into())]
    }

    fn changes() -> impl Strategy<Value = Vec<Edit>> {
        let key = || prop::sample::select(&KEYS[..]);
        let path = (key(), prop::option::of(key())).prop_map(|(key, inner)| match inner {
            Some(inner) => Path::inner(key, inner),
            None => Path::top(key),
        });
        let edit = (path, prop::option::of(value())).prop_map(|(path, value)| match value {
            Some(value) => Edit::Set { path, value: value.to_string().into() },
            None => Edit::Remove { path },
        });
        vec(edit, 0..5).prop_map(|edits| {
            let mut apart: Vec<Edit> = Vec::new();
            for edit in edits {
                if !apart.iter().any(|before| meets(before, &edit)) {
                    apart.push(edit);
                }
            }
            apart
        })
    }

    /// Whether an edit is made of what an earlier one makes. A text knows nothing of that, but for what is removed to be set.
    fn meets(before: &Edit, edit: &Edit) -> bool {
        let key = |edit: &Edit| match edit {
            Edit::Set { path: Path::Top(key) | Path::Inner(key, _), .. }
            | Edit::Remove { path: Path::Top(key) | Path::Inner(key, _) } => key.clone(),
        };
        let is_set_anew = matches!(
            (before, edit),
            (Edit::Remove { path: Path::Top(_) }, Edit::Set { path: Path::Top(_), .. })
        );
        key(before) == key(edit) && !is_set_anew
    }

    proptest! {
        #[test]
        fn an_object_is_edited_as_its_text_is(
            members in vec((prop::sample::select(&KEYS[..]), value()), 0..4),
            edits in changes(),
        ) {
            let mut object = Map::from_iter(members);
            let text = object.to_bytes();
            let scanned = scan(&text, Limits::default()).expect("JSON");
            let spliced = splice(&text, &scanned, edits.clone()).concat();
            edit(&mut object, edits).expect("values");
            prop_assert_eq!(object.to_bytes(), spliced);
        }
    }

    #[test]
    fn what_is_removed_and_set_stays_where_it_stands() {
        let set =
            |path: Path, value: &'static str| Edit::Set { path, value: Bytes::from_static(value.as_bytes()) };
        let mut object = Map::from_iter([("a", Value::from(1_u8)), ("b", Value::from(2_u8))]);
        let edits = vec![
            Edit::Remove { path: Path::top("a") },
            set(Path::top("a"), "3"),
            set(Path::inner("c", "d"), "[4]"),
            set(Path::inner("c", "e"), "5"),
        ];
        edit(&mut object, edits).expect("values");
        assert_eq!(object.to_bytes(), br#"{"a":3,"b":2,"c":{"d":[4],"e":5}}"#[..]);
        assert!(edit(&mut object, vec![set(Path::top("a"), "no")]).is_err());
    }
}
