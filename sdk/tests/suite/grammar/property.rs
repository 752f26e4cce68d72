//! Hostile values in every position of the grammar: the value is read back whole and never changes
//! the shape of the query. `PROPTEST_CASES=100000` sets the number of cases.

use proptest::prelude::*;
use sluice_sdk::query::{CallDefaults, relation};
use sluice_sdk::{Filter, Offline, Search, col, schema::Any};

use super::decode::{self, Field, Operand, Operator, Param, Step, StepOperand, Tree};
use super::evaluate::{array, like, regex};

/// Texts of many kinds: runs of reserved characters, all of Unicode, words of the grammar, the
/// empty text, and very long ones.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[\"\\\\,()\\[\\]{}.:;*%_&=+#?!<>|' \t\n\r-]{0,12}",
        3 => "(?s).{0,16}".prop_map(|text| text.replace('\0', "")),
        2 => prop::sample::select(vec![
            "", " ", "null", "not.eq.1", "in.(a,b)", "or=(a.eq.b)", "and(a.eq.1)", "\"\"", "\\\"",
            "eq.", "%22", "%2C", "*", "a,b", "a)", "),b.eq.(", "{\"a\"}", "&limit=0", "\u{202e}",
        ]).prop_map(str::to_owned),
        1 => "[a,\")\\\\]{400,800}",
    ]
}

/// Names and keys: as hostile, but never empty.
fn name() -> impl Strategy<Value = String> {
    hostile().prop_filter("a name is not empty", |text| !text.is_empty())
}

/// The filters of a query, parsed.
fn read(filter: Filter<Any>) -> Vec<Tree> {
    // No value is too long for this test.
    let mut defaults = CallDefaults::default();
    defaults.url_bytes = usize::MAX;
    let call = Offline::new(defaults)
        .table("t")
        .filter(filter)
        .call()
        .unwrap();
    trees(call.request.uri().query().unwrap_or_default())
}

fn trees(query: &str) -> Vec<Tree> {
    let params = decode::query(query).unwrap();
    let tree = |param| match param {
        Param::Filter { relation, tree } if relation.is_empty() => tree,
        other => panic!("not a filter of the table: {other:?}"),
    };
    params.into_iter().map(tree).collect()
}

fn field(name: &str) -> Field {
    Field {
        name: name.to_owned(),
        path: Vec::new(),
    }
}

fn condition(field: Field, operator: &str, operand: Operand) -> Tree {
    let operator = Operator {
        name: operator.to_owned(),
        modifier: None,
    };
    Tree::Condition {
        field,
        negated: false,
        operator,
        operand,
    }
}

fn equals(name: &str, value: &str) -> Tree {
    condition(field(name), "eq", Operand::Text(value.to_owned()))
}

