//! Rules about words inside sources: vendors that the core must not know, and attributes that switch checks off.

use super::Finding;
use super::code::{Strings, blanked, without_tests};
use super::files::is_test;
use super::repository::{File, Repository};

/// Crates that treat every provider alike. What is particular to one lives in `dialect` or `host`.
const IMPARTIAL: &[&str] = &["crates/exchange/", "crates/policy/", "crates/proxy/", "crates/extproc/"];

const VENDORS: &[&str] = &[
    "openai",
    "anthropic",
    "azure",
    "bedrock",
    "sagemaker",
    "vertex",
    "cohere",
    "gemini",
    "mistral",
    "claude",
    "deepseek",
    "groq",
];

/// Attributes that switch a check off; `#[expect(lint, reason = "...")]` says why, and ends with its cause.
const SWITCHES: &[&str] = &["#[allow(", "#![allow(", "#[ignore]", "#[ignore="];

/// No identifier and no string of the impartial crates names a vendor; comments, tests and examples may.
pub(super) fn core_names_no_vendor(repository: &Repository) -> Vec<Finding> {
    let impartial = |file: &&File| IMPARTIAL.iter().any(|folder| file.path.starts_with(folder));
    let sources = repository.files.iter().filter(impartial).filter(|file| file.path.ends_with(".rs"));
    // What a benchmark says and hears is somebody's dialect.
    let is_example = |file: &File| file.path.split('/').any(|folder| folder == "examples");
    sources.filter(|file| !is_test(file) && !is_example(file)).flat_map(vendors_in).collect()
}

fn vendors_in(file: &File) -> Vec<Finding> {
    let code = blanked(without_tests(&file.text), Strings::Kept);
    let mut findings = Vec::new();
    for (at, line) in code.lines().enumerate() {
        // `OpenAi`, `open_ai`, `open-ai` and `OPENAI` are one name.
        let plain = line.to_lowercase().replace(['_', '-'], "");
        for vendor in VENDORS.iter().filter(|vendor| plain.contains(**vendor)) {
            let message =
                format!("names {vendor}: what is particular to a vendor lives in `dialect` or `host`");
            findings.push(Finding::new(format!("{}:{}", file.path, at + 1), message));
        }
    }
    findings
}

/// No lint is allowed away and no test is ignored.
pub(super) fn nothing_is_allowed_or_ignored(repository: &Repository) -> Vec<Finding> {
    let sources = repository.files.iter().filter(|file| file.path.ends_with(".rs"));
    sources.flat_map(switches_in).collect()
}

fn switches_in(file: &File) -> Vec<Finding> {
    let code = blanked(&file.text, Strings::Blanked);
    let mut findings = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let plain: String = line.split_whitespace().collect();
        for switch in SWITCHES.iter().filter(|switch| plain.contains(**switch)) {
            let message = format!(
                "{switch} switches a check off: repair the cause, or `expect` the lint with a reason"
            );
            findings.push(Finding::new(format!("{}:{}", file.path, at + 1), message));
        }
    }
    findings
}

/// The only file with code that the compiler cannot check.
const UNCHECKED: &str = "crates/mapped/src/lib.rs";

/// The workspace denies unsafe code, and nothing but [`UNCHECKED`] expects it.
pub(super) fn code_is_checked_by_the_compiler(repository: &Repository) -> Vec<Finding> {
    let sources = repository.files.iter().filter(|file| file.path.ends_with(".rs") && file.path != UNCHECKED);
    sources.flat_map(unchecked_in).collect()
}

fn unchecked_in(file: &File) -> Vec<Finding> {
    let code = blanked(&file.text, Strings::Blanked);
    let has_it =
        |line: &str| line.split(|letter: char| !letter.is_alphanumeric()).any(|word| word == "unsafe");
    let lines = code.lines().enumerate().filter(|(_, line)| has_it(line));
    let message = "unsafe code stands in crates/mapped alone";
    lines.map(|(at, _)| Finding::new(format!("{}:{}", file.path, at + 1), message)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(check: fn(&Repository) -> Vec<Finding>, path: &str, text: &str) -> Vec<String> {
        let files = vec![File { path: path.into(), text: text.into() }];
        let found = check(&Repository { files, ..Repository::default() });
        found.into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn vendors_are_found_in_identifiers_and_strings() {
        let text = "//! OpenAI.\nuse Dialect::OpenAiChat;\nlet a = \"x-anthropic-y\"; // azure\nfn b() {}\n";
        let found = places(core_names_no_vendor, "crates/proxy/src/a.rs", text);
        assert_eq!(found, ["crates/proxy/src/a.rs:2", "crates/proxy/src/a.rs:3"]);
    }

    #[test]
    fn vendors_may_stand_in_tests_examples_and_other_crates() {
        let text = "//! A.\n#[cfg(test)]\nmod tests { const A: &str = \"openai\"; }\n";
        assert!(places(core_names_no_vendor, "crates/proxy/src/a.rs", text).is_empty());
        assert!(places(core_names_no_vendor, "crates/host/src/openai.rs", "use OpenAi;").is_empty());
        assert!(places(core_names_no_vendor, "crates/proxy/tests/a.rs", "use OpenAi;").is_empty());
        assert!(places(core_names_no_vendor, "crates/proxy/examples/a/b.rs", "use OpenAi;").is_empty());
    }

    #[test]
    fn what_is_not_checked_is_found_outside_of_its_place() {
        let text =
            "// unsafe\n#[expect(unsafe_code, reason = \"unsafe\")]\nfn unsafe_name() { unsafe { a() } }\n";
        assert_eq!(
            places(code_is_checked_by_the_compiler, "crates/a/src/b.rs", text),
            ["crates/a/src/b.rs:2", "crates/a/src/b.rs:3"]
        );
        assert!(places(code_is_checked_by_the_compiler, UNCHECKED, text).is_empty());
        assert!(
            places(code_is_checked_by_the_compiler, "crates/a/src/b.rs", "fn is_unsafely() {}\n").is_empty()
        );
    }

    #[test]
    fn switches_are_found_outside_of_comments_and_strings() {
        let text = "// #[allow(x)]\n#[ allow(dead_code)]\nlet a = \"#[ignore]\";\n#[ignore]\n";
        assert_eq!(places(nothing_is_allowed_or_ignored, "a.rs", text), ["a.rs:2", "a.rs:4"]);
    }
}
