//! Inputs out of other inputs.

use fastrand::Rng;

/// Longest input, in bytes.
const INPUT_BYTES_MAX: usize = 16 * 1024;

/// Pieces that parsers trip over.
const TOKENS: [&[u8]; 40] = [
    b"\"",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"null",
    b"true",
    b"\\u0000",
    b"\\ud800",
    b"\\\"",
    b"1e999",
    b"-0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\xed\xa0\x80",
    b"\0",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"\n\n",
    b"data:",
    b"event:",
    b"data: [DONE]\n\n",
    b": comment\n",
    b"--b",
    b"--b--\r\n",
    b"\"model\"",
    b"\"stream\":true",
    b"\"messages\":[]",
    b"\"content\":null",
    b"&a",
    b"*a",
    b"---\n",
    b"  - ",
    b"<<: ",
    b"99999999999999999999",
    b"\"\\u006dodel\":1",
];

/// Something near one or two of the inputs.
pub(crate) fn mutate(corpus: &[Vec<u8>], dice: &mut Rng) -> Vec<u8> {
    let mut input = dice.choice(corpus).cloned().unwrap_or_default();
    for _ in 0..dice.usize(1..6) {
        step(&mut input, corpus, dice);
    }
    input.truncate(INPUT_BYTES_MAX);
    input
}

fn step(input: &mut Vec<u8>, corpus: &[Vec<u8>], dice: &mut Rng) {
    let at = dice.usize(..=input.len());
    match dice.u8(..8) {
        0 => {
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << dice.u8(..8);
            }
        }
        1 => {
            if let Some(byte) = input.get_mut(at) {
                *byte = dice.u8(..);
            }
        }
        2 | 3 => insert(input, at, dice.choice(TOKENS).unwrap_or_default()),
        4 => {
            let end = dice.usize(at..=input.len());
            input.drain(at..end);
        }
        5 => {
            let end = dice.usize(at..=input.len());
            let piece = input.get(at..end).unwrap_or_default().repeat(dice.usize(1..40));
            insert(input, at, &piece);
        }
        6 => input.truncate(at),
        _ => {
            let other = dice.choice(corpus).map(Vec::as_slice).unwrap_or_default();
            let from = dice.usize(..=other.len());
            input.truncate(at);
            input.extend_from_slice(other.get(from..).unwrap_or_default());
        }
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let piece = piece.get(..piece.len().min(INPUT_BYTES_MAX)).unwrap_or_default();
    input.splice(at..at, piece.iter().copied());
}
