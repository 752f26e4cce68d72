//! Who may do what: the publishable key reads what the site shows and nothing else.

use reqwest::Method;
use serde_json::{Value, json};
use sluice_tests::{OwnStack, Stack};

use crate::support::{request, text_of};

/// Every function of ours, in the catalog: none may be called by anon or authenticated, all by `service_role`, and none
/// runs with more rights than its caller's. Functions of extensions are theirs.
#[tokio::test]
async fn only_the_service_role_may_call_a_function() {
    let stack = Stack::fresh().await;
    let functions = stack
        .rows(
            "select p.oid::regprocedure::text as name,
               has_function_privilege('anon', p.oid, 'execute') as anon,
               has_function_privilege('authenticated', p.oid, 'execute') as authenticated,
               has_function_privilege('service_role', p.oid, 'execute') as service,
               p.prosecdef as definer
             from pg_proc p
             where p.pronamespace = 'public'::regnamespace
               and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')",
        )
        .await;
    assert!(functions.len() > 60, "{}", functions.len());
    for function in functions {
        let name = text_of(&function, "name");
        let held = [
            &function["anon"],
            &function["authenticated"],
            &function["service"],
            &function["definer"],
        ];
        // It only reads, and what it reads belongs to no role of the API.
        let definer = json!(name == "applied_migrations()");
        assert_eq!(
            held,
            [&json!(false), &json!(false), &json!(true), &definer],
            "{name}"
        );
    }
}

#[tokio::test]
async fn every_table_has_row_level_security_and_the_inner_ones_have_no_policy() {
    let stack = Stack::fresh().await;
    let open =
        "select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
        and not relrowsecurity";
    assert_eq!(stack.rows(open).await, Vec::<Value>::new());
    let policies = "select tablename, cmd from pg_policies where schemaname = 'public' and (cmd <> 'SELECT'
        or tablename in ('work_items', 'background_jobs', 'post_scores_staging', 'post_score_chunks'))";
    assert_eq!(stack.rows(policies).await, Vec::<Value>::new());
}

/// On the tables of ours, and on what the owner of the schema makes later.
#[tokio::test]
async fn the_publishable_key_may_read_and_nothing_else() {
    let stack = OwnStack::migrated().await;
    stack
        .sql(
            "create table made_later (id integer);
             create function made_later() returns integer language sql as 'select 1'",
        )
        .await;
    let held = "select c.relname, g.grantee, g.privilege_type
        from information_schema.role_table_grants g
          join pg_class c on c.relname = g.table_name and c.relnamespace = 'public'::regnamespace
        where g.grantee in ('anon', 'authenticated', 'PUBLIC') and g.privilege_type <> 'SELECT'";
    assert_eq!(stack.sql(held).await, Vec::<Value>::new());
    let readable = "select string_agg(relname, ' ' order by relname) as tables from pg_class
        where relnamespace = 'public'::regnamespace and relkind = 'r' and has_table_privilege('anon', oid, 'select')";
    assert_eq!(
        stack.sql(readable).await,
        [
            json!({ "tables": "llm_scores neighborhoods post_embeddings post_scores settings topic_frequencies \
             weight_configs" })
        ]
    );
    let later = "select has_function_privilege('anon', 'made_later()', 'execute') as function,
        has_function_privilege('service_role', 'made_later()', 'execute') as service";
    assert_eq!(
        stack.sql(later).await,
        [json!({ "function": false, "service": true })]
    );
}

