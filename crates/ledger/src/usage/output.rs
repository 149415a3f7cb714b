//! Reports as texts: a table for people, CSV for spreadsheets, JSON for programs.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use super::{Report, Row, Totals};

/// How a report looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// For spreadsheets.
    Csv,
    /// For programs.
    Json,
}

/// What stands for a key that nobody has told, in a table.
const UNTOLD: &str = "-";

impl Report {
    /// The report as a text.
    pub fn write(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(),
            Format::Csv => self.csv(),
            Format::Json => format!("{:#}\n", self.json()),
        }
    }

    /// The report as JSON.
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            let keys = self.by.iter().zip(&row.key).map(|(by, key)| (by.label().to_owned(), json!(key)));
            Value::Object(keys.chain(members(&row.totals)).collect())
        };
        let by: Vec<_> = self.by.iter().map(|by| by.label()).collect();
        let rows: Vec<_> = self.rows.iter().map(row).collect();
        json!({ "by": by, "rows": rows, "total": Map::from_iter(members(&self.total)) })
    }

    fn csv(&self) -> String {
        let names = members(&Totals::default()).map(|(name, _)| name);
        let head = self.by.iter().map(|by| by.label().to_owned()).chain(names);
        let mut text = line(head);
        for Row { key, totals } in self.lines() {
            let keys = key.iter().map(|key| key.clone().unwrap_or_default());
            let numbers = members(&totals).map(|(_, value)| match value {
                Value::Null => String::new(),
                value => value.to_string(),
            });
            text += &line(keys.chain(numbers));
        }
        text
    }

    /// The rows; the total is the only one of a report that tells nothing apart.
    fn lines(&self) -> Vec<Row> {
        if self.by.is_empty() {
            return vec![Row { key: Vec::new(), totals: self.total.clone() }];
        }
        self.rows.clone()
    }

    fn table(&self) -> String {
        let names =
            ["REQUESTS", "ATTEMPTS", "INPUT", "CACHED", "OUTPUT", "REASONING", "TOTAL", "COST", "UNPRICED"];
        let head = self.by.iter().map(|by| by.label().to_uppercase().replace('_', " "));
        let mut lines = vec![head.chain(names.map(str::to_owned)).collect::<Vec<_>>()];
        for Row { key, totals } in self.lines() {
            let keys = key.into_iter().map(|key| key.map_or_else(|| UNTOLD.to_owned(), |key| visible(&key)));
            lines.push(keys.chain(cells(&totals)).collect());
        }
        if !self.by.is_empty() {
            let keys =
                self.by.iter().enumerate().map(|(at, _)| if at == 0 { "TOTAL" } else { "" }.to_owned());
            lines.push(keys.chain(cells(&self.total)).collect());
        }
        aligned(&lines, self.by.len())
    }
}

fn members(totals: &Totals) -> impl Iterator<Item = (String, Value)> + use<> {
    let Totals {
        requests,
        attempts,
        orphaned,
        input_tokens,
        cached_input_tokens,
        cache_creation_input_tokens,
        output_tokens,
        reasoning_tokens,
        total_tokens,
        cost_nanodollars,
        unpriced,
    } = totals;
    let members = [
        ("requests", json!(requests)),
        ("attempts", json!(attempts)),
        ("orphaned", json!(orphaned)),
        ("input_tokens", json!(input_tokens)),
        ("cached_input_tokens", json!(cached_input_tokens)),
        ("cache_creation_input_tokens", json!(cache_creation_input_tokens)),
        ("output_tokens", json!(output_tokens)),
        ("reasoning_tokens", json!(reasoning_tokens)),
        ("total_tokens", json!(total_tokens)),
        ("cost_nanodollars", json!(cost_nanodollars)),
        ("unpriced", json!(unpriced)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value))
}

fn cells(totals: &Totals) -> [String; 9] {
    [
        totals.requests.to_string(),
        totals.attempts.to_string(),
        totals.input_tokens.to_string(),
        totals.cached_input_tokens.to_string(),
        totals.output_tokens.to_string(),
        totals.reasoning_tokens.to_string(),
        totals.total_tokens.to_string(),
        totals.cost_nanodollars.map_or_else(|| UNTOLD.to_owned(), dollars),
        totals.unpriced.to_string(),
    ]
}

