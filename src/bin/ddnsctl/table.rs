//! Plain tables for people.

use std::iter;

use crate::style;

/// Rows of cells in columns, two spaces apart, below a head.
pub fn render<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let head = head.map(str::to_owned);
    let mut widths = [0; N];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in [&head].into_iter().chain(rows) {
        let mut missing = 0;
        for (cell, width) in row.iter().zip(widths) {
            // Not by a format's width, which ends at 65,535; and not after the last cell, since
            // that of one row may be as long as all others together.
            if !cell.is_empty() {
                text.extend(iter::repeat_n(' ', missing));
                text.push_str(cell);
                missing = 0;
            }
            missing += 2 + width - cell.chars().count();
        }
        text.push('\n');
    }
    let (head, rows) = text.split_once('\n').unwrap_or_default();
    format!("{}\n{rows}", style::head(head))
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a", "long", ""], ["bcd", "", ""], ["", "", "e"]];
        let rows = rows.map(|row| row.map(str::to_owned));
        let table = "a    long\nbcd\n           e\n";
        let head = crate::style::head("X    Y     Z");
        assert_eq!(super::render(["X", "Y", "Z"], &rows), format!("{head}\n{table}"));
    }

    #[test]
    fn a_cell_may_be_of_any_length() {
        let long = "x".repeat(100_000);
        let text = super::render(["X"], &[[long.clone()], ["y".to_owned()]]);
        let head = crate::style::head("X");
        assert_eq!(text, format!("{head}\n{long}\ny\n"));
        // Spaces up to that width in each row would be 10 GB.
        let rows = vec![["y".to_owned()]; 100_000];
        let rows = [vec![[long.clone()]], rows].concat();
        let length = head.len() + 1 + long.len() + 1 + 2 * 100_000;
        assert_eq!(super::render(["X"], &rows).len(), length);
    }
}
