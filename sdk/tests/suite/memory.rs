//! A table in memory that responds like PostgREST, as far as the SDK's loops need it. It reads
//! queries with the independent parser, and silently cuts responses at a row limit.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value, json};
use sluice_sdk::testing::{Fake, FakeResponse, RecordedRequest};
use sluice_sdk::{Client, client::ClientBuilder, query::RetryPolicy};

use crate::grammar::decode::{self, Operand, Param, Tree};

pub(crate) type Row = Map<String, Value>;

/// The table and its rules. Every path is this table.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    rows: Vec<Row>,
    max_rows: Option<usize>,
    max_body: Option<usize>,
    max_batch: Option<usize>,
    /// Rows with this text anywhere are refused.
    poison: Option<String>,
}

impl Memory {
    pub(crate) fn with_rows(rows: impl IntoIterator<Item = Value>) -> Self {
        let memory = Self::default();
        let objects = rows.into_iter().map(|row| row.as_object().unwrap().clone());
        memory.state.lock().unwrap().rows = objects.collect();
        memory
    }

    pub(crate) fn max_rows(self, rows: usize) -> Self {
        self.state.lock().unwrap().max_rows = Some(rows);
        self
    }

    /// Refuses longer bodies with 413, as a gateway does.
    pub(crate) fn max_body(self, bytes: usize) -> Self {
        self.state.lock().unwrap().max_body = Some(bytes);
        self
    }

    /// Times out on more rows at once.
    pub(crate) fn max_batch(self, rows: usize) -> Self {
        self.state.lock().unwrap().max_batch = Some(rows);
        self
    }

    pub(crate) fn poison(self, text: &str) -> Self {
        self.state.lock().unwrap().poison = Some(text.to_owned());
        self
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        self.state.lock().unwrap().rows.clone()
    }

    /// A client of this table, and its recorded requests.
    pub(crate) fn client(&self) -> (Client, Fake) {
        let state = Arc::clone(&self.state);
        let fake = Fake::new(move |request| state.lock().unwrap().answer(request));
        (client(&fake), fake)
    }
}

/// A client that sends to `fake` and retries without waiting.
pub(crate) fn client(fake: &Fake) -> Client {
    builder().transport(fake.clone()).build().unwrap()
}

/// The client's builder, without a transport.
pub(crate) fn builder() -> ClientBuilder {
    let retry = RetryPolicy::default().base(std::time::Duration::ZERO);
    Client::builder()
        .postgrest_url("http://memory")
        .retry(retry)
}

impl State {
    fn answer(&mut self, request: &RecordedRequest) -> FakeResponse {
        let query = request.path.split_once('?').map_or("", |(_, query)| query);
        let params = decode::query(query).unwrap();
        match request.method.as_str() {
            "GET" => self.read(request, &params),
            "POST" => self.write(request, &params),
            other => panic!("{other} is not for this table"),
        }
    }

    fn read(&self, request: &RecordedRequest, params: &[Param]) -> FakeResponse {
        let mut rows: Vec<&Row> = self.rows.iter().filter(|row| kept(params, row)).collect();
        if let Some(order) = other(params, "order") {
            rows.sort_by(|a, b| compare_by(order, a, b));
        }
        let total = rows.len();
        let number = |name| other(params, name).map(|text| text.parse::<usize>().unwrap());
        let offset = number("offset").unwrap_or(0);
        let limit = number("limit")
            .unwrap_or(usize::MAX)
            .min(self.max_rows.unwrap_or(usize::MAX));
        let page: Vec<&Row> = rows.into_iter().skip(offset).take(limit).collect();
        let range = match page.len() {
            0 => "*".to_owned(),
            length => format!("{offset}-{}", offset + length - 1),
        };
        let counted = request
            .headers
            .get("prefer")
            .is_some_and(|it| it.contains("count=exact"));
        let total = if counted {
            total.to_string()
        } else {
            "*".to_owned()
        };
        FakeResponse::json(200, &json!(page)).header("content-range", &format!("{range}/{total}"))
    }

    fn write(&mut self, request: &RecordedRequest, params: &[Param]) -> FakeResponse {
        let body = request.body.as_deref().unwrap();
        let rows: Vec<Row> = serde_json::from_str(body).unwrap();
        if self.max_body.is_some_and(|bytes| body.len() > bytes) {
            return FakeResponse::text(413, "<html>too large</html>");
        }
        if self.max_batch.is_some_and(|batch| rows.len() > batch) {
            return FakeResponse::error(
                500,
                "57014",
                "canceling statement due to statement timeout",
            );
        }
        if self
            .poison
            .as_ref()
            .is_some_and(|poison| body.contains(poison))
        {
            return FakeResponse::error(
                400,
                "23514",
                "new row violates check constraint \"poison\"",
            );
        }
        let columns: Vec<&str> = other(params, "columns").unwrap().split(',').collect();
        for row in &rows {
            let keys: BTreeSet<&str> = row.keys().map(String::as_str).collect();
            assert_eq!(
                keys,
                columns.iter().copied().collect(),
                "a row has other keys than listed"
            );
        }
        let prefer = request.headers.get("prefer").map_or("", String::as_str);
        // The primary key of every table here is `id`.
        let primary_key = if prefer.contains("resolution=") {
            vec!["id"]
        } else {
            Vec::new()
        };
        let conflict: Vec<&str> =
            other(params, "on_conflict").map_or(primary_key, |it| it.split(',').collect());
        match self.store(&rows, &conflict, prefer) {
            Ok(written) => FakeResponse::json(201, &json!(written))
                .header("content-range", &format!("*/{}", written.len())),
            Err(reply) => *reply,
        }
    }

