//! Damaging the content of a response as a fault says.

use serde_json::{Value, json};

use crate::fault::Fault;

/// Damages vectors. Each stands beside its index.
pub(super) fn corrupt_vectors(vectors: &mut Vec<(usize, Vec<f32>)>, fault: Option<Fault>) {
    match fault {
        Some(Fault::FewerVectors) => {
            vectors.pop();
        }
        Some(Fault::Shuffled) => vectors.reverse(),
        Some(Fault::WrongDimensions) => {
            if let Some((_, last)) = vectors.last_mut() {
                last.pop();
            }
        }
        Some(Fault::Nan) => {
            if let Some(number) = vectors.first_mut().and_then(|(_, first)| first.first_mut()) {
                *number = f32::NAN;
            }
        }
        _ => {}
    }
}

const INDEX: &str = "index";

/// Damages the entries of a response: the first list of objects in its root.
pub(super) fn corrupt_entries(answer: &mut Value, fault: Option<Fault>) {
    let fields = answer.as_object_mut().into_iter().flatten();
    let mut lists = fields.filter_map(|(_, value)| value.as_array_mut());
    let Some(entries) = lists.find(|list| list.first().is_some_and(Value::is_object)) else {
        return;
    };
    match fault {
        Some(Fault::MissingItem) => {
            entries.pop();
        }
        Some(Fault::RepeatedItem) => entries.extend(entries.first().cloned()),
        Some(Fault::ExtraItem) => {
            let indices = entries
                .iter()
                .filter_map(|entry| entry.get(INDEX)?.as_i64());
            let unknown = indices.max().unwrap_or_default() + 1;
            let mut extra = entries.last().cloned().unwrap_or_default();
            if let Some(extra) = extra.as_object_mut() {
                extra.insert(INDEX.to_owned(), json!(unknown));
            }
            entries.push(extra);
        }
        Some(Fault::OutOfRange) => {
            let first = entries.first_mut().and_then(Value::as_object_mut);
            let mut fields = first.into_iter().flatten();
            if let Some((_, score)) = fields.find(|(key, value)| *key != INDEX && value.is_number())
            {
                *score = json!(1_000_001);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(fault: Fault) -> Value {
        let mut answer = json!({"posts": [
            {"index": 1, "reason": "a", "drama": 3.5}, {"index": 2, "reason": "b", "drama": 4}]});
        corrupt_entries(&mut answer, Some(fault));
        answer["posts"].take()
    }

    #[test]
    fn each_fault_damages_the_entries_in_its_way() {
        let (one, two) = (
            json!({"index": 1, "reason": "a", "drama": 3.5}),
            json!({"index": 2, "reason": "b", "drama": 4}),
        );
        assert_eq!(entries(Fault::MissingItem), json!([one]));
        assert_eq!(entries(Fault::RepeatedItem), json!([one, two, one]));
        let extra = json!({"index": 3, "reason": "b", "drama": 4});
        assert_eq!(entries(Fault::ExtraItem), json!([one, two, extra]));
        let out = json!({"index": 1, "reason": "a", "drama": 1_000_001});
        assert_eq!(entries(Fault::OutOfRange), json!([out, two]));
        assert_eq!(entries(Fault::Drop), json!([one, two]));
    }

    #[test]
    fn each_fault_damages_the_vectors_in_its_way() {
        let corrupted = |fault| {
            let mut vectors = vec![(0, vec![1.0, 2.0]), (1, vec![3.0, 4.0])];
            corrupt_vectors(&mut vectors, Some(fault));
            vectors
        };
        assert_eq!(corrupted(Fault::FewerVectors), [(0, vec![1.0, 2.0])]);
        assert_eq!(
            corrupted(Fault::Shuffled),
            [(1, vec![3.0, 4.0]), (0, vec![1.0, 2.0])]
        );
        assert_eq!(
            corrupted(Fault::WrongDimensions),
            [(0, vec![1.0, 2.0]), (1, vec![3.0])]
        );
        assert!(corrupted(Fault::Nan)[0].1[0].is_nan());
    }
}
