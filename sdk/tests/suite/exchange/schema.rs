//! The recorded schema as types.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};
use sluice_sdk::{Column, Select, Table};

#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "neighborhoods")]
pub(super) struct Neighborhood {
    #[table(primary_key)]
    pub(super) id: i64,
    pub(super) name: String,
    pub(super) slug: String,
    pub(super) weight: Option<Number>,
}

#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "posts")]
pub(super) struct Post {
    #[table(primary_key)]
    pub(super) id: i64,
    pub(super) neighborhood_id: i64,
    pub(super) moved_to: Option<i64>,
    pub(super) body: String,
    pub(super) hash: String,
    pub(super) status: Status,
    pub(super) tags: Vec<String>,
    pub(super) meta: Value,
    pub(super) views: i64,
    pub(super) during: Option<String>,
    pub(super) created_at: Timestamp,
}

impl Post {
    /// The function `shout(posts)`.
    pub(super) const SHOUT: Column<Self, String> = Column::new("shout");
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Open,
    Closed,
}

impl sluice_sdk::schema::Value for Status {
    fn write(&self, out: &mut String) {
        out.push_str(match self {
            Self::Open => "open",
            Self::Closed => "closed",
        });
    }
}

#[derive(Debug, Serialize, Deserialize, Table, PartialEq)]
#[table(name = "embeddings")]
pub(super) struct PostEmbedding {
    #[table(primary_key)]
    pub(super) post_id: i64,
    pub(super) embedding: String,
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub(super) model: String,
}

#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "secrets")]
pub(super) struct Secret {
    #[table(primary_key)]
    pub(super) id: i64,
    pub(super) owner: String,
    pub(super) note: String,
}

/// A view.
#[derive(Debug, Deserialize, Table, PartialEq)]
#[table(name = "open_posts")]
pub(super) struct OpenPost {
    pub(super) id: i64,
    pub(super) body: String,
    pub(super) neighborhood_id: i64,
}

#[derive(Debug, Deserialize, Select, PartialEq)]
#[select(from = Post)]
pub(super) struct Id {
    pub(super) id: i64,
}

#[derive(Debug, Deserialize, Select, PartialEq)]
#[select(from = Post)]
pub(super) struct IdAndBody {
    pub(super) id: i64,
    pub(super) body: String,
}

#[derive(Debug, Deserialize, Select, PartialEq)]
#[select(from = Post)]
pub(super) struct IdAndViews {
    pub(super) id: i64,
    pub(super) views: i64,
}

#[derive(Debug, Deserialize, Select, PartialEq)]
#[select(from = Neighborhood)]
pub(super) struct Slug {
    pub(super) slug: String,
}

#[derive(Debug, Deserialize, Select, PartialEq)]
#[select(from = Neighborhood)]
pub(super) struct IdAndSlug {
    pub(super) id: i64,
    pub(super) slug: String,
}

/// The ids of rows.
pub(super) fn ids(rows: &[Id]) -> Vec<i64> {
    rows.iter().map(|row| row.id).collect()
}
