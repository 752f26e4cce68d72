//! From names of neighborhoods to ids, with one look-up and at most one insert a batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use sluice_sdk::Client;
use uuid::Uuid;

use super::slug::{earlier_slug, slug};
use crate::db::{
    Database, DatabaseError, Neighborhood, Neighborhoods, NeighborhoodsInsert,
    NeighborhoodsRequired,
};
use crate::engine::{StopReason, Storage, StorageError, Writer};

/// Looks neighborhoods up and creates them.
#[derive(Debug)]
pub struct NeighborhoodWriter {
    client: Client,
    writer: Writer,
}

impl NeighborhoodWriter {
    /// A writer for one run.
    pub fn new(database: &Database) -> Self {
        Self {
            client: database.client().clone(),
            writer: Writer::new(database.patience().clone()),
        }
    }
}

/// The neighborhoods that this run has seen, by the names in its posts.
#[derive(Debug, Default)]
pub struct NeighborhoodIds {
    ids: HashMap<String, Uuid>,
    /// Why the database refuses a neighborhood, by its slug.
    refused: HashMap<String, String>,
}

impl NeighborhoodIds {
    /// The id of a name that was [resolved](Self::resolve).
    ///
    /// # Errors
    /// Why it has none.
    pub fn id(&self, name: &str) -> Result<Uuid, &str> {
        let why = || self.refused.get(&slug(name));
        let id = self.ids.get(name).copied();
        id.ok_or_else(|| why().map_or("it is not there", String::as_str))
    }

    /// Makes sure that every name has an id. New names are looked up together, and those without a row are
    /// inserted together. If another runner inserts a row in between, it is looked up again. Returns how many
    /// rows were created.
    ///
    /// # Errors
    /// Why the run cannot go on.
    pub async fn resolve<'a>(
        &mut self,
        writer: &NeighborhoodWriter,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<u64, StopReason> {
        let wanted = Wanted::new(names.filter(|name| !self.ids.contains_key(*name)));
        if wanted.is_empty() {
            return Ok(0);
        }
        let client = &writer.client;
        let found = select(client, &wanted.slugs()).await?;
        let mut missing = self.add(&wanted, &found);
        missing.retain(|new| !self.refused.contains_key(&new.slug));
        if missing.is_empty() {
            return Ok(0);
        }
        let table = NeighborhoodTable {
            client,
            inserted: Mutex::default(),
        };
        let rows_max = missing.len();
        let writing = writer.writer.write(&table, missing, rows_max).await;
        let refused = writing.refused.into_iter();
        self.refused
            .extend(refused.map(|(new, why)| (new.slug, why)));
        if let Some((reason, _)) = writing.halt {
            return Err(reason);
        }
        let inserted = table.inserted.into_inner();
        let inserted = inserted.unwrap_or_else(PoisonError::into_inner);
        let created = inserted.len() as u64;
        let mut conflicting = self.add(&wanted, &inserted);
        conflicting.retain(|new| !self.refused.contains_key(&new.slug));
        if !conflicting.is_empty() {
            let slugs: Vec<String> = conflicting.into_iter().map(|new| new.slug).collect();
            let found = select(client, &slugs).await?;
            self.add(&wanted, &found);
        }
        Ok(created)
    }

    /// Adds the ids of the rows that were found. Returns the neighborhoods that are still missing.
    fn add(&mut self, wanted: &Wanted, rows: &[Neighborhood]) -> Vec<NeighborhoodsRequired> {
        let by_slug: HashMap<&str, &Neighborhood> =
            rows.iter().map(|row| (row.slug.as_str(), row)).collect();
        let mut missing = Vec::new();
        for (slug, names) in &wanted.names {
            let known = names.iter().any(|name| self.ids.contains_key(name));
            if let Some(row) = row_of(slug, names, &by_slug) {
                self.ids
                    .extend(names.iter().map(|name| (name.clone(), row.id)));
            } else if let (false, Some(name)) = (known, names.first()) {
                missing.push(NeighborhoodsRequired {
                    name: name.clone(),
                    slug: slug.clone(),
                });
            }
        }
        missing
    }
}

