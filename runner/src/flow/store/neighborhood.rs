//! From names of neighborhoods to ids, with one look-up and at most one insert a batch.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sluice_sdk::Client;
use uuid::Uuid;

use super::slug::{earlier_slug, slug};
use crate::db::{
    DatabaseError, Neighborhood, Neighborhoods, NeighborhoodsInsert, NeighborhoodsRequired,
};

/// The neighborhoods that this run has seen, by the names in its posts.
#[derive(Debug, Default)]
pub struct NeighborhoodIds {
    ids: HashMap<String, Uuid>,
}

impl NeighborhoodIds {
    /// The id of a name that was [resolved](Self::resolve).
    pub fn id(&self, name: &str) -> Option<Uuid> {
        self.ids.get(name).copied()
    }

    /// Makes sure that every name has an id. New names are looked up together, and those without a row are
    /// inserted together. If another runner inserts a row in between, it is looked up again. Returns how many
    /// rows were created.
    ///
    /// # Errors
    /// Any error of the database.
    pub async fn resolve<'a>(
        &mut self,
        client: &Client,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<u64, DatabaseError> {
        let wanted = Wanted::new(names.filter(|name| !self.ids.contains_key(*name)));
        if wanted.is_empty() {
            return Ok(0);
        }
        let found = select(client, &wanted.slugs()).await?;
        let missing = self.add(&wanted, &found);
        if missing.is_empty() {
            return Ok(0);
        }
        let inserted = insert(client, missing).await?;
        let created = inserted.len() as u64;
        let conflicting = self.add(&wanted, &inserted);
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

async fn select(client: &Client, slugs: &[String]) -> Result<Vec<Neighborhood>, DatabaseError> {
    Ok(client
        .from::<Neighborhoods>()
        .select::<Neighborhood>()
        .filter_in(Neighborhoods::SLUG, slugs)
        .await?)
}

async fn insert(
    client: &Client,
    missing: Vec<NeighborhoodsRequired>,
) -> Result<Vec<Neighborhood>, DatabaseError> {
    let missing: Vec<NeighborhoodsInsert> = missing.into_iter().map(Into::into).collect();
    let insert = client
        .from::<Neighborhoods>()
        .upsert(&missing)
        .on_conflict(Neighborhoods::SLUG);
    let written = insert
        .ignore_duplicates()
        .returning::<Neighborhood>()
        .await?;
    DatabaseError::check_key(&written.report)?;
    Ok(written.rows)
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
        assert_eq!(map.id("St. Johns"), Some(Uuid::from_u128(2)));
        assert_eq!(map.id("St Johns"), Some(Uuid::from_u128(2)));
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
        assert_eq!(map.id("Cañada del Oro"), Some(Uuid::from_u128(7)));
    }

    #[test]
    fn another_neighborhood_under_the_earlier_slug_is_not_taken_for_it() {
        let wanted = Wanted::new(["Cañada"].into_iter());
        let mut map = NeighborhoodIds::default();
        let missing = map.add(&wanted, &[row(8, "Caada", "caada")]);
        assert_eq!(missing.len(), 1);
        assert_eq!(map.id("Cañada"), None);
    }
}
