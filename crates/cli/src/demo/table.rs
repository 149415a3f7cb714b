//! A table on a terminal: columns as wide as their widest cell.

use std::fmt::Write;

use crate::paint::{Paint, Tint};

/// On which side a column's cells begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Align {
    Left,
    Right,
}

/// A cell: its text, and its colour if it has one.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tint: Option<Tint>,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, tint: None }
    }
}

/// The table with a heading. Rows that are shorter than the heading end early.
pub(crate) fn table(heading: &[(&str, Align)], rows: &[Vec<Cell>], paint: Paint) -> String {
    let widths: Vec<usize> = heading
        .iter()
        .enumerate()
        .map(|(column, (title, _))| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| letters(&cell.text)).chain([letters(title)]).max().unwrap_or(0)
        })
        .collect();
    let titles: Vec<Cell> = heading
        .iter()
        .map(|(title, _)| Cell { text: (*title).to_owned(), tint: Some(Tint::Faint) })
        .collect();
    let mut out = String::new();
    for row in std::iter::once(&titles).chain(rows) {
        let mut line = String::new();
        for ((cell, width), (_, align)) in row.iter().zip(&widths).zip(heading) {
            let gap = " ".repeat(width.saturating_sub(letters(&cell.text)));
            let text = match cell.tint {
                Some(tint) => paint.tint(tint, &cell.text).to_string(),
                None => cell.text.clone(),
            };
            // Writing to a String does not fail.
            let _ = match align {
                Align::Left => write!(line, "{text}{gap}  "),
                Align::Right => write!(line, "{gap}{text}  "),
            };
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

fn letters(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 3]| cells.map(|cell| Cell::from(cell.to_owned())).to_vec();
        let rows = [row(["a", "1", "x"]), row(["long", "1000", "—"])];
        let heading = [("name", Align::Left), ("n", Align::Right), ("end", Align::Left)];
        let expected = "name     n  end\na        1  x\nlong  1000  —\n";
        assert_eq!(table(&heading, &rows, Paint::Plain), expected);
    }
}
