//! What the benches share.

use sluice_tests::{Program, Stack};

/// The program with these two services.
pub(crate) fn program(postgrest_url: &str, openai_url: &str) -> Program {
    Program::bare()
        .with("POSTGREST_URL", postgrest_url)
        .with("SUPABASE_SERVICE_KEY", "bench")
        .with("OPENAI_BASE_URL", openai_url)
        .with("OPENAI_API_KEY", "bench")
}

/// Fills the database with posts. Each has a different text of about sixty tokens.
pub(crate) async fn fill(stack: &Stack, posts: u32) {
    stack
        .sql(&format!(
            "truncate post_embeddings, work_items, posts, neighborhoods cascade;
             insert into neighborhoods (name, slug) values ('Elm', 'elm');
             insert into posts (neighborhood_id, post_id_ext, text, hash)
             select n.id, i::text, 'post ' || i || repeat(' neighbours and their dogs', 10), i::text
             from neighborhoods n, generate_series(1, {posts}) i"
        ))
        .await;
}
