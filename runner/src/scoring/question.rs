//! What is asked in one request: the whole rubric, or one dimension of it.

use super::rubric::{Dimension, Rubric};

/// A question about a batch of posts: a whole rubric, or one dimension of it (a backfill).
///
/// It makes the [`prompt`](Self::prompt) and the [`schema`](Self::schema) of a request, and [reads](Self::read) the
/// answer. All three come from the same rubric, so they agree.
///
/// ```
/// use sluice_runner::scoring::{Question, Rubric};
///
/// let rubric = Rubric::default();
/// let question = Question::dimension(&rubric, "drama")?;
/// let prompt = question.prompt(&["Whoever took the gnome: I know."], None);
/// assert!(prompt.messages[1].content.starts_with(r#"{"index":1,"text":"Whoever"#));
///
/// let answer = r#"{"posts":[{"index":1,"reason":"a threat","drama":7}]}"#;
/// let posts = question.read(answer, 1);
/// assert_eq!(posts[0].as_ref().unwrap().scores["drama"], 7.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Question<'r> {
    pub(super) rubric: &'r Rubric,
    pub(super) dimensions: &'r [Dimension],
    pub(super) scope: Scope,
}

/// How much of an answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    /// Every dimension, the categories, a summary, and why a podcast would want it.
    Whole,
    /// Every dimension and the categories, with a short reason and without texts.
    Brief,
    /// Only a score, so that nothing else that is stored is overwritten.
    Dimension,
}

/// The rubric has no such dimension.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rubric has no dimension `{name}`; add it to scoring.dimensions or name one of: {known}"
)]
pub struct UnknownDimension {
    /// The unknown name.
    pub name: String,
    /// The known names, separated by commas.
    pub known: String,
}

impl<'r> Question<'r> {
    /// Asks for everything in the rubric.
    pub fn whole(rubric: &'r Rubric) -> Self {
        Self {
            rubric,
            dimensions: &rubric.dimensions,
            scope: Scope::Whole,
        }
    }

    /// Asks for every score and the categories, with a short reason and without texts. Of several runs about a post,
    /// only one has to write texts.
    pub fn brief(rubric: &'r Rubric) -> Self {
        Self {
            scope: Scope::Brief,
            ..Self::whole(rubric)
        }
    }

    /// Asks for one dimension alone.
    ///
    /// # Errors
    /// [`UnknownDimension`] if the rubric does not have it.
    pub fn dimension(rubric: &'r Rubric, name: &str) -> Result<Self, UnknownDimension> {
        let Some(dimension) = rubric.dimension(name) else {
            let known: Vec<&str> = rubric.dimensions.iter().map(|d| d.name.as_str()).collect();
            return Err(UnknownDimension {
                name: name.to_owned(),
                known: known.join(", "),
            });
        };
        Ok(Self {
            rubric,
            dimensions: std::slice::from_ref(dimension),
            scope: Scope::Dimension,
        })
    }

    /// The rubric that is asked about.
    pub fn rubric(&self) -> &'r Rubric {
        self.rubric
    }

    /// The dimensions that every answer has a score for.
    pub fn dimensions(&self) -> &'r [Dimension] {
        self.dimensions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_dimension_is_refused_with_the_known_ones() {
        let mut rubric = Rubric::default();
        rubric.dimensions.truncate(2);
        let question = Question::dimension(&rubric, "discussion_spark").unwrap();
        assert_eq!(question.dimensions().len(), 1);
        assert_eq!(
            Question::dimension(&rubric, "drama")
                .unwrap_err()
                .to_string(),
            "the rubric has no dimension `drama`; add it to scoring.dimensions or name one of: \
             absurdity, discussion_spark"
        );
    }
}
