//! A migration for vectors of another type or size.
//!
//! It applies to a new project and to one that has embeddings. Those of the right size are converted, the others become
//! due again.

use crate::bundled::MIGRATIONS;
use crate::error::Error;

/// It sorts after every migration of ours.
pub(super) const FILE: &str = "20991231000000_vectors.sql";

/// The size that the migrations create.
const DEFAULT_DIMENSIONS: u32 = 1536;

/// A type of pgvector with a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct VectorType {
    name: &'static str,
    dimensions: u32,
}

impl VectorType {
    /// The type for these options, or none if the migrations create it.
    ///
    /// # Errors
    /// If an HNSW index does not take vectors of this size.
    pub(super) fn asked_for(dimensions: Option<u32>, halfvec: bool) -> Result<Option<Self>, Error> {
        let (name, most) = if halfvec {
            ("halfvec", 4_000)
        } else {
            ("vector", 2_000)
        };
        let dimensions = dimensions.unwrap_or(DEFAULT_DIMENSIONS);
        if dimensions == 0 || dimensions > most {
            let hint = if halfvec {
                ""
            } else {
                "; --halfvec takes up to 4000"
            };
            return Err(Error::Usage(format!(
                "an index takes 1 to {most} dimensions of a {name}, not {dimensions}{hint}"
            )));
        }
        let changes = halfvec || dimensions != DEFAULT_DIMENSIONS;
        Ok(changes.then_some(Self { name, dimensions }))
    }

    /// The SQL. Writers and readers of embeddings wait while the table is rewritten.
    pub(super) fn migration(self) -> String {
        let Self { name, dimensions } = self;
        let functions: String = ["store_embeddings", "search_posts_by_embedding"]
            .into_iter()
            .map(|function| self.function(function))
            .collect();
        format!(
            "-- Stores embeddings as {name}({dimensions}). Embeddings of another size become due again.
set lock_timeout = '10s';
set search_path = public, extensions;

do $$
declare
  v_name text;
begin
  for v_name in
    select i.indexrelid::regclass::text from pg_index i
      join pg_class c on c.oid = i.indexrelid
      join pg_am a on a.oid = c.relam
    where i.indrelid = 'public.post_embeddings'::regclass and a.amname in ('hnsw', 'ivfflat')
  loop
    execute format('drop index %s', v_name);
  end loop;
  for v_name in
    select oid::regprocedure::text from pg_proc
    where pronamespace = 'public'::regnamespace and proname = 'search_posts_by_embedding'
  loop
    execute format('drop function %s', v_name);
  end loop;
end
$$;

drop trigger post_embeddings_compare_text_hash on public.post_embeddings;
alter table public.post_embeddings alter column embedding type {name}({dimensions})
  using case when vector_dims(embedding) = {dimensions} then embedding::{name}({dimensions}) end;
create trigger post_embeddings_compare_text_hash
  before insert or update of embedding, text_hash on public.post_embeddings
  for each row execute function public.compare_text_hash();

create index post_embeddings_embedding_hnsw_idx
  on public.post_embeddings using hnsw (embedding {name}_cosine_ops) with (m = 8, ef_construction = 40);
{functions}
revoke execute on function public.search_posts_by_embedding({name}, double precision, integer)
  from public, anon, authenticated;
grant execute on function public.search_posts_by_embedding({name}, double precision, integer) to service_role;

reset search_path;
reset lock_timeout;
"
        )
    }

    /// The newest definition of a function, for this type.
    fn function(self, function: &str) -> String {
        let heads = [
            format!("create or replace function public.{function}("),
            format!("create function public.{function}("),
        ];
        let definition = |sql: &'static str| {
            let start = heads.iter().find_map(|head| sql.rfind(head.as_str()))?;
            let (_, rest) = sql.split_at_checked(start)?;
            let (definition, _) = rest.split_once("\n$$;")?;
            Some(definition)
        };
        let newest = MIGRATIONS.iter().rev().find_map(|(_, sql)| definition(sql));
        let Self { name, dimensions } = self;
        let adapted = newest
            .unwrap_or_default()
            .replace("vector(1536)", &format!("{name}({dimensions})"))
            .replace("embedding vector,", &format!("embedding {name},"));
        format!("\n{adapted}\n$$;\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_needs_no_migration() {
        assert_eq!(VectorType::asked_for(None, false).unwrap(), None);
        assert_eq!(VectorType::asked_for(Some(1536), false).unwrap(), None);
        assert!(VectorType::asked_for(None, true).unwrap().is_some());
    }

    #[test]
    fn sizes_that_no_index_takes_are_refused() {
        for (dimensions, halfvec) in [(0, false), (2_001, false), (0, true), (4_001, true)] {
            let refused = VectorType::asked_for(Some(dimensions), halfvec);
            assert!(refused.is_err(), "{dimensions} {halfvec}");
        }
        let large = VectorType::asked_for(Some(3_072), false).unwrap_err();
        assert!(large.to_string().contains("--halfvec"), "{large}");
        assert!(VectorType::asked_for(Some(3_072), true).is_ok());
    }

    #[test]
    fn both_functions_take_the_new_type() {
        let vectors = VectorType::asked_for(Some(3_072), true).unwrap().unwrap();
        let sql = vectors.migration();
        assert!(sql.contains("query_embedding halfvec(3072)"), "{sql}");
        assert!(sql.contains("embedding halfvec, model text"), "{sql}");
        assert!(!sql.contains("vector(1536)"), "{sql}");
    }
}
