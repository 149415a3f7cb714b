//! Instructions that a chat takes in the core, counted by Valgrind: a figure that no other program on the machine moves.

use std::path::Path;

use anyhow::{Context, Result};

use crate::{command, debian};

const VALGRIND: &str = "valgrind";

/// Chats of two runs, whose difference leaves out the start.
const CHATS: [u64; 2] = [40, 120];

/// The transcripts whose instructions are told by the byte, and how many of each two runs read.
const SHORTEST: (&str, [u64; 2]) = ("shortest", [2, 10]);
const LONGEST: (&str, [u64; 2]) = ("longest", [1, 2]);

/// Installs what counts.
pub(super) fn install(root: &Path) -> Result<()> {
    let run = |program: &str, arguments: &[&str]| command::run(root, program, arguments);
    debian::install(VALGRIND, || debian::has(VALGRIND), run)
        .context("instructions need Valgrind to be counted")
}

/// Those of one chat of `program`, asked for with `pair` and a count, and of its answer.
pub(super) fn of_chat(program: &Path, pair: &str) -> Result<f64> {
    Ok(of_one(program, pair, ("answers", CHATS))?.0)
}

/// Those for each byte of the longest transcript, beside those for each of the shortest.
pub(super) fn growth(program: &Path, pair: &str) -> Result<f64> {
    let by_byte = |what| of_one(program, pair, what).map(|(instructions, bytes)| instructions / bytes);
    Ok(by_byte(LONGEST)? / by_byte(SHORTEST)?)
}

/// Those of one chat, and its bytes.
fn of_one(program: &Path, pair: &str, (what, [few, many]): (&str, [u64; 2])) -> Result<(f64, f64)> {
    let counted = |chats| counted(program, pair, what, chats);
    let ((most, bytes), (least, _)) = (counted(many)?, counted(few)?);
    Ok(((most - least) / (many - few) as f64, bytes))
}

/// Instructions of a run, and the bytes of a chat in it.
fn counted(program: &Path, pair: &str, what: &str, chats: u64) -> Result<(f64, f64)> {
    let (program, chats) = (program.to_string_lossy(), chats.to_string());
    let callgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let said = command::said(VALGRIND, &[&callgrind[..], &[&program, pair, &chats, what]].concat())?;
    let number = |line: Option<&str>| line.and_then(|line| line.trim().parse().ok());
    let instructions = number(said.lines().find_map(|line| Some(line.split_once("Collected :")?.1)));
    let bytes = number(said.lines().find_map(|line| line.strip_suffix(" bytes")));
    instructions.zip(bytes).with_context(|| format!("Valgrind tells no count: {said}"))
}
