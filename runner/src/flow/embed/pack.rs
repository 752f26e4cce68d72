//! Which texts go to the provider together.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::iter;

use sha2::{Digest, Sha256};

use crate::provider::{MAX_INPUTS, MAX_REQUEST_TOKENS, estimate};

/// How large a batch may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    inputs: usize,
    tokens: usize,
}

impl Bounds {
    /// At most `inputs` inputs, and at most `tokens` tokens if the limiter knows how many it lets through
    /// evenly. Never more than the provider takes, and never less than one input.
    pub(super) fn new(inputs: usize, tokens: Option<u32>) -> Self {
        let tokens = tokens.map_or(MAX_REQUEST_TOKENS, |tokens| tokens as usize);
        Self {
            inputs: inputs.clamp(1, MAX_INPUTS),
            tokens: tokens.clamp(1, MAX_REQUEST_TOKENS),
        }
    }
}

/// An item and the size of its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measured<T> {
    item: T,
    digest: [u8; 32],
    tokens: usize,
    estimate: usize,
}

impl<T> Measured<T> {
    /// An item with the text that will be sent for it, and that text's tokens. `None` for a blank text, which
    /// is never sent.
    pub(super) fn new(item: T, text: &str, tokens: usize) -> Option<Self> {
        if text.trim().is_empty() {
            return None;
        }
        Some(Self {
            item,
            digest: Sha256::digest(text.as_bytes()).into(),
            tokens,
            estimate: estimate(text.len()),
        })
    }
}

/// A text to send once, and all items that have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Input<T> {
    /// The first item with this text. Its text is sent.
    pub(super) item: T,
    /// The other items with the same text.
    pub(super) duplicates: Vec<T>,
    /// The tokens of the text.
    pub(super) tokens: usize,
    estimate: usize,
}

impl<T> Input<T> {
    /// All items with this text.
    pub(super) fn items(&self) -> impl Iterator<Item = &T> {
        iter::once(&self.item).chain(&self.duplicates)
    }
}

/// The inputs of one request, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Batch<T> {
    /// At least one.
    pub(super) inputs: Vec<Input<T>>,
    /// The tokens of all inputs together.
    pub(super) tokens: usize,
    estimate: usize,
}

impl<T> Batch<T> {
    fn of(input: Input<T>) -> Self {
        Self {
            tokens: input.tokens,
            estimate: input.estimate,
            inputs: vec![input],
        }
    }

    /// True if no further text can fit.
    pub(super) fn is_full(&self, bounds: Bounds) -> bool {
        self.inputs.len() >= bounds.inputs
            || self.tokens >= bounds.tokens
            || self.estimate >= MAX_REQUEST_TOKENS
    }

    fn has_room_for(&self, input: &Input<T>, bounds: Bounds) -> bool {
        self.inputs.len() < bounds.inputs
            && self.tokens.saturating_add(input.tokens) <= bounds.tokens
            && self.estimate.saturating_add(input.estimate) <= MAX_REQUEST_TOKENS
    }

    fn push(&mut self, input: Input<T>) {
        self.tokens = self.tokens.saturating_add(input.tokens);
        self.estimate = self.estimate.saturating_add(input.estimate);
        self.inputs.push(input);
    }
}

/// Packs items into as few requests as their order allows. A text that does not fit begins the next batch.
/// Identical texts are sent once. An item that is above a bound alone gets a batch of its own, because only the
/// provider decides whether it is too large.
pub(super) fn pack<T>(
    items: impl IntoIterator<Item = Measured<T>>,
    bounds: Bounds,
) -> Vec<Batch<T>> {
    pack_onto(None, items, bounds)
}

/// Does the same, but continues a batch that has room. New texts are not compared with the texts in it.
pub(super) fn pack_onto<T>(
    open: Option<Batch<T>>,
    items: impl IntoIterator<Item = Measured<T>>,
    bounds: Bounds,
) -> Vec<Batch<T>> {
    let mut batches = Vec::from_iter(open);
    for input in distinct(items) {
        match batches.last_mut() {
            Some(batch) if batch.has_room_for(&input, bounds) => batch.push(input),
            _ => batches.push(Batch::of(input)),
        }
    }
    batches
}

