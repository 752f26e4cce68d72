//! The search by meaning and words at once.

use sluice_tests::Native;

use crate::fixture::native;

#[tokio::test]
async fn a_post_that_both_ways_find_is_first() {
    native!();
    let native = Native::migrated().await;
    let (admin, api) = (native.admin().await, native.api().await);
    admin
        .sql(
            "insert into neighborhoods (name, slug) values ('Elm', 'elm');
             insert into posts (neighborhood_id, post_id_ext, text, hash)
               select id, kind, text, kind from neighborhoods,
                 (values ('both', 'A raccoon in the chimney'), ('words', 'Raccoons & foxes: a list'),
                   ('meaning', 'An animal above the fireplace'), ('neither', 'Bread after six')) as made (kind, text);
             insert into post_embeddings (post_id, embedding, model)
               select id, ('[' || array_to_string(array_fill(case post_id_ext when 'both' then 0.9 else 1 end, array[1535]), ',')
                 || case post_id_ext when 'meaning' then ',1]' else ',-50]' end)::extensions.vector, 'm'
               from posts where post_id_ext in ('meaning', 'neither', 'both')",
        )
        .await;
    let found = |query: &str, limit: u32| {
        format!(
            "select coalesce(string_agg(p.post_id_ext, ' ' order by f.score desc), '') from search_posts_hybrid('{query}',
               '[' || array_to_string(array_fill(1, array[1536]), ',') || ']', {limit}) f join posts p on p.id = f.id"
        )
    };
    let all = api.value(&found("raccoon, chimney", 10)).await;
    let all: Vec<&str> = all.as_str().unwrap().split(' ').collect();
    assert_eq!(all[0], "both");
    assert_eq!(all.len(), 4);
    assert_eq!(api.value(&found("raccoon, chimney", 1)).await, "both");
    // Signs of the query language are words like any other, and words that nobody wrote change nothing.
    for odd in ["& | ! ( :*", "zeppelin", ""] {
        assert_eq!(api.value(&found(odd, 1)).await, "meaning", "{odd}");
    }
    let plan = "create function pg_temp.plan() returns text language plpgsql as $$
        declare l text; a text := ''; begin
          for l in explain select id from posts where to_tsvector('english', text) @@ 'cat'::tsquery loop
            a := a || l;
          end loop;
          return a;
        end $$";
    admin.sql("set enable_seqscan = off").await;
    admin.sql(plan).await;
    let plan = admin.value("select pg_temp.plan()").await;
    assert!(
        plan.as_str().unwrap().contains("posts_text_words_idx"),
        "{plan}"
    );
}
