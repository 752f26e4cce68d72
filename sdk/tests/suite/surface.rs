//! The names of the crate: few at the root, and none in the prelude that others have too.

#![expect(
    unused_imports,
    reason = "a name that two of these import cannot be used"
)]

use std::collections::BTreeSet;

/// The names that `lib.rs` makes public at the root, modules included.
fn root_names() -> BTreeSet<String> {
    let source = include_str!("../../src/lib.rs");
    let source = source.split("#[doc(hidden)]").next().unwrap();
    let mut names = BTreeSet::new();
    let mut rest = source;
    while let Some(start) = rest.find("\npub ") {
        let item = &rest[start + 5..];
        let (item, after) = if let Some(module) = item.strip_prefix("mod ") {
            let name = module.split([' ', ';']).next().unwrap();
            names.insert(name.to_owned());
            (module, &rest[start + 5..])
        } else {
            let end = item.find(';').unwrap();
            let list = item[..end].rsplit("::").next().unwrap();
            let list = list.trim_matches(['{', '}', '\n', ' ']);
            let imported = list
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            names.extend(imported.map(str::to_owned));
            (item, &item[end..])
        };
        assert!(!item.is_empty());
        rest = after;
    }
    names
}

#[test]
fn the_root_has_few_names() {
    let names = root_names();
    assert!(
        names.contains("Client") && names.contains("query"),
        "{names:?}"
    );
    assert!(names.len() <= 25, "{}: {names:?}", names.len());
}

mod beside_others {
    use std::{
        any::*, borrow::*, cell::*, cmp::*, collections::*, convert::*, error::*, fmt::*,
        future::*, hash::*, io::prelude::*, iter::*, num::*, ops::*, option::*, path::*, pin::*,
        rc::*, result::*, slice::*, str::*, string::*, sync::*, task::*, time::*, vec::*,
    };

    use serde_json::*;
    use sluice_sdk::prelude::*;

    /// A name that two globs import does not compile if it is used.
    #[test]
    fn the_prelude_takes_no_name_of_std_or_serde_json() {
        #[expect(dead_code, reason = "it names the traits")]
        fn traits<T: Table + Select, F: Function>() {}
        fn named<N: ?Sized>() -> usize {
            std::any::type_name::<N>().len()
        }
        let types = named::<Client>()
            + named::<Checkpoint>()
            + named::<Column<(), i32>>()
            + named::<Count>()
            + named::<Embedding>()
            + named::<Expression>()
            + named::<Offline>()
            + named::<Page<i32>>()
            + named::<Search>()
            + named::<SecretString>()
            + named::<Selection>()
            + named::<Tristate<i32>>();
        assert!(types > 0);
        let filter = col("a").eq(all([1])).or(col("b").eq(any([2])));
        assert!(filter.to_string().starts_with("or="));
    }
}
