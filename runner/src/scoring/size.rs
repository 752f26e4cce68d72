//! How many tokens an answer may have.

use super::question::{Question, Scope};

/// The answer's frame: `{"posts":[]}`.
const FRAME: usize = 8;
/// An entry's braces, its index, and the key of the reason.
const ENTRY: usize = 16;
/// A sentence of 25 words. Models count badly, so there is some room.
const SENTENCE: usize = 60;
/// Quotes, colon, a score such as `7.5`, and a comma.
const SCORE: usize = 8;
/// Quotes and comma of an item in a list, or the key and brackets of the list.
const ITEM: usize = 4;

impl Question<'_> {
    /// How many tokens the answer about so many posts may take: `max_completion_tokens` for a model that does not
    /// reason, and the reservation for rate limit and budget.
    ///
    /// It is a bound, because a truncated answer is paid for and unreadable. It is a close bound, because the provider
    /// counts all of it against the rate limit. A token is taken to be two bytes of a name or three bytes of prose.
    ///
    /// A brief answer has room for a whole reason, because models do not always keep to 5 words.
    ///
    /// For a model that reasons, add [`reasoning_tokens`](crate::provider::Client::reasoning_tokens).
    pub fn answer_tokens(&self, posts: usize) -> usize {
        FRAME + posts * self.entry_tokens()
    }

    fn entry_tokens(&self) -> usize {
        let scores: usize = self
            .dimensions
            .iter()
            .map(|d| name_tokens(&d.name) + SCORE)
            .sum();
        let base = ENTRY + SENTENCE + scores;
        match self.scope {
            Scope::Dimension => base,
            Scope::Brief => base + self.category_tokens(),
            Scope::Whole => {
                let summary = self.rubric.summary_limit.div_ceil(3);
                base + self.category_tokens() + SCORE + summary + SCORE + SENTENCE
            }
        }
    }

    fn category_tokens(&self) -> usize {
        let names = self.rubric.categories.iter();
        let longest = names.map(|c| name_tokens(&c.name)).max().unwrap_or(0);
        ITEM + self.rubric.max_categories * (longest + ITEM)
    }
}

fn name_tokens(name: &str) -> usize {
    name.len().div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoring::rubric::Rubric;

    /// 25 words, none of them short.
    fn sentence() -> String {
        ["neighbourliness"; 25].join(" ")
    }

    /// The longest answer that the prompt permits.
    fn longest_answer(rubric: &Rubric, posts: usize) -> String {
        let sentence = sentence();
        let summary: String = "The neighbours of the crescent disagree about the hedge. "
            .chars()
            .cycle()
            .take(rubric.summary_limit)
            .collect();
        let scores: Vec<String> = rubric
            .dimensions
            .iter()
            .map(|d| format!("\"{}\":9.5", d.name))
            .collect();
        let entry = format!(
            r#"{{"index":10,"reason":"{sentence}",{},"categories":["local_news","suspicious","lost_pet"],"summary":"{summary}","why_podcast_worthy":"{sentence}"}}"#,
            scores.join(",")
        );
        format!(r#"{{"posts":[{}]}}"#, vec![entry; posts].join(","))
    }

    fn assert_fits(answer: &str, allowed: usize) {
        let needed = crate::provider::Tokenizer::o200k().count(answer);
        assert!(needed <= allowed, "{needed} > {allowed}");
        assert!(allowed <= 2 * needed, "{allowed} > 2 × {needed}");
    }

    #[test]
    fn the_longest_answer_fits_the_bound_closely() {
        let rubric = Rubric::default();
        for posts in [1, 5] {
            let allowed = Question::whole(&rubric).answer_tokens(posts);
            assert_fits(&longest_answer(&rubric, posts), allowed);
        }
    }

    #[test]
    fn the_longest_brief_answer_fits_the_bound_closely() {
        let rubric = Rubric::default();
        let whole = longest_answer(&rubric, 1);
        let (scores, texts) = whole.split_once(r#","summary""#).unwrap();
        assert!(texts.contains("why_podcast_worthy"));
        let allowed = Question::brief(&rubric).answer_tokens(1);
        assert_fits(&format!("{scores}}}]}}"), allowed);
    }

    #[test]
    fn the_longest_backfill_fits_the_bound_closely() {
        let rubric = Rubric::default();
        let question = Question::dimension(&rubric, "emotional_intensity").unwrap();
        let entry = format!(
            r#"{{"index":10,"reason":"{}","emotional_intensity":9.5}}"#,
            sentence()
        );
        let answer = format!(r#"{{"posts":[{}]}}"#, vec![entry; 5].join(","));
        assert_fits(&answer, question.answer_tokens(5));
    }
}
