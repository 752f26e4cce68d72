//! Fifteen tasks as somebody who knows supabase-js would say them, each done with names from the index
//! of the documentation alone.

use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_sdk::prelude::*;

use crate::capped;

#[derive(Debug, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "todos")]
struct Todo {
    #[table(primary_key)]
    id: i64,
    title: String,
    done: bool,
    note: Option<String>,
}

#[derive(Serialize, Function)]
#[function(name = "open_todos", returns = i64, read_only)]
struct OpenTodos {
    before: i64,
}

fn todo(id: i64, title: &str) -> Todo {
    Todo {
        id,
        title: title.to_owned(),
        done: false,
        note: None,
    }
}

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::test]
async fn fifteen_tasks_are_done_at_the_first_guess() -> Outcome {
    let db = capped::client(
        "create table todos (
             id bigint primary key, title text not null, done bool not null, note text
         );
         create function open_todos(before bigint) returns bigint language sql stable
             as 'select count(*) from todos where not done and id < before'",
    )
    .await;
    write(&db).await?;
    read(&db).await?;
    change(&db).await
}

async fn write(db: &Client) -> Outcome {
    // "Insert a row and give it back."
    let first = todo(1, "buy milk");
    let stored = db
        .from::<Todo>()
        .insert_one(&first)
        .returning::<Todo>()
        .await?;
    assert_eq!(stored, first);
    // "Insert many rows."
    let many: Vec<Todo> = (2..=50).map(|id| todo(id, "read, (again)")).collect();
    assert_eq!(db.from::<Todo>().insert(&many).await?.affected, 49);
    // "Upsert a row by its id."
    let again = todo(1, "buy oat milk");
    db.from::<Todo>()
        .upsert_one(&again)
        .on_conflict(Todo::ID)
        .await?;
    // "Upsert rows, and leave those alone that exist."
    let rows = [todo(1, "no"), todo(51, "new")];
    let report = db.from::<Todo>().upsert(&rows).ignore_duplicates().await?;
    assert_eq!(report.affected, 1);
    Ok(())
}

async fn read(db: &Client) -> Outcome {
    // "Select everything."
    assert_eq!(db.from::<Todo>().await?.len(), 51);
    // "Where the title contains a text, newest first, ten of them."
    let filtered = db
        .from::<Todo>()
        .filter(Todo::TITLE.contains_text("read, ("));
    let newest = filtered.order(Todo::ID.desc()).limit(10).await?;
    assert_eq!((newest.len(), newest[0].id), (10, 50));
    // "This or that."
    let either = Todo::ID.eq(1).or(Todo::TITLE.eq("new"));
    assert_eq!(db.from::<Todo>().filter(either).await?.len(), 2);
    // "A single row."
    let milk = db.from::<Todo>().filter(Todo::ID.eq(1)).single().await?;
    assert_eq!(milk.title, "buy oat milk");
    // "A row that may not be there."
    assert!(
        db.from::<Todo>()
            .filter(Todo::ID.eq(99))
            .maybe_single()
            .await?
            .is_none()
    );
    // "The second page of twenty, with the count."
    let page = db.from::<Todo>().order(Todo::ID.asc()).offset(20).limit(20);
    let page = page.count(Count::Exact).page().await?;
    assert_eq!(
        (page.rows.len(), page.total, page.more),
        (20, Some(51), Some(true))
    );
    // "Only how many."
    assert_eq!(db.from::<Todo>().count_rows(Count::Exact).await?, 51);
    // "Call a function."
    assert_eq!(db.rpc(OpenTodos { before: 10 }).await?, 9);
    let untyped = db.rpc_by_name("open_todos", &json!({"before": 10})).await?;
    assert_eq!(untyped, json!(9));
    // "Go through all of them."
    let ids: Vec<Value> = db
        .table("todos")
        .order(col("id").asc())
        .stream()
        .try_collect()
        .await?;
    assert_eq!(ids.len(), 51);
    Ok(())
}

async fn change(db: &Client) -> Outcome {
    // "Update some rows."
    let update = db
        .from::<Todo>()
        .update()
        .set(Todo::DONE, true)
        .set(Todo::NOTE, None);
    assert_eq!(update.filter(Todo::ID.in_([1, 2])).await?, 2);
    // "Delete a row, and give it back."
    let gone = db.from::<Todo>().delete().filter(Todo::ID.eq(51));
    assert_eq!(gone.returning::<Todo>().single().await?.title, "new");
    Ok(())
}