proptest! {
    #[test]
    fn a_value_at_the_top_level(value in hostile()) {
        prop_assert_eq!(read(col("v").eq(&value)), [equals("v", &value)]);
        let query = Search::plain(&*value).config("english");
        let Tree::Condition { operand, operator, .. } = read(col("v").search(query)).remove(0) else {
            panic!("not a condition");
        };
        prop_assert_eq!(operand, Operand::Text(value));
        prop_assert_eq!(operator.modifier.as_deref(), Some("english"));
    }

    #[test]
    fn values_in_a_list(values in prop::collection::vec(hostile(), 2..6)) {
        let expected = condition(field("v"), "in", Operand::List(values.clone()));
        prop_assert_eq!(read(col("v").in_(&values)), [expected.clone()]);
        let nested = Tree::Joined { and: false, negated: false, children: vec![expected, equals("w", "1")] };
        prop_assert_eq!(read(col("v").in_(&values).or(col("w").eq(1))), [nested]);
    }

    #[test]
    fn one_value_in_a_list(value in hostile()) {
        let expected = if value.is_empty() {
            equals("v", "")
        } else {
            condition(field("v"), "in", Operand::List(vec![value.clone()]))
        };
        prop_assert_eq!(read(col("v").in_([&value])), [expected]);
    }

    #[test]
    fn values_in_a_tree(a in hostile(), b in hostile(), c in hostile()) {
        let filter = col("a").eq(&a).or(!(col("b").eq(&b).and(col("c").eq(&c))));
        let inner = Tree::Joined {
            and: true,
            negated: true,
            children: vec![equals("b", &b), equals("c", &c)],
        };
        let expected = Tree::Joined { and: false, negated: false, children: vec![equals("a", &a), inner] };
        prop_assert_eq!(read(filter), [expected]);
    }

    #[test]
    fn values_in_an_array_literal(values in prop::collection::vec(hostile(), 1..4)) {
        let literal = |filter: Filter<Any>| match read(filter).remove(0) {
            Tree::Condition { operand: Operand::Text(text), .. } => array(&text).unwrap(),
            Tree::Joined { mut children, .. } => match children.remove(0) {
                Tree::Condition { operand: Operand::Text(text), .. } => array(&text).unwrap(),
                other => panic!("{other:?}"),
            },
            other @ Tree::Condition { .. } => panic!("{other:?}"),
        };
        prop_assert_eq!(&literal(col("v").contains(values.clone())), &values);
        prop_assert_eq!(&literal(col("v").contains(values.clone()).or(col("w").eq(1))), &values);
        prop_assert_eq!(&literal(col("v").gt(sluice_sdk::any(&values))), &values);
        prop_assert_eq!(&literal(col("v").lt(sluice_sdk::all(&values)).or(col("w").eq(1))), &values);
    }

    #[test]
    fn a_text_in_a_pattern(text in hostile(), other in hostile()) {
        for filter in [col("v").contains_text(&text), col("v").contains_text(&text).or(col("w").eq(1))] {
            let tree = match read(filter).remove(0) {
                Tree::Joined { mut children, .. } => children.remove(0),
                condition @ Tree::Condition { .. } => condition,
            };
            let Tree::Condition { operator, operand: Operand::Text(pattern), .. } = tree else {
                panic!("not a condition");
            };
            let matched = |value: &str| match operator.name.as_str() {
                "like" => {
                    assert!(!pattern.contains('*'));
                    like(&pattern, value).unwrap()
                }
                "match" => regex(&pattern, value).unwrap(),
                unexpected => panic!("{unexpected}"),
            };
            // Short texts only: the matchers of this test backtrack.
            if text.len() < 40 && other.len() < 40 {
                let around = format!("{other}{text}{other}");
                prop_assert!(matched(&around));
                prop_assert_eq!(matched(&other), other.contains(&*text));
            }
        }
    }

    #[test]
    fn a_column(column in name(), value in hostile()) {
        prop_assert_eq!(read(col(column.clone()).eq(&value)), [equals(&column, &value)]);
        let tree = Tree::Joined {
            and: false,
            negated: false,
            children: vec![equals(&column, &value), equals("w", "1")],
        };
        prop_assert_eq!(read(col(column).eq(&value).or(col("w").eq(1))), [tree]);
    }

    #[test]
    fn a_path(keys in prop::collection::vec(name(), 1..4), index in any::<i32>(), value in hostile()) {
        let mut column = col("doc").index(index.into());
        let mut path = vec![Step { as_text: false, operand: StepOperand::Index(index.into()) }];
        for key in &keys {
            column = column.key(key.clone());
            path.push(Step { as_text: false, operand: StepOperand::Key(key.clone()) });
        }
        let field = Field { name: "doc".to_owned(), path };
        let expected = condition(field, "eq", Operand::Text(value.clone()));
        prop_assert_eq!(read(column.eq(&value)), [expected]);
    }

    #[test]
    fn a_filter_on_an_embedded_relation(relation_name in name(), value in hostile()) {
        let nested = relation(relation_name.clone()).filter(col("a").eq(&value).or(col("b").eq(1)));
        let call = Offline::default().table("t").embed(nested).call().unwrap();
        let read = decode::query(call.request.uri().query().unwrap()).unwrap();
        let children = vec![equals("a", &value), equals("b", "1")];
        let tree = Tree::Joined { and: false, negated: false, children };
        prop_assert_eq!(read, [Param::Filter { relation: vec![relation_name], tree }]);
    }

    #[test]
    fn a_table_and_an_argument(table in name(), value in hostile()) {
        prop_assume!(!matches!(table.as_str(), "." | ".."));
        let call = Offline::default().table(&table).read().call().unwrap();
        let path = call.request.uri().path().to_owned();
        prop_assert_eq!(path.matches('/').count(), 1);
        prop_assert_eq!(decode::percent_decoded(&path[1..]).unwrap(), table);
        let arguments = serde_json::json!({"a": value});
        let call = Offline::default().rpc_by_name("f", &arguments).call().unwrap();
        prop_assert_eq!(call.request.method(), "POST");
        prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(call.request.body()).unwrap(), arguments);
    }

    #[test]
    fn a_nul_is_refused_everywhere(before in hostile(), after in hostile()) {
        let value = format!("{before}\0{after}");
        let refused = |filter: Filter<Any>| Offline::default().table("t").filter(filter).call().is_err();
        prop_assert!(refused(col("v").eq(&value)));
        prop_assert!(refused(col("v").in_([&value, "x"])));
        prop_assert!(refused(col("v").eq(&value).or(col("w").eq(1))));
        prop_assert!(refused(col("v").contains(vec![value.clone()])));
        prop_assert!(refused(col("v").like(&value)));
        prop_assert!(refused(col(value.clone()).eq(1)));
        prop_assert!(refused(col("doc").key(value).eq(1)));
    }
}
