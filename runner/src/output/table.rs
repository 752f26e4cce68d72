//! Tables for people.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement};

/// A table with a head, filled row by row.
#[derive(Debug)]
pub struct Table {
    inner: comfy_table::Table,
}

impl Table {
    /// A table with these column titles.
    pub fn new<const N: usize>(titles: [&str; N]) -> Self {
        let mut inner = comfy_table::Table::new();
        inner
            .load_style(UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_header(titles);
        Self { inner }
    }

    /// Adds a row; control characters in it are shown as spaces, so that no text moves the cursor.
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

impl std::fmt::Display for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.inner.fmt(formatter)
    }
}

/// The first characters of a text, on one line, with an ellipsis where it was cut.
pub fn cut(text: &str, characters: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= characters {
        return line;
    }
    let start = crate::text::head(&line, characters.saturating_sub(1));
    format!("{}…", start.trim_end())
}

/// Replaces what a terminal would act on: control characters, and marks that reverse the direction.
fn harmless(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    text.chars()
        .map(|c| if acts(c) && c != '\n' { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_on_one_line() {
        assert_eq!(cut("a\n b", 10), "a b");
        assert_eq!(cut("lost dog near the park", 9), "lost dog…");
    }

    #[test]
    fn no_text_moves_the_cursor() {
        assert_eq!(harmless("a\u{1b}[2Jb\u{202e}c"), "a [2Jb c");
    }
}
