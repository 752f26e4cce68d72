//! Tables as text.

use std::io::stdout;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement};
use terminal_size::{Width, terminal_size_of};
use unicode_width::UnicodeWidthStr;

/// An id with the spaces beside it.
const ID_WIDTH: u16 = 38;

/// How much of a text is shown if no terminal says how wide it is, in columns.
const TEXT_SHOWN: usize = 90;
/// Less says nothing.
const TEXT_SHOWN_MIN: usize = 40;
/// Where a line wraps, a word of this length does not fit.
const WORD: usize = 8;

/// A table with column titles.
#[derive(Debug)]
pub struct TextTable {
    inner: comfy_table::Table,
}

impl TextTable {
    /// A table with these column titles.
    pub fn new<const N: usize>(titles: [&str; N]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner
            .load_style(UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(titles);
        if let Some((Width(columns), _)) = terminal_size_of(stdout()) {
            inner.set_width(columns);
        }
        Self { inner }
    }

    /// Adds a row. Control characters become spaces, so that no text moves the cursor.
    pub fn row<const N: usize>(&mut self, cells: [String; N]) -> &mut Self {
        self.inner.add_row(cells.map(|cell| harmless(&cell)));
        self
    }

    /// Aligns a column to the right, for numbers.
    #[must_use]
    pub fn right(mut self, column: usize) -> Self {
        if let Some(column) = self.inner.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        self
    }
}

impl TextTable {
    /// The first column has an id, and below it what else is said about the row in words that wrap. The others stay on
    /// one line.
    #[must_use]
    pub fn with_ids(mut self) -> Self {
        let id = ColumnConstraint::LowerBoundary(comfy_table::Width::Fixed(ID_WIDTH));
        for (at, column) in self.inner.column_iter_mut().enumerate() {
            column.set_constraint(if at == 0 {
                id
            } else {
                ColumnConstraint::ContentWidth
            });
        }
        self
    }
}

impl std::fmt::Display for TextTable {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(formatter)
    }
}

/// How much of a text to show in the last column, beside columns whose widest cells are so wide: what fits on its line
/// of the terminal, or on two if that is little.
pub fn room_beside<const N: usize>(widths: [usize; N]) -> usize {
    // Each column has a space on both sides and a line.
    let taken: usize = widths.iter().sum::<usize>() + 3 * (N + 1) + 1;
    let terminal = terminal_size_of(stdout());
    terminal.map_or(TEXT_SHOWN, |(Width(columns), _)| {
        room_in(usize::from(columns).saturating_sub(taken))
    })
}

/// How wide the widest of these cells is.
pub fn widest<'c>(cells: impl Iterator<Item = &'c str>) -> usize {
    cells.map(UnicodeWidthStr::width).max().unwrap_or_default()
}

fn room_in(columns: usize) -> usize {
    if columns >= TEXT_SHOWN {
        columns
    } else {
        let lines = (2 * columns).saturating_sub(WORD);
        lines.clamp(TEXT_SHOWN_MIN, TEXT_SHOWN)
    }
}

/// A text on one line, truncated to this many columns. A Chinese character or an emoji takes two.
pub fn one_line(text: &str, columns: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let text = words.join(" ");
    if text.width() <= columns {
        return text;
    }
    let mut shown = String::new();
    for character in text.chars() {
        shown.push(character);
        // The last column is for the ellipsis.
        if shown.width() >= columns {
            shown.pop();
            break;
        }
    }
    shown + "…"
}

/// Replaces control characters and direction marks, which a terminal would obey.
pub(super) fn harmless(text: &str) -> String {
    let is_control = |c: char| {
        c.is_control()
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    text.chars()
        .map(|c| if is_control(c) && c != '\n' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_truncated_to_one_line() {
        assert_eq!(one_line("a\n b", 10), "a b");
        assert_eq!(one_line("lost dog near the park", 9), "lost dog…");
        assert_eq!(one_line("丢失的猫", 8), "丢失的猫");
        assert_eq!(one_line("丢失的猫", 7), "丢失的…");
        assert_eq!(one_line("🐈🐈🐈", 5), "🐈🐈…");
    }

    #[test]
    fn texts_take_a_line_of_a_wide_terminal_and_two_of_a_narrow_one() {
        let rooms = [140, 90, 60, 30, 5, 0].map(room_in);
        assert_eq!(rooms, [140, 90, 90, 52, 40, 40]);
    }

    #[test]
    fn wide_characters_line_up_and_a_table_fits_its_terminal() {
        let mut table = TextTable::new(["score", "post"]).right(0);
        table.inner.set_width(80);
        for text in [
            "丢失的猫在公园附近".repeat(9),
            "🐈 gone".to_owned(),
            "word ".repeat(40),
        ] {
            table.row(["7.5".to_owned(), one_line(&text, 90)]);
        }
        let text = table.to_string();
        let widths: Vec<usize> = text.lines().map(UnicodeWidthStr::width).collect();
        assert!(
            widths
                .iter()
                .all(|width| *width == widths[0] && *width <= 80),
            "{text}"
        );
    }

    #[test]
    fn an_id_stays_on_one_line_in_80_columns() {
        let id = uuid::Uuid::nil().to_string();
        let mut table = TextTable::new(["job", "status", "progress", "tries"]).with_ids();
        table.inner.set_width(80);
        table.row([
            format!("{id}\nrecompute_final_scores\n{}", "words ".repeat(20)),
            "completed".to_owned(),
            "123456/123456".to_owned(),
            "1/3".to_owned(),
        ]);
        let text = table.to_string();
        for word in [id.as_str(), "completed", "progress", "123456/123456"] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
    }

    #[test]
    fn no_text_moves_the_cursor() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{202e}c"), "a [2Jb c");
    }
}
