//! Instructions that a chat takes in the core, counted by Valgrind: a figure that no other program on the machine moves.

use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::{command, debian};

const VALGRIND: &str = "valgrind";

/// Chats of two runs, whose difference leaves out the start.
const CHATS: [u64; 2] = [40, 120];

/// Installs what counts.
pub(super) fn install(root: &Path) -> Result<()> {
    let run = |program: &str, arguments: &[&str]| command::run(root, program, arguments);
    debian::install(VALGRIND, || debian::has(VALGRIND), run)
        .context("instructions need Valgrind to be counted")
}

/// Those of one chat of `program`, asked for with `pair` and a count, and of its answer.
pub(super) fn of_chat(program: &Path, pair: &str) -> Result<f64> {
    let [few, many] = CHATS;
    let counted = |chats| counted(program, pair, chats);
    Ok((counted(many)? - counted(few)?) as f64 / (many - few) as f64)
}

fn counted(program: &Path, pair: &str, chats: u64) -> Result<u64> {
    let (program, chats) = (program.to_string_lossy(), chats.to_string());
    let callgrind = ["--tool=callgrind", "--callgrind-out-file=/dev/null"];
    let said = command::said(VALGRIND, &[&callgrind[..], &[&program, pair, &chats, "answers"]].concat())?;
    let count = said.lines().find_map(|line| line.split_once("Collected :"));
    let Some((_, count)) = count else { bail!("Valgrind tells no count: {said}") };
    count.trim().parse().with_context(|| format!("{count:?} is no count"))
}