/// A caller's name is not to move the cursor of whoever reads it.
fn visible(key: &str) -> String {
    key.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Billionths of a dollar, exactly: `$1.50`, `$0.000125`.
fn dollars(nanodollars: u64) -> String {
    let (whole, part) = (nanodollars / 1_000_000_000, nanodollars % 1_000_000_000);
    let part = format!("{part:09}");
    let (cents, rest) = part.split_at_checked(2).unwrap_or((&part, ""));
    format!("${whole}.{cents}{}", rest.trim_end_matches('0'))
}

/// Texts to the left, numbers to the right.
fn aligned(lines: &[Vec<String>], texts: usize) -> String {
    let length = |cell: &String| cell.chars().count();
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..columns)
        .map(|column| lines.iter().filter_map(|line| line.get(column)).map(length).max().unwrap_or(0))
        .collect();
    let mut text = String::new();
    for line in lines {
        let mut row = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = if column == 0 { "" } else { "  " };
            // Writing to a String does not fail.
            let _ = if column < texts {
                write!(row, "{gap}{cell:<width$}")
            } else {
                write!(row, "{gap}{cell:>width$}")
            };
        }
        text += row.trim_end();
        text.push('\n');
    }
    text
}

/// A line of CSV (RFC 4180, with the line ends of this system).
fn line(cells: impl Iterator<Item = String>) -> String {
    let quoted = |cell: String| {
        if cell.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    };
    let cells: Vec<_> = cells.map(quoted).collect();
    cells.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::Dimension;

    fn report() -> Report {
        let totals = Totals { requests: 2, attempts: 3, input_tokens: 10, ..Totals::default() };
        let priced = Totals { cost_nanodollars: Some(1_500_000_000), unpriced: 1, ..totals.clone() };
        Report {
            by: vec![Dimension::Team, Dimension::RequestedModel],
            rows: vec![
                Row { key: vec![None, Some("m".to_owned())], totals },
                Row {
                    key: vec![Some("a,\"b\"".to_owned()), Some("long-model".to_owned())],
                    totals: priced.clone(),
                },
            ],
            total: priced,
        }
    }

    #[test]
    fn a_table_is_for_people() {
        let expected = "\
TEAM   REQUESTED MODEL  REQUESTS  ATTEMPTS  INPUT  CACHED  OUTPUT  REASONING  TOTAL   COST  UNPRICED
-      m                       2         3     10       0       0          0      0      -         0
a,\"b\"  long-model              2         3     10       0       0          0      0  $1.50         1
TOTAL                          2         3     10       0       0          0      0  $1.50         1
";
        assert_eq!(report().write(Format::Table), expected);
    }

    #[test]
    fn csv_is_for_spreadsheets() {
        let expected = "\
team,requested_model,requests,attempts,orphaned,input_tokens,cached_input_tokens,cache_creation_input_tokens,output_tokens,reasoning_tokens,total_tokens,cost_nanodollars,unpriced
,m,2,3,0,10,0,0,0,0,0,,0
\"a,\"\"b\"\"\",long-model,2,3,0,10,0,0,0,0,0,1500000000,1
";
        assert_eq!(report().write(Format::Csv), expected);
    }

    #[test]
    fn json_is_for_programs() {
        let json = report().json();
        assert_eq!(json["by"], json!(["team", "requested_model"]));
        assert_eq!(json["rows"][0]["team"], Value::Null);
        assert_eq!(json["rows"][0]["cost_nanodollars"], Value::Null);
        assert_eq!(json["rows"][1]["cost_nanodollars"], 1_500_000_000_u64);
        assert_eq!(json["total"]["attempts"], 3);
    }

    #[test]
    fn money_is_told_exactly() {
        assert_eq!(dollars(0), "$0.00");
        assert_eq!(dollars(125_000), "$0.000125");
        assert_eq!(dollars(1_500_000_000), "$1.50");
        assert_eq!(dollars(u64::MAX), "$18446744073.709551615");
    }
}
