//! Spoiling an answer the way a fault says.

use serde_json::{Value, json};

use super::Fault;

/// Spoils vectors, each of which stands beside its index.
pub(super) fn spoil_vectors(vectors: &mut Vec<(usize, Vec<f32>)>, fault: Option<Fault>) {
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
            if let Some(number) = vectors
                .first_mut()
                .and_then(|(_, vector)| vector.first_mut())
            {
                *number = f32::NAN;
            }
        }
        _ => {}
    }
}

/// Spoils the entries of an answer: the first list of objects in its root.
pub(super) fn spoil_entries(answer: &mut Value, fault: Option<Fault>) {
    let lists = answer
        .as_object_mut()
        .into_iter()
        .flat_map(|root| root.values_mut());
    let mut lists = lists.filter_map(Value::as_array_mut);
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
            let beyond = indices.max().unwrap_or_default() + 1;
            let mut extra = entries
                .last()
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
            extra.insert(INDEX.to_owned(), json!(beyond));
            entries.push(extra.into());
        }
        Some(Fault::OutOfRange) => {
            let fields = entries
                .first_mut()
                .and_then(Value::as_object_mut)
                .into_iter()
                .flatten();
            let mut numbers = fields.filter(|(key, value)| *key != INDEX && value.is_number());
            if let Some((_, number)) = numbers.next() {
                *number = json!(1_000_001);
            }
        }
        _ => {}
    }
}

const INDEX: &str = "index";

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(fault: Fault) -> Value {
        let mut answer = json!({"posts": [
            {"index": 1, "reason": "a", "drama": 3.5}, {"index": 2, "reason": "b", "drama": 4}]});
        spoil_entries(&mut answer, Some(fault));
        answer["posts"].take()
    }

    #[test]
    fn entries_are_spoilt_in_their_several_ways() {
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
    fn vectors_are_spoilt_in_their_several_ways() {
        let spoilt = |fault| {
            let mut vectors = vec![(0, vec![1.0, 2.0]), (1, vec![3.0, 4.0])];
            spoil_vectors(&mut vectors, Some(fault));
            vectors
        };
        assert_eq!(spoilt(Fault::FewerVectors), [(0, vec![1.0, 2.0])]);
        assert_eq!(
            spoilt(Fault::Shuffled),
            [(1, vec![3.0, 4.0]), (0, vec![1.0, 2.0])]
        );
        assert_eq!(
            spoilt(Fault::WrongDimensions),
            [(0, vec![1.0, 2.0]), (1, vec![3.0])]
        );
        assert!(spoilt(Fault::Nan)[0].1[0].is_nan());
    }
}
