//! Texts cut where what they rest on begins and ends, for dialects in which a source belongs to all of its element.

use std::collections::BTreeSet;
use std::ops::Range;

use tollgate_chat::Citation;
use tollgate_wire::json::Text;

/// Most sources of the pieces of one text: a few bytes may lay one span over all of the others.
const CITED_MAX: usize = 1 << 14;

/// A part of a text.
#[derive(Debug, PartialEq)]
pub(crate) struct Piece {
    /// What it says, which is something.
    pub(crate) text: Text,
    /// What it rests on, with the number among the citations of the text. A span is left where it is not the one of the pieces.
    pub(crate) citations: Vec<(usize, Citation)>,
}

/// Cuts a text where spans begin and end. A source of several pieces is one of each. Whatever shows nothing goes with the piece before it:
/// APIs refuse blank texts.
pub(crate) fn cut(text: Text, citations: Vec<Citation>) -> Vec<Piece> {
    if citations.iter().all(|citation| citation.span.is_none()) {
        return vec![Piece { text, citations: citations.into_iter().enumerate().collect() }];
    }
    let read = text.as_str();
    let mut places = places(&read, &citations);
    let covers = |places: &[Place]| -> usize {
        citations.iter().map(|citation| covered(places, citation.span.as_ref()).len()).sum()
    };
    if covers(&places) > CITED_MAX {
        places = vec![Place::of_all(&read)];
    }
    let texts = places.iter().map(|place| read.get(place.bytes.clone()).unwrap_or_default().into());
    let mut pieces: Vec<Piece> = texts.map(|text| Piece { text, citations: Vec::new() }).collect();
    for (number, mut citation) in citations.into_iter().enumerate() {
        let mut on = covered(&places, citation.span.as_ref());
        if let Some(span) = &citation.span {
            let last = on.clone().next_back().and_then(|last| places.get(last));
            if last.is_some_and(|last| span.end >= last.end) {
                citation.span = None;
            } else if last.is_none() {
                // It covers nothing: where it begins is the best that is known.
                let at = places.partition_point(|place| place.first <= span.start).saturating_sub(1);
                on = at..at + 1;
            }
        }
        for piece in pieces.get_mut(on).into_iter().flatten() {
            piece.citations.push((number, citation.clone()));
        }
    }
    pieces
}

/// Where a piece is.
struct Place {
    bytes: Range<usize>,
    /// The first character of that of it which is not blank between two cuts.
    first: u64,
    /// Behind the last one.
    end: u64,
}

impl Place {
    fn of_all(text: &str) -> Self {
        Self { bytes: 0..text.len(), first: 0, end: text.chars().count() as u64 }
    }
}

/// The places of the pieces, in their order: at least one.
fn places(text: &str, citations: &[Citation]) -> Vec<Place> {
    let spans = citations.iter().filter_map(|citation| citation.span.clone()).filter(|span| !span.is_empty());
    let cuts: BTreeSet<u64> = spans.flat_map(|span| [span.start, span.end]).collect();
    let mut bytes = text.char_indices().map(|(at, _)| at).enumerate();
    let mut at = 0;
    let ends = cuts.into_iter().filter(|cut| *cut > 0);
    let ends = ends.map_while(|cut| {
        let skipped = usize::try_from(cut).ok()?.checked_sub(at)?;
        let (number, byte) = bytes.nth(skipped)?;
        at = number + 1;
        Some((cut, byte))
    });
    let ends: Vec<(u64, usize)> = ends.collect();
    let last = (text.chars().count() as u64, text.len());
    let mut places: Vec<Place> = Vec::with_capacity(ends.len() + 1);
    let (mut first, mut from, mut shown) = (0, 0, 0);
    for (end, to) in ends.into_iter().chain([last]) {
        let is_blank = text.get(from..to).is_none_or(|piece| piece.trim().is_empty());
        match places.last_mut() {
            Some(before) if is_blank => before.bytes.end = to,
            None if is_blank => {}
            _ => places.push(Place { bytes: shown..to, first, end }),
        }
        // What is blank before the first piece goes with that.
        shown = if places.is_empty() { 0 } else { to };
        (first, from) = (end, to);
    }
    if places.is_empty() {
        places.push(Place::of_all(text));
    }
    places
}

