//! Plain tables for people.

use std::iter;

/// Rows of cells in columns, two spaces apart.
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
        let line = text.len();
        for (cell, width) in row.iter().zip(widths) {
            text.push_str(cell);
            // Not by a format's width, which ends at 65,535.
            text.extend(iter::repeat_n(' ', 2 + width - cell.chars().count()));
        }
        text.truncate(line + text.get(line..).map_or(0, |line| line.trim_end().len()));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["a".to_owned(), "long".to_owned()], ["bcd".to_owned(), String::new()]];
        assert_eq!(super::render(["X", "Y"], &rows), "X    Y\na    long\nbcd\n");
    }

    #[test]
    fn a_cell_may_be_of_any_length() {
        let long = "x".repeat(100_000);
        let text = super::render(["X"], &[[long.clone()], ["y".to_owned()]]);
        assert_eq!(text, format!("X\n{long}\ny\n"));
    }
}