/// The SQLSTATE names the rule of the schema that a script broke.
#[tokio::test]
async fn violated_check_is_a_bad_request_with_its_sqlstate() {
    let stack = OwnStack::migrated().await;
    let job = json!({ "type": "embed_posts", "status": "odd" });
    let url = format!("{}/background_jobs", stack.rest_url());
    let (status, answer) = request(Method::POST, &url, stack.secret_key(), &job).await;
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!("23514")),
        "{answer}"
    );
    let said = text_of(&answer, "message");
    assert!(said.contains("background_jobs_status_check"), "{said}");
    assert!(text_of(&answer, "details").starts_with("Failing row contains"));

    // The SQLSTATE also says that Postgres gave up. A client can then send less, or the same again.
    stack
        .sql(
            "create function fail(p_code text) returns void language plpgsql as
               $$ begin raise 'given up' using errcode = p_code; end $$;
             grant execute on function fail to service_role",
        )
        .await;
    let url = format!("{}/rpc/fail", stack.rest_url());
    for (code, expected) in [
        ("57014", 500),
        ("40001", 500),
        ("57P01", 503),
        ("P0001", 400),
    ] {
        let (status, answer) = request(
            Method::POST,
            &url,
            stack.secret_key(),
            &json!({ "p_code": code }),
        )
        .await;
        assert_eq!(
            (status, &answer["code"]),
            (expected, &json!(code)),
            "{answer}"
        );
    }
}

/// The same rule through the API.
#[tokio::test]
async fn publishable_key_reads_posts_but_no_jobs_and_calls_no_functions() {
    let stack = OwnStack::migrated().await;
    stack
        .sql(
            "insert into neighborhoods (name, slug) values ('Elm', 'elm');
             insert into posts (neighborhood_id, post_id_ext, text, hash) select id, 'x', 'a text', 'h' from neighborhoods;
             insert into llm_scores (post_id, scores) select id, '{\"drama\": 3}' from posts;
             insert into background_jobs (type, status) values ('embed_posts', 'pending');
             insert into work_items (kind, post_id, attempts) select 'embed', id, 1 from posts",
        )
        .await;
    let (root, key) = (stack.rest_url(), stack.publishable_key());
    let read =
        async |path: &str| request(Method::GET, &format!("{root}/{path}"), key, &Value::Null).await;
    let get = async |table: &str| read(&format!("{table}?select=*")).await;
    for path in [
        "posts?select=id,text,url,posted_at,neighborhood_id",
        "neighborhoods",
        "llm_scores",
        "settings",
    ] {
        let (status, rows) = read(path).await;
        assert_eq!(status, 200, "{path}: {rows}");
        assert!(!rows.as_array().unwrap().is_empty(), "{path}");
    }
    for column in ["*", "author_name", "user_id_hash", "comments"] {
        let (status, answer) = read(&format!("posts?select={column}")).await;
        assert_eq!(answer["code"], "42501", "{column}: {status} {answer}");
    }
    for table in [
        "background_jobs",
        "work_items",
        "post_scores_staging",
        "post_score_chunks",
    ] {
        let (status, rows) = get(table).await;
        assert!(
            status != 200 || rows == json!([]),
            "{table}: {status} {rows}"
        );
    }
    for (function, arguments) in [
        ("pipeline_status", json!({})),
        ("replay_work", json!({ "p_kind": null, "p_post_ids": null })),
        ("enqueue_job", json!({ "p_type": "embed_posts" })),
        ("get_posts_without_embeddings", json!({ "lim": 1 })),
        ("rank_posts", json!({})),
    ] {
        let url = format!("{root}/rpc/{function}");
        let (status, answer) = request(Method::POST, &url, key, &arguments).await;
        assert!(
            (400..500).contains(&status),
            "{function}: {status} {answer}"
        );
        let (status, answer) = request(Method::POST, &url, stack.secret_key(), &arguments).await;
        assert_eq!(status, 200, "{function}: {answer}");
    }
    for (method, body) in [
        (Method::DELETE, Value::Null),
        (Method::PATCH, json!({ "text": "x" })),
    ] {
        request(method, &format!("{root}/posts?text=neq.x"), key, &body).await;
    }
    assert_eq!(
        stack
            .count("select count(*) from posts where text = 'a text'")
            .await,
        1
    );
}
