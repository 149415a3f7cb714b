//! The table of what is translated, made from the goldens of `crates/dialect/golden/matrix`, so that it cannot say more than they do.
//!
//! `cargo xtask features` writes it into the README; tidy compares.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::Outcome;

/// Where the table is, and what stands before and behind it.
pub(crate) const TABLE: &str = "README.md";
pub(crate) const BEGIN: &str = "<!-- features -->\n";
pub(crate) const END: &str = "<!-- end of features -->";

/// Folder of the goldens.
pub(crate) const GOLDENS: &str = "crates/dialect/golden/matrix/";

/// Dialects, by label, with who speaks them: clients, and backends.
const DIALECTS: [(&str, Option<&str>, &str); 5] = [
    ("openai_chat", Some("OpenAI chat"), "OpenAI, Azure, SageMaker, vLLM and compatible"),
    ("openai_responses", Some("OpenAI responses"), "OpenAI, Azure, by responses"),
    ("anthropic_messages", Some("Anthropic messages"), "Claude at Anthropic, Bedrock, Vertex AI, Azure"),
    ("gemini", Some("Gemini"), "Gemini at Vertex AI and by its API"),
    ("bedrock_converse", None, "Bedrock, by Converse"),
];

/// Cases, in the order of the columns.
const FEATURES: [(&str, &str); 13] = [
    ("chat", "chat"),
    ("tools", "tools"),
    ("parallel_tools", "parallel tools"),
    ("images", "images"),
    ("images_by_url", "images by URL"),
    ("documents", "documents"),
    ("citations", "citations"),
    ("logprobs", "log probabilities"),
    ("thinking", "thinking"),
    ("cache", "cache points"),
    ("structured_output", "structured output"),
    ("refusal", "refusal"),
    ("truncation", "truncation"),
];

/// A golden: its path below [`GOLDENS`], and what it says.
pub(crate) struct Golden<'a> {
    pub(crate) path: &'a str,
    pub(crate) text: &'a str,
}

/// The table.
pub(crate) fn table(goldens: &[Golden<'_>]) -> String {
    let by_path: BTreeMap<&str, &str> = goldens.iter().map(|golden| (golden.path, golden.text)).collect();
    let mut out = String::from("| client | backend |");
    for (_, feature) in FEATURES {
        let _ = write!(out, " {feature} |");
    }
    out.push_str("\n|---|---|");
    out.push_str(&":-:|".repeat(FEATURES.len()));
    out.push('\n');
    for (client, name, _) in DIALECTS {
        let Some(name) = name else { continue };
        for (backend, _, provider) in DIALECTS {
            let _ = write!(out, "| {name} | {provider} |");
            for (case, _) in FEATURES {
                let _ = write!(out, " {} |", cell(&by_path, case, client, backend));
            }
            out.push('\n');
        }
    }
    out
}

fn cell(goldens: &BTreeMap<&str, &str>, case: &str, client: &str, backend: &str) -> &'static str {
    if client == backend {
        return "=";
    }
    let file = |name: String| goldens.get(format!("{case}/{name}").as_str()).copied();
    let request = file(format!("{client}_to_{backend}.request.json"));
    let answer = file(format!("{client}_from_{backend}.answer.json"));
    let stream = file(format!("{client}_from_{backend}.stream.sse"));
    if request.is_some_and(|text| text.starts_with('"')) {
        return "422";
    }
    if request.is_none() && answer.is_none() && stream.is_none() {
        return "";
    }
    let losses = file("losses.txt".to_owned()).unwrap_or_default();
    let own = [format!("{client}_to_{backend} "), format!("{client}_from_{backend} ")];
    let changes = |line: &&str| {
        own.iter().any(|pair| line.starts_with(pair.as_str())) && line.contains("effect: Meaning")
    };
    if losses.lines().any(|line| changes(&line)) { "~" } else { "yes" }
}

/// The document with the table in its place; `None` where there is no place.
pub(crate) fn placed(document: &str, table: &str) -> Option<String> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, behind) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n{table}\n{END}{behind}"))
}

/// Writes the table.
pub fn run(root: &Path) -> Result<Outcome> {
    let mut files = Vec::new();
    for case in fs::read_dir(root.join(GOLDENS)).context(GOLDENS)? {
        let case = case?;
        for golden in fs::read_dir(case.path())? {
            let golden = golden?;
            let name = format!("{}/{}", case.file_name().display(), golden.file_name().display());
            files.push((name, fs::read_to_string(golden.path())?));
        }
    }
    let goldens: Vec<_> = files.iter().map(|(path, text)| Golden { path, text }).collect();
    let path = root.join(TABLE);
    let document = fs::read_to_string(&path).context(TABLE)?;
    let written =
        placed(&document, &table(&goldens)).with_context(|| format!("{TABLE} has no place for it"))?;
    fs::write(&path, written)?;
    Ok(Outcome::Good)
}
