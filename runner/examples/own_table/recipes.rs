//! A flow over recipes: which are due, what their text is, and where the vectors go.

use serde::{Deserialize, Serialize};
use sluice_runner::db::DatabaseError;
use sluice_runner::engine::{Claim, Item, Recorded, RowFailure, Sink, Source, StorageError, Text};
use sluice_runner::flow::Embedded;
use sluice_runner::provider::write_vector;
use sluice_sdk::{Client, Table};
use uuid::Uuid;

/// A recipe that has no embedding.
#[derive(Debug, Deserialize, Table)]
#[table(name = "recipes_due")]
pub(crate) struct DueRecipe {
    #[table(primary_key)]
    id: Uuid,
    steps: String,
}

/// The embedding of a recipe, or why it has none.
#[derive(Debug, Serialize, Deserialize, Table)]
#[table(name = "recipe_embeddings")]
pub(crate) struct RecipeEmbedding {
    #[table(primary_key)]
    recipe_id: Uuid,
    embedding: Option<String>,
    refused: Option<String>,
}

impl Item for DueRecipe {
    fn id(&self) -> Uuid {
        self.id
    }
}

impl Text for DueRecipe {
    fn text(&self) -> &str {
        &self.steps
    }
}

/// Recipes without an embedding, for one runner at a time.
pub(crate) struct DueRecipes(pub(crate) Client);

impl Source for DueRecipes {
    type Item = DueRecipe;

    async fn claim(
        &self,
        limit: u32,
        after: Option<Uuid>,
    ) -> Result<Claim<DueRecipe>, StorageError> {
        let from = after.unwrap_or_default();
        let recipes = self
            .0
            .from::<DueRecipe>()
            .filter(DueRecipe::ID.gt(from))
            .order(DueRecipe::ID.asc())
            .limit(limit.into())
            .await
            .map_err(DatabaseError::from)?;
        Ok(Claim::page(recipes))
    }

    async fn fail(&self, failures: Vec<RowFailure>) -> Result<Recorded, StorageError> {
        let refused = |failure: &RowFailure| RecipeEmbedding {
            recipe_id: failure.id,
            embedding: None,
            refused: Some(failure.reason.clone()),
        };
        upsert(&self.0, &failures.iter().map(refused).collect::<Vec<_>>()).await?;
        Ok(Recorded::all_dead(&failures))
    }
}

/// Into `recipe_embeddings`.
pub(crate) struct RecipeEmbeddings(pub(crate) Client);

impl Sink for RecipeEmbeddings {
    type Output = Embedded;

    fn rows_max(&self) -> usize {
        100
    }

    async fn write(&self, outputs: &[Embedded]) -> Result<(), StorageError> {
        let embedded = |output: &Embedded| {
            let mut vector = String::new();
            write_vector(&mut vector, &output.vector);
            RecipeEmbedding {
                recipe_id: output.id,
                embedding: Some(vector),
                refused: None,
            }
        };
        upsert(&self.0, &outputs.iter().map(embedded).collect::<Vec<_>>()).await
    }
}

/// Writes rows. Writing the same ones again changes nothing.
async fn upsert(client: &Client, rows: &[RecipeEmbedding]) -> Result<(), StorageError> {
    let written = client
        .from::<RecipeEmbedding>()
        .upsert(rows)
        .on_conflict(RecipeEmbedding::RECIPE_ID)
        .await
        .map_err(DatabaseError::from)?;
    match written.failed.into_iter().next() {
        Some(failure) => Err(DatabaseError::from(failure.error).into()),
        None => Ok(()),
    }
}
