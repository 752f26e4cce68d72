//! From rows to parcels: skips blank texts, handles oversized ones, and packs the others. Pure.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use uuid::Uuid;

use super::super::preview::Preview;
use super::super::price::Tariff;
use super::super::requester::RequestCost;
use super::oversized::Parts;
use super::pack::{Batch, Bounds, Input, Measured, pack, pack_onto};
use crate::config::{EmbeddingSettings, OversizedPolicy};
use crate::engine::{Packing, RowWarning, Text};
use crate::provider::limiter::Limiter;
use crate::provider::{MAX_INPUT_TOKENS, Tier, Tokenizer};
use crate::text::sha256_hex;

/// The warning about an oversized text that was truncated.
const TRUNCATED: &str = "longer than 8192 tokens, of which only the beginning is embedded";
/// The warning about an oversized text that was embedded in parts.
const AVERAGED: &str = "longer than 8192 tokens, embedded as the average of their parts";

/// A row, and the SHA-256 (hex) of its whole text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) text_hash: Arc<str>,
}

/// A row with the text to send for it: its whole text, or the beginning of an oversized one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) row: Row,
    text: String,
}

impl AsRef<str> for Prepared {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

/// What goes to the provider as one piece of work.
#[derive(Debug)]
pub(super) enum Parcel {
    /// Texts for one request.
    Texts(Batch<Prepared>),
    /// One oversized text, for as many requests as its parts need, with all rows that have it.
    Oversized { rows: Vec<Row>, parts: Parts },
}

impl Parcel {
    /// The rows that it is about.
    pub(super) fn ids(&self) -> Vec<Uuid> {
        match self {
            Self::Texts(batch) => {
                let texts = batch.inputs.iter().flat_map(Input::items);
                texts.map(|text| text.row.id).collect()
            }
            Self::Oversized { rows, .. } => rows.iter().map(|row| row.id).collect(),
        }
    }
}

/// Packs rows for one model.
#[derive(Debug)]
pub(super) struct Packer {
    pub(super) settings: EmbeddingSettings,
    tokenizer: Tokenizer,
    limiter: Limiter,
    /// The most inputs of a request, as far as the provider has said it.
    inputs_max: AtomicUsize,
}

impl Packer {
    pub(super) fn new(settings: EmbeddingSettings, tokenizer: Tokenizer, limiter: Limiter) -> Self {
        Self {
            tokenizer,
            settings,
            limiter,
            inputs_max: AtomicUsize::new(usize::MAX),
        }
    }

    /// Keeps to a cap on inputs that the provider has stated.
    pub(super) fn learn(&self, inputs_max: usize) {
        self.inputs_max.fetch_min(inputs_max, Ordering::Relaxed);
    }

    /// The most inputs that one request may have, as far as it is known.
    pub(super) fn inputs_max(&self) -> usize {
        self.inputs_max.load(Ordering::Relaxed)
    }

    /// Packs rows, continuing the open parcel.
    pub(super) fn pack<T: Text>(&self, open: Option<Parcel>, rows: &[T]) -> Packing<Parcel> {
        let (mut skipped, mut warnings) = (Vec::new(), Vec::new());
        let (mut texts, mut oversized) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows {
            let (id, text) = (row.id(), row.text());
            if text.trim().is_empty() {
                skipped.push(id);
                continue;
            }
            let head = self.tokenizer.truncate(text, MAX_INPUT_TOKENS);
            let row = Row {
                id,
                text_hash: sha256_hex(text).into(),
            };
            if head.truncated && self.settings.oversized == OversizedPolicy::Average {
                warnings.push(RowWarning { id, what: AVERAGED });
                self.add_oversized(&mut oversized, row, text);
                continue;
            }
            let prepared = Prepared {
                row,
                text: head.text.to_owned(),
            };
            match Measured::new(prepared, head.text, head.tokens) {
                Some(measured) => texts.push(measured),
                None => skipped.push(id),
            }
            if head.truncated {
                warnings.push(RowWarning {
                    id,
                    what: TRUNCATED,
                });
            }
        }
        let open = match open {
            Some(Parcel::Texts(batch)) => Some(batch),
            // A parcel with an oversized text is never left open.
            Some(Parcel::Oversized { .. }) | None => None,
        };
        let bounds = self.bounds();
        let mut batches = pack_onto(open, texts, bounds);
        let open = batches.pop_if(|last| !last.is_full(bounds));
        let batches = batches.into_iter().map(Parcel::Texts);
        Packing {
            batches: batches.chain(oversized).collect(),
            open: open.map(Parcel::Texts),
            skipped,
            warnings,
        }
    }

    fn add_oversized(&self, oversized: &mut Vec<Parcel>, row: Row, text: &str) {
        for parcel in oversized.iter_mut() {
            if let Parcel::Oversized { rows, .. } = parcel
                && rows.iter().any(|other| other.text_hash == row.text_hash)
            {
                return rows.push(row);
            }
        }
        oversized.push(Parcel::Oversized {
            rows: vec![row],
            parts: Parts::of(text, self.tokenizer),
        });
    }

    /// Adds what these rows would cost at this tier.
    pub(super) fn preview<T: Text>(
        &self,
        rows: &[T],
        (tariff, tier): (&Tariff, Tier),
        sum: &mut Preview,
    ) {
        let packing = self.pack(None, rows);
        let mut add = |tokens: usize| sum.add(RequestCost::new(tokens, 0), 1, tariff, tier);
        for parcel in packing.batches.iter().chain(&packing.open) {
            match parcel {
                Parcel::Texts(batch) => add(batch.tokens),
                Parcel::Oversized { parts, .. } => {
                    let requests = pack(parts.measured(), self.bounds());
                    for request in requests {
                        add(request.tokens);
                    }
                }
            }
        }
        sum.rows += (rows.len() - packing.skipped.len()) as u64;
    }

    /// How large a batch may be.
    pub(super) fn bounds(&self) -> Bounds {
        Bounds::new(
            self.inputs_max().min(self.settings.batch_size as usize),
            self.limiter.batch_tokens(),
        )
    }
}
