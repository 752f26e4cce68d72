//! Signed-in users: row-level security sees whose token a request carries.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sluice_runner::local::{LocalOptions, Server};
use sluice_sdk::{Client, SecretString, Table};

#[derive(Debug, PartialEq, Serialize, Deserialize, Table)]
#[table(name = "diary")]
struct Entry {
    #[table(primary_key)]
    id: i64,
    owner: String,
    line: String,
}

/// The embedded server's key for tokens, which is public.
const JWT_SECRET: &[u8] = b"unsafe-secret-change-me";

#[tokio::test]
async fn each_user_sees_and_changes_their_own_rows() {
    // A separate server, because it looks for policies when it first sees the table.
    let server = Server::start(&LocalOptions::default()).await.unwrap();
    let prepare =
        "create table diary (id bigint primary key, owner text not null, line text not null);
         insert into diary values (1, 'ann', 'rain'), (2, 'ben', 'sun'), (3, 'ann', 'wind');
         alter table diary enable row level security;
         create policy own on diary for all to authenticated
             using (owner = (current_setting('request.jwt.claims', true)::json ->> 'sub'))";
    server.sql(prepare).await.unwrap();
    let client = |key: &SecretString| {
        let builder = Client::builder().supabase_url(server.url());
        builder.key(key.clone()).build().unwrap()
    };
    let (service, everybody) = (
        client(server.secret_key()),
        client(server.publishable_key()),
    );
    let ann = everybody.as_user(&token("ann")).unwrap();
    let lines = async |db: &Client| {
        let rows = db.from::<Entry>().order(Entry::ID.asc()).await.unwrap();
        rows.into_iter().map(|row| row.line).collect::<Vec<_>>()
    };
    assert_eq!(lines(&service).await, ["rain", "sun", "wind"]);
    assert!(lines(&everybody).await.is_empty());
    assert_eq!(lines(&ann).await, ["rain", "wind"]);

    // Rows that row-level security hides are not an error. The count shows them.
    let all = ann
        .from::<Entry>()
        .update()
        .set(Entry::LINE, "snow")
        .all_rows();
    assert_eq!(all.await.unwrap(), 2);
    assert_eq!(lines(&service).await, ["snow", "sun", "snow"]);
    let bens = [Entry {
        id: 4,
        owner: "ben".to_owned(),
        line: "fog".to_owned(),
    }];
    let report = ann.from::<Entry>().insert(&bens).await.unwrap();
    assert!(report.failed[0].error.is_permission_denied(), "{report:?}");

    let odd = everybody
        .as_user(&SecretString::from("not.a.token"))
        .unwrap();
    let error = odd.from::<Entry>().await.unwrap_err();
    assert!(error.is_unauthorized(), "{error}");
    server.stop().await;
}

/// A token (RFC 7519, HS256) of a signed-in user.
fn token(user: &str) -> SecretString {
    let claims = json!({"sub": user, "role": "authenticated", "exp": 4_102_444_800_u64});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!(
        "{}.{}",
        part(&json!({"alg": "HS256", "typ": "JWT"})),
        part(&claims)
    );
    let signature = URL_SAFE_NO_PAD.encode(hmac_sha256(JWT_SECRET, signed.as_bytes()));
    SecretString::from(format!("{signed}.{signature}"))
}

/// HMAC (RFC 2104) for keys that are no longer than a block.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    let padded = |byte: u8| -> Vec<u8> {
        let key = key.iter().copied().chain(std::iter::repeat(0));
        key.take(64).map(|letter| letter ^ byte).collect()
    };
    let inner = Sha256::new()
        .chain_update(padded(0x36))
        .chain_update(message);
    let outer = Sha256::new().chain_update(padded(0x5c));
    outer.chain_update(inner.finalize()).finalize().to_vec()
}