/// One input for each text, in the order in which the texts first come.
fn distinct<T>(items: impl IntoIterator<Item = Measured<T>>) -> impl Iterator<Item = Input<T>> {
    let mut inputs: HashMap<[u8; 32], (usize, Input<T>)> = HashMap::new();
    for Measured {
        item,
        digest,
        tokens,
        estimate,
    } in items
    {
        let place = inputs.len();
        match inputs.entry(digest) {
            Entry::Occupied(found) => found.into_mut().1.duplicates.push(item),
            Entry::Vacant(new) => {
                new.insert((
                    place,
                    Input {
                        item,
                        duplicates: Vec::new(),
                        tokens,
                        estimate,
                    },
                ));
            }
        }
    }
    let mut inputs: Vec<_> = inputs.into_values().collect();
    inputs.sort_unstable_by_key(|(place, _)| *place);
    inputs.into_iter().map(|(_, input)| input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts with their token counts, numbered.
    fn measured<'a>(texts: &[(&'a str, usize)]) -> Vec<Measured<(usize, &'a str)>> {
        let items = texts.iter().enumerate();
        items
            .filter_map(|(row, (text, tokens))| Measured::new((row, *text), text, *tokens))
            .collect()
    }

    /// The rows of each input of each batch.
    fn rows(batches: &[Batch<(usize, &str)>]) -> Vec<Vec<Vec<usize>>> {
        let rows = |input: &Input<(usize, &str)>| input.items().map(|(row, _)| *row).collect();
        batches
            .iter()
            .map(|batch| batch.inputs.iter().map(rows).collect())
            .collect()
    }

    #[test]
    fn a_batch_ends_when_the_next_text_does_not_fit() {
        let items = measured(&[("a", 4), ("b", 5), ("c", 2), ("d", 9), ("e", 1)]);
        let batches = pack(items.clone(), Bounds::new(100, Some(10)));
        assert_eq!(
            rows(&batches),
            [
                vec![vec![0], vec![1]],
                vec![vec![2]],
                vec![vec![3], vec![4]]
            ]
        );
        assert_eq!(
            batches.iter().map(|batch| batch.tokens).collect::<Vec<_>>(),
            [9, 2, 10]
        );
        let batches = pack(items, Bounds::new(2, None));
        assert_eq!(
            rows(&batches),
            [
                vec![vec![0], vec![1]],
                vec![vec![2], vec![3]],
                vec![vec![4]]
            ]
        );
    }

    #[test]
    fn the_estimate_is_bounded_even_if_the_tokens_are_few() {
        // 300,000 estimated tokens are 1,200,000 bytes: two of these fit, a third does not.
        let texts = ["a", "b", "c"].map(|letter| letter.repeat(600_000));
        let texts: Vec<(&str, usize)> = texts.iter().map(|text| (text.as_str(), 1)).collect();
        let batches = pack(measured(&texts), Bounds::new(100, None));
        assert_eq!(rows(&batches), [vec![vec![0], vec![1]], vec![vec![2]]]);
    }

    #[test]
    fn a_text_above_a_bound_goes_alone() {
        let items = measured(&[("a", 1), ("b", 11), ("c", 1)]);
        let batches = pack(items, Bounds::new(100, Some(10)));
        assert_eq!(rows(&batches), [[[0]], [[1]], [[2]]]);
    }

    #[test]
    fn identical_texts_are_sent_once_across_batches() {
        let items = measured(&[("a", 6), ("b", 6), ("a", 6), ("c", 4), ("b", 6)]);
        let batches = pack(items, Bounds::new(100, Some(10)));
        assert_eq!(
            rows(&batches),
            [vec![vec![0, 2]], vec![vec![1, 4], vec![3]]]
        );
    }

    #[test]
    fn a_batch_that_has_room_is_continued() {
        let (all, bounds) = (
            measured(&[("a", 4), ("b", 5), ("c", 2), ("d", 9)]),
            Bounds::new(3, Some(10)),
        );
        let at_once = pack(all.clone(), bounds);
        let mut open = None;
        let mut one_by_one = Vec::new();
        for item in all {
            one_by_one.extend(open);
            let mut batches = pack_onto(one_by_one.pop(), [item], bounds);
            open = batches.pop_if(|last| !last.is_full(bounds));
            one_by_one.extend(batches);
        }
        one_by_one.extend(open);
        assert_eq!(one_by_one, at_once);
    }

    #[test]
    fn a_batch_is_full_by_any_of_its_bounds() {
        let bounds = Bounds::new(2, Some(10));
        let is_full = |texts: &[(&str, usize)]| pack(measured(texts), bounds)[0].is_full(bounds);
        assert!(!is_full(&[("a", 9)]));
        assert!(is_full(&[("a", 10)]));
        assert!(is_full(&[("a", 1), ("b", 1)]));
        assert!(is_full(&[(&"a".repeat(1_200_000), 1)]));
    }

    #[test]
    fn blank_texts_are_never_packed() {
        for blank in ["", " \n\t", "\u{3000}\u{a0}\u{2028}"] {
            assert_eq!(Measured::new((), blank, 1), None, "{blank:?}");
        }
        assert!(Measured::new((), "\u{200b}", 1).is_some());
        assert_eq!(pack(measured(&[(" ", 1)]), Bounds::new(100, None)), []);
    }

    #[test]
    fn bounds_stay_within_the_limits_of_the_provider() {
        assert_eq!(
            Bounds::new(0, Some(0)),
            Bounds {
                inputs: 1,
                tokens: 1
            }
        );
        assert_eq!(
            Bounds::new(5000, Some(u32::MAX)),
            Bounds {
                inputs: 2048,
                tokens: 300_000
            }
        );
        assert_eq!(
            Bounds::new(100, None),
            Bounds {
                inputs: 100,
                tokens: 300_000
            }
        );
    }

    proptest! {
        #[test]
        fn every_item_is_packed_once_within_the_bounds(
            texts in proptest::collection::vec(("[ab]{0,4}", 1_usize..40), 0..60),
            inputs in 1_usize..8,
            tokens in 1_u32..60,
        ) {
            let texts: Vec<(&str, usize)> =
                texts.iter().map(|(text, tokens)| (text.as_str(), *tokens)).collect();
            let bounds = Bounds::new(inputs, Some(tokens));
            let batches = pack(measured(&texts), bounds);
            let packed: Vec<Vec<usize>> = rows(&batches).concat();

            let mut found = packed.concat();
            found.sort_unstable();
            let due: Vec<usize> = (0..texts.len()).filter(|row| !texts[*row].0.is_empty()).collect();
            prop_assert_eq!(found, due);
            prop_assert!(packed.iter().is_sorted_by_key(|rows| rows[0]));
            for rows in &packed {
                prop_assert!(rows.iter().all(|row| texts[*row].0 == texts[rows[0]].0));
            }
            let sent: std::collections::HashSet<&str> =
                packed.iter().map(|rows| texts[rows[0]].0).collect();
            prop_assert_eq!(sent.len(), packed.len());
            for pair in batches.windows(2) {
                let next = &pair[1].inputs[0];
                let is_full = pair[0].inputs.len() == inputs || pair[0].tokens + next.tokens > tokens as usize;
                prop_assert!(is_full, "a batch ends without need");
            }
            for batch in &batches {
                prop_assert!(batch.inputs.len() <= inputs);
                prop_assert!(batch.tokens <= tokens as usize || batch.inputs.len() == 1);
                let sum: usize = batch.inputs.iter().map(|input| input.tokens).sum();
                prop_assert_eq!(batch.tokens, sum);
            }
        }
    }
}