/// The pieces that a span covers.
fn covered(places: &[Place], span: Option<&Range<u64>>) -> Range<usize> {
    let Some(span) = span else { return 0..places.len() };
    let from = places.partition_point(|place| place.first < span.start);
    let to = places.partition_point(|place| place.first < span.end);
    from..to.max(from)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollgate_chat::CitedSource;

    use super::*;

    fn cited(number: usize, span: Option<Range<u64>>) -> Citation {
        let source = CitedSource::Web { url: number.to_string(), proof: None };
        Citation { source, title: None, quote: None, span }
    }

    /// A piece: its text, and the number and the span of what it rests on.
    type Said = (String, Vec<(usize, Option<Range<u64>>)>);

    fn said(text: &str, spans: &[Option<Range<u64>>]) -> Vec<Said> {
        let citations = spans.iter().enumerate().map(|(number, span)| cited(number, span.clone())).collect();
        let said = |piece: Piece| {
            let on = piece.citations.into_iter().map(|(number, citation)| (number, citation.span));
            (piece.text.to_string(), on.collect())
        };
        cut(text.into(), citations).into_iter().map(said).collect()
    }

    fn piece<T>(text: &str, on: Vec<T>) -> (String, Vec<T>) {
        (text.to_owned(), on)
    }

    #[test]
    fn cuts_where_spans_begin_and_end() {
        assert_eq!(
            said("“é” is here. So.", &[Some(0..3), Some(0..12), None]),
            [
                piece("“é”", vec![(0, None), (1, None), (2, None)]),
                piece(" is here.", vec![(1, None), (2, None)]),
                piece(" So.", vec![(2, None)]),
            ]
        );
        assert_eq!(said("all of it", &[Some(0..9)]), [piece("all of it", vec![(0, None)])]);
        assert_eq!(said("all of it", &[Some(0..99)]), [piece("all of it", vec![(0, None)])]);
    }

    #[test]
    fn what_is_blank_is_no_piece() {
        assert_eq!(
            said(" \na b\n", &[Some(2..3), Some(4..5)]),
            [piece(" \na ", vec![(0, None)]), piece("b\n", vec![(1, None)])]
        );
        assert_eq!(said("  ", &[Some(0..1)]), [piece("  ", vec![(0, Some(0..1))])]);
    }

    #[test]
    fn a_span_that_covers_nothing_stands_where_it_begins() {
        assert_eq!(
            said("one two", &[Some(0..3), Some(5..5), Some(50..60)]),
            [piece("one", vec![(0, None)]), piece(" two", vec![(1, Some(5..5)), (2, Some(50..60))])]
        );
    }

    #[test]
    fn spans_over_one_another_are_bounded() {
        let spans: Vec<_> = (0..2000).map(|number| Some(number..4000 - number)).collect();
        let pieces = said(&"x".repeat(4000), &spans);
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].1.len(), 2000);
        assert_eq!(pieces[0].1[..2], [(0, None), (1, Some(1..3999))]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost(
            text in "[ a語]{0,12}",
            spans in prop::collection::vec(prop::option::of((0..14_u64, 0..14_u64).prop_map(|(a, b)| a..b)), 0..5),
        ) {
            let pieces = said(&text, &spans);
            prop_assert_eq!(pieces.iter().map(|(text, _)| text.as_str()).collect::<String>(), text.clone());
            prop_assert!(pieces.len() == 1 || pieces.iter().all(|(text, _)| !text.trim().is_empty()));
            for (number, span) in spans.iter().enumerate() {
                let on = |(_, on): &&Said| on.iter().any(|(n, _)| *n == number);
                let covered: String = pieces.iter().filter(on).map(|(text, _)| text.as_str()).collect();
                prop_assert!(pieces.iter().any(|piece| on(&piece)));
                let is_exact = pieces.iter().flat_map(|(_, on)| on).all(|(n, span)| *n != number || span.is_none());
                if let (true, Some(span)) = (is_exact, span) {
                    let wanted: String = text.chars().skip(span.start as usize).take((span.end - span.start) as usize).collect();
                    let seen = |text: &str| text.split_whitespace().collect::<String>();
                    prop_assert_eq!(seen(&covered), seen(&wanted));
                }
            }
        }
    }
}
