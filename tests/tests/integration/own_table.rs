//! The example of the runner embeds a table of its own, with every outcome that a row can have.

// The code of the example itself.
#[path = "../../../runner/examples/own_table/recipes.rs"]
mod recipes;

use recipes::{DueRecipes, RecipeEmbeddings};
use sluice_runner::engine::Stop;
use sluice_runner::exit::Exit;
use sluice_runner::flow::{FlowOptions, Session, embed_rows};
use sluice_runner::report::Outcome;
use sluice_tests::Stack;

use crate::support::{poisoned_by, rows};

const TABLES: &str = include_str!("../../../runner/examples/own_table/own_table.sql");

async fn embed(session: &Session, limit: Option<u64>) -> Outcome {
    let options = FlowOptions {
        limit,
        ..FlowOptions::default()
    };
    let run = session.begin(options, Stop::new());
    let client = session.database.client();
    let (source, sink) = (DueRecipes(client.clone()), RecipeEmbeddings(client.clone()));
    embed_rows(session, &run, source, sink).await.unwrap()
}

#[tokio::test]
async fn own_table_is_embedded_by_the_same_engine() {
    let stack = Stack::fresh().await;
    let drop = "drop view if exists recipes_due; drop table if exists recipe_embeddings, recipes;";
    let fill = "insert into recipes (id, title, steps)
        select ('00000000-0000-4000-8000-' || lpad(i::text, 12, '0'))::uuid, 'Soup ' || i,
          case i when 200 then '☠' when 201 then ' ' else 'Boil ' || i % 210 || ' carrots.' end
        from generate_series(1, 240) i";
    stack.prepare(&format!("{drop} {TABLES} {fill}")).await;
    let simulator = stack.simulator(poisoned_by("☠")).await;
    let session = stack.session(&simulator, "[embedding]\nchunk_size = 90\nbatch_size = 40");

    let limited = embed(&session, Some(50)).await;
    assert_eq!(limited.exit, Exit::MoreRemains);
    assert_eq!(rows(&limited).written, 50);
    let outcome = embed(&session, None).await;
    assert_eq!(outcome.exit, Exit::SomeFailed, "{:?}", outcome.report);
    let counts = rows(&outcome);
    assert_eq!((counts.written, counts.failed, counts.dead), (188, 1, 1));
    let stored = "select count(*) from recipe_embeddings where vector_dims(embedding) = 1536";
    assert_eq!(stack.count(stored).await, 238);
    let refused = "select count(*) from recipe_embeddings e join recipes r on r.id = e.recipe_id
        where r.steps = '☠' and e.refused like '%refuses the input%'";
    assert_eq!(stack.count(refused).await, 1);

    let before = simulator.stats().requests;
    let again = embed(&session, None).await;
    assert_eq!((again.exit, rows(&again).written), (Exit::Complete, 0));
    assert_eq!(simulator.stats().requests, before);
    stack.sql(drop).await;
}
