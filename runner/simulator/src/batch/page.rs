//! Lists, page by page.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error_response::ErrorResponse;

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PageQuery {
    limit: Option<usize>,
    /// The last id of the page before.
    after: Option<String>,
    /// Of files alone.
    pub(super) purpose: Option<String>,
}

/// A page of items, each beside its id.
pub(super) fn page<'i>(
    items: impl Iterator<Item = (&'i str, Value)>,
    query: &PageQuery,
    usual: usize,
    most: usize,
) -> Result<Value, ErrorResponse> {
    let limit = query.limit.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        let message = format!("Invalid 'limit': must be from 1 to {most}.");
        return Err(ErrorResponse::invalid("limit", message));
    }
    let mut items = items.peekable();
    if let Some(after) = &query.after
        && !items.any(|(id, _)| id == after)
    {
        let message = format!("Invalid 'after': there is no '{after}' in this list.");
        return Err(ErrorResponse::invalid("after", message));
    }
    let (ids, data): (Vec<&str>, Vec<Value>) = items.by_ref().take(limit).unzip();
    Ok(json!({
        "object": "list",
        "first_id": ids.first(),
        "last_id": ids.last(),
        "has_more": items.peek().is_some(),
        "data": data,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(
        limit: Option<usize>,
        after: Option<&str>,
    ) -> Result<(Vec<String>, bool), ErrorResponse> {
        let query = PageQuery {
            limit,
            after: after.map(str::to_owned),
            purpose: None,
        };
        let items = ["c", "b", "a"].map(|id| (id, json!(id)));
        let page = page(items.into_iter(), &query, 2, 3)?;
        let data = serde_json::from_value(page["data"].clone()).unwrap();
        Ok((data, page["has_more"] == true))
    }

    #[test]
    fn pages_follow_each_other() {
        let of = |list: &[&str]| list.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(None, None), Ok((of(&["c", "b"]), true)));
        assert_eq!(ids(None, Some("b")), Ok((of(&["a"]), false)));
        assert_eq!(ids(Some(3), None), Ok((of(&["c", "b", "a"]), false)));
        assert_eq!(ids(None, Some("a")), Ok((of(&[]), false)));
    }

    #[test]
    fn a_page_that_cannot_be_is_refused() {
        assert_eq!(ids(Some(4), None).unwrap_err().param, Some("limit"));
        assert_eq!(ids(Some(0), None).unwrap_err().param, Some("limit"));
        assert_eq!(ids(None, Some("x")).unwrap_err().param, Some("after"));
    }
}
