//! The table of failures must not promise what no test shows: each row has tests for both data planes, and they are there.

use std::collections::BTreeMap;

use super::Finding;
use super::repository::{File, Repository};

const TABLE: &str = "docs/failures.md";

/// So many rows, from F1 on.
const ROWS: usize = 26;

/// Folders whose tests run on both data planes.
const BOTH: &[&str] = &["suite/tests/planes/", "crates/cli/tests/ledger/"];

/// The column of tests names some for each data plane: `both: \`one\`, \`another\`; Envoy: \`a third\``. Each is a test, those of both are where tests run
/// on both, and every test of the suite that is named after a row is in it.
pub(super) fn are_tested(repository: &Repository) -> Vec<Finding> {
    let Some(table) = repository.files.iter().find(|file| file.path == TABLE) else {
        return vec![Finding::new(TABLE, "is missing")];
    };
    let rows: Vec<Row<'_>> = table.text.lines().filter_map(row).collect();
    let tests = tests(&repository.files);
    let mut messages = Vec::new();
    for number in 1..=ROWS {
        let name = format!("F{number}");
        match rows.iter().filter(|row| row.name == name).collect::<Vec<_>>().as_slice() {
            [row] => messages.extend(mistakes(row, &tests)),
            others => messages.push(format!("has {} rows {name}, expected one", others.len())),
        }
    }
    messages.extend(unnamed(&rows, &tests));
    messages.into_iter().map(|message| Finding::new(TABLE, message)).collect()
}

/// A row: its name, and its tests by who runs them.
struct Row<'a> {
    name: &'a str,
    tests: Vec<(&'a str, Vec<&'a str>)>,
}

fn row(line: &str) -> Option<Row<'_>> {
    let cells: Vec<&str> = line.strip_prefix("| F")?.strip_suffix('|')?.split('|').map(str::trim).collect();
    let name = line.strip_prefix("| ")?.split(' ').next()?;
    let tests = cells.last()?.split(';').filter_map(|part| {
        let (plane, names) = part.split_once(':')?;
        Some((plane.trim(), names.split('`').skip(1).step_by(2).collect()))
    });
    Some(Row { name, tests: tests.collect() })
}

/// The files of tests by their names.
type Tests<'a> = BTreeMap<&'a str, &'a str>;

fn tests(files: &[File]) -> Tests<'_> {
    files.iter().filter(|file| file.path.ends_with(".rs")).flat_map(tests_of).collect()
}

/// Functions right below an attribute that makes them tests.
fn tests_of(file: &File) -> impl Iterator<Item = (&str, &str)> {
    let is_mark = |line: &str| matches!(line.trim(), "#[test]" | "#[tokio::test]");
    let after_marks = file.text.lines().zip(file.text.lines().skip(1)).filter(move |(mark, _)| is_mark(mark));
    after_marks.filter_map(|(_, line)| {
        let name = line.trim().trim_start_matches("async ").strip_prefix("fn ")?.split('(').next()?;
        Some((name, file.path.as_str()))
    })
}

fn mistakes(row: &Row<'_>, tests: &Tests<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let has = |plane: &str| row.tests.iter().any(|(runs, names)| *runs == plane && !names.is_empty());
    let is_shown = has("both") || (has("embedded") && has("Envoy"));
    if !is_shown {
        found.push(format!("{} has no tests for both data planes", row.name));
    }
    for (plane, name) in
        row.tests.iter().flat_map(|(plane, names)| names.iter().map(move |name| (*plane, *name)))
    {
        let runs_on_both = |path: &str| BOTH.iter().any(|folder| path.starts_with(folder));
        match tests.get(name) {
            None => found.push(format!("{} names {name}, which is no test", row.name)),
            Some(path) if (plane == "both") != runs_on_both(path) => {
                found.push(format!("{} says that {plane} run {name}, which is in {path}", row.name));
            }
            Some(_) if !["both", "embedded", "Envoy"].contains(&plane) => {
                found.push(format!("{} says {plane}, expected both, embedded or Envoy", row.name));
            }
            Some(_) => {}
        }
    }
    found
}

/// Tests that are named after a row that does not name them.
fn unnamed(rows: &[Row<'_>], tests: &Tests<'_>) -> Vec<String> {
    let row_of = |name: &str| {
        let (number, _) = name.strip_prefix('f')?.split_once('_')?;
        number.parse::<usize>().ok().map(|number| format!("F{number}"))
    };
    let named = |row: &str, test: &str| {
        let mut rows = rows.iter().filter(|one| one.name == row);
        rows.any(|row| row.tests.iter().any(|(_, names)| names.contains(&test)))
    };
    let after_rows = tests.keys().filter_map(|test| Some((row_of(test)?, *test)));
    after_rows
        .filter(|(row, test)| !named(row, test))
        .map(|(row, test)| format!("{row} does not name its test {test}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(first: &str, tests: &[(&str, &str)]) -> Vec<String> {
        let others = (2..=ROWS).map(|number| format!("| F{number} | x | both: `works` |\n"));
        let text = format!("| row |\n|---|\n{first}{}", others.collect::<String>());
        let works = ("suite/tests/planes/a.rs", "#[test]\nfn works() {}\n");
        let file = |(path, text): &(&str, &str)| File { path: (*path).into(), text: (*text).into() };
        let mut files: Vec<File> = tests.iter().chain([&works]).map(file).collect();
        files.push(File { path: TABLE.into(), text });
        let repository = Repository { files, ..Repository::default() };
        are_tested(&repository).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn a_row_with_tests_for_both_planes_is_good() {
        assert!(found("| F1 | x | both: `works` |\n", &[]).is_empty());
        let apart = [
            ("crates/proxy/src/tests.rs", "    #[tokio::test]\n    async fn one() {}\n"),
            ("crates/cli/tests/load/b.rs", "#[test]\nfn two() {}\n"),
        ];
        assert!(found("| F1 | x | embedded: `one`; Envoy: `two` |\n", &apart).is_empty());
    }

    #[test]
    fn a_row_must_not_promise_more_than_there_is() {
        assert_eq!(found("", &[]), ["has 0 rows F1, expected one"]);
        let renamed = "| F1 | x | both: `worked` |\n";
        assert_eq!(found(renamed, &[]), ["F1 names worked, which is no test"]);
        let helper = [("suite/tests/planes/b.rs", "fn worked() {}\n")];
        assert_eq!(found(renamed, &helper), ["F1 names worked, which is no test"]);
        let elsewhere = [("crates/proxy/src/tests.rs", "#[test]\nfn worked() {}\n")];
        assert_eq!(
            found(renamed, &elsewhere),
            ["F1 says that both run worked, which is in crates/proxy/src/tests.rs"]
        );
        assert_eq!(
            found("| F1 | x | embedded: `worked` |\n", &elsewhere),
            ["F1 has no tests for both data planes"]
        );
        let left_out = [("suite/tests/planes/b.rs", "#[test]\nfn f1_another() {}\n")];
        assert_eq!(
            found("| F1 | x | both: `works` |\n", &left_out),
            ["F1 does not name its test f1_another"]
        );
    }
}
