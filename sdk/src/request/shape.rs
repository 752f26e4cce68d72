//! The shape of a request, without the values in it.

use http::{Method, Uri};

use crate::grammar::Operator;

/// Describes a request for errors and spans: `GET /posts?select=id&url=eq.…`.
///
/// Names, operators, and parameters without data (`select`, `order`, `limit` …) stay. Every
/// compared value is left out, and so is the inside of a logic tree.
pub(crate) fn shape(method: &Method, uri: &Uri) -> String {
    const SHOWN: [&str; 6] = [
        "select",
        "columns",
        "on_conflict",
        "order",
        "limit",
        "offset",
    ];
    let mut out = format!("{method} {}", uri.path());
    for (position, pair) in uri.query().unwrap_or_default().split('&').enumerate() {
        if pair.is_empty() {
            continue;
        }
        out.push(if position == 0 { '?' } else { '&' });
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        out.extend([name, "="]);
        let last = name.rsplit('.').next().unwrap_or(name);
        if SHOWN.contains(&last) {
            out.push_str(value);
        } else {
            out.extend([operator(value), "…"]);
        }
    }
    out
}

/// The operator and its dot, or nothing if the value does not begin with an operator.
fn operator(value: &str) -> &str {
    let negation = if value.starts_with("not.") {
        "not."
    } else {
        ""
    };
    let rest = value.get(negation.len()..).unwrap_or_default();
    let Some((operator, _)) = rest.split_once('.') else {
        return "";
    };
    let word = operator.split_once('(').map_or(operator, |(word, _)| word);
    if !Operator::is_word(word) {
        return "";
    }
    value
        .get(..negation.len() + operator.len() + 1)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out() {
        let uri: Uri = "/posts?select=id&url=eq.https%3A%2F%2Fx&not.or=(a.eq.1)&b=not.in.(1)&c.order=id&limit=2"
            .parse()
            .unwrap();
        assert_eq!(
            shape(&Method::GET, &uri),
            "GET /posts?select=id&url=eq.…&not.or=…&b=not.in.…&c.order=id&limit=2"
        );
    }

    #[test]
    fn an_argument_of_a_function_is_a_value() {
        let uri: Uri = "/rpc/f?token=abc.def".parse().unwrap();
        assert_eq!(shape(&Method::GET, &uri), "GET /rpc/f?token=…");
    }
}