    /// All rows or none, as a transaction does.
    fn store(
        &mut self,
        rows: &[Row],
        conflict: &[&str],
        prefer: &str,
    ) -> Result<Vec<Row>, Box<FakeResponse>> {
        let mut stored = self.rows.clone();
        let mut written: Vec<Row> = Vec::new();
        let key = |row: &Row| -> String {
            conflict
                .iter()
                .map(|column| row.get(*column).unwrap_or(&Value::Null).to_string())
                .collect()
        };
        let mut places: HashMap<String, usize> = if conflict.is_empty() {
            HashMap::new()
        } else {
            stored
                .iter()
                .enumerate()
                .map(|(place, row)| (key(row), place))
                .collect()
        };
        let mut touched = BTreeSet::new();
        for row in rows {
            let place = places
                .get(&key(row))
                .copied()
                .filter(|_| !conflict.is_empty());
            match place {
                None => {
                    places.insert(key(row), stored.len());
                    touched.insert(stored.len());
                    stored.push(row.clone());
                }
                Some(_) if prefer.contains("ignore-duplicates") => continue,
                Some(_) if !prefer.contains("merge-duplicates") => {
                    return Err(Box::new(FakeResponse::error(
                        409,
                        "23505",
                        "duplicate key value",
                    )));
                }
                Some(place) if !touched.insert(place) => {
                    return Err(Box::new(FakeResponse::error(
                        500,
                        "21000",
                        "a row a second time",
                    )));
                }
                Some(place) => stored[place].extend(row.clone()),
            }
            written.push(row.clone());
        }
        self.rows = stored;
        Ok(written)
    }
}

fn other<'a>(params: &'a [Param], wanted: &str) -> Option<&'a str> {
    params.iter().find_map(|param| match param {
        Param::Other { name, value } if name == wanted => Some(value.as_str()),
        _ => None,
    })
}

fn kept(params: &[Param], row: &Row) -> bool {
    params.iter().all(|param| match param {
        Param::Filter { tree, .. } => holds(tree, row) == Some(true),
        Param::Other { .. } => true,
    })
}

/// SQL's three values: `None` is unknown.
fn holds(tree: &Tree, row: &Row) -> Option<bool> {
    let (result, negated) = match tree {
        Tree::Joined {
            and,
            negated,
            children,
        } => {
            let results: Vec<Option<bool>> =
                children.iter().map(|child| holds(child, row)).collect();
            let decided = Some(!*and);
            let result = if results.contains(&decided) {
                decided
            } else if results.contains(&None) {
                None
            } else {
                Some(*and)
            };
            (result, *negated)
        }
        Tree::Condition {
            field,
            negated,
            operator,
            operand,
        } => {
            let value = row.get(&field.name).unwrap_or(&Value::Null);
            (compare(&operator.name, value, operand), *negated)
        }
    };
    result.map(|holds| holds != negated)
}

fn compare(operator: &str, value: &Value, operand: &Operand) -> Option<bool> {
    match (operator, operand) {
        ("is", Operand::Text(text)) if text == "null" => Some(value.is_null()),
        (_, _) if value.is_null() => None,
        ("in", Operand::List(list)) => Some(
            list.iter()
                .any(|one| order_of_text(value, one) == Ordering::Equal),
        ),
        ("eq", Operand::Text(text)) => Some(order_of_text(value, text) == Ordering::Equal),
        ("gt", Operand::Text(text)) => Some(order_of_text(value, text) == Ordering::Greater),
        ("gte", Operand::Text(text)) => Some(order_of_text(value, text) != Ordering::Less),
        ("lt", Operand::Text(text)) => Some(order_of_text(value, text) == Ordering::Less),
        ("lte", Operand::Text(text)) => Some(order_of_text(value, text) != Ordering::Greater),
        _ => panic!("no {operator} of {operand:?} here"),
    }
}

/// Compares a value with a text that is read as the value's type.
fn order_of_text(value: &Value, text: &str) -> Ordering {
    match value {
        Value::Number(number) => number.as_i64().unwrap().cmp(&text.parse().unwrap()),
        Value::String(value) => value.as_str().cmp(text),
        other => panic!("{other} is not compared here"),
    }
}

/// Compares rows by the value of an `order` parameter.
fn compare_by(order: &str, a: &Row, b: &Row) -> Ordering {
    order.split(',').fold(Ordering::Equal, |so_far, key| {
        let parts: Vec<&str> = key.split('.').collect();
        let descending = parts.contains(&"desc");
        let nulls_first = match parts.last() {
            Some(&"nullsfirst") => true,
            Some(&"nullslast") => false,
            _ => descending,
        };
        so_far.then_with(|| compare_values(&a[parts[0]], &b[parts[0]], descending, nulls_first))
    })
}

fn compare_values(a: &Value, b: &Value, descending: bool, nulls_first: bool) -> Ordering {
    match (a, b) {
        (Value::Null, Value::Null) => Ordering::Equal,
        (Value::Null, _) => {
            if nulls_first {
                Ordering::Less
            } else {
                Ordering::Greater
            }
        }
        (_, Value::Null) => {
            if nulls_first {
                Ordering::Greater
            } else {
                Ordering::Less
            }
        }
        (Value::Number(a), Value::Number(b)) => directed(a.as_i64().cmp(&b.as_i64()), descending),
        (Value::String(a), Value::String(b)) => directed(a.cmp(b), descending),
        other => panic!("{other:?} are not compared here"),
    }
}

fn directed(order: Ordering, descending: bool) -> Ordering {
    if descending { order.reverse() } else { order }
}