/// The row of a slug. If there is none, it is the row under an earlier slug of one of the names, as long as that
/// row's own name has the wanted slug today.
fn row_of<'r>(
    wanted: &str,
    names: &BTreeSet<String>,
    by_slug: &HashMap<&str, &'r Neighborhood>,
) -> Option<&'r Neighborhood> {
    let earlier = || {
        let slugs = names.iter().filter_map(|name| earlier_slug(name));
        slugs
            .filter_map(|earlier| by_slug.get(earlier.as_str()).copied())
            .find(|row| slug(&row.name) == wanted)
    };
    by_slug.get(wanted).copied().or_else(earlier)
}

/// Names to look up, by their slug. They are ordered, so the same posts make the same requests.
#[derive(Debug, Default)]
struct Wanted {
    names: BTreeMap<String, BTreeSet<String>>,
}

impl Wanted {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut wanted = Self::default();
        for name in names {
            let names = wanted.names.entry(slug(name)).or_default();
            names.insert(name.to_owned());
        }
        wanted
    }

    fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Every slug that a row may have.
    fn slugs(&self) -> Vec<String> {
        let earlier = self
            .names
            .values()
            .flatten()
            .filter_map(|name| earlier_slug(name));
        let mut slugs: Vec<String> = self.names.keys().cloned().chain(earlier).collect();
        slugs.sort_unstable();
        slugs.dedup();
        slugs
    }
}

async fn select(client: &Client, slugs: &[String]) -> Result<Vec<Neighborhood>, StopReason> {
    let found = client
        .from::<Neighborhoods>()
        .select::<Neighborhood>()
        .filter_in(Neighborhoods::SLUG, slugs)
        .await;
    found.map_err(|error| DatabaseError::from(error).into_reason())
}

/// The table of neighborhoods, as new ones are written to it.
struct NeighborhoodTable<'c> {
    client: &'c Client,
    inserted: Mutex<Vec<Neighborhood>>,
}

impl Storage<NeighborhoodsRequired> for NeighborhoodTable<'_> {
    async fn write(&self, missing: &[NeighborhoodsRequired]) -> Result<(), StorageError> {
        let missing: Vec<NeighborhoodsInsert> = missing.iter().cloned().map(Into::into).collect();
        let written = self
            .client
            .from::<Neighborhoods>()
            .upsert(&missing)
            .on_conflict(Neighborhoods::SLUG)
            .ignore_duplicates()
            .all_or_nothing()
            .returning::<Neighborhood>()
            .await
            .map_err(DatabaseError::from)?;
        let inserted = self.inserted.lock();
        let mut inserted = inserted.unwrap_or_else(PoisonError::into_inner);
        inserted.extend(written.rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u128, name: &str, slug: &str) -> Neighborhood {
        Neighborhood {
            id: Uuid::from_u128(id),
            name: name.to_owned(),
            slug: slug.to_owned(),
        }
    }

    #[test]
    fn two_spellings_of_one_slug_are_one_neighborhood() {
        let wanted = Wanted::new(["St. Johns", "St Johns", "Elm"].into_iter());
        assert_eq!(wanted.slugs(), ["elm", "st-johns"]);
        let mut map = NeighborhoodIds::default();
        let missing = map.add(&wanted, &[]);
        assert_eq!(missing.len(), 2);
        assert!(
            map.add(
                &wanted,
                &[row(1, "Elm", "elm"), row(2, "St Johns", "st-johns")]
            )
            .is_empty()
        );
        assert_eq!(map.id("St. Johns"), Ok(Uuid::from_u128(2)));
        assert_eq!(map.id("St Johns"), Ok(Uuid::from_u128(2)));
    }

    #[test]
    fn a_row_under_the_earlier_slug_is_found_again() {
        let wanted = Wanted::new(["Cañada del Oro"].into_iter());
        assert_eq!(wanted.slugs(), ["caada-del-oro", "canada-del-oro"]);
        let mut map = NeighborhoodIds::default();
        assert!(
            map.add(&wanted, &[row(7, "Cañada del Oro", "caada-del-oro")])
                .is_empty()
        );
        assert_eq!(map.id("Cañada del Oro"), Ok(Uuid::from_u128(7)));
    }

    #[test]
    fn another_neighborhood_under_the_earlier_slug_is_not_taken_for_it() {
        let wanted = Wanted::new(["Cañada"].into_iter());
        let mut map = NeighborhoodIds::default();
        let missing = map.add(&wanted, &[row(8, "Caada", "caada")]);
        assert_eq!(missing.len(), 1);
        assert!(map.id("Cañada").is_err());
    }
}
