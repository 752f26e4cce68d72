//! The most likely mistakes do not compile, and their messages name the table, the column and the
//! remedy.

use std::path::Path;

#[test]
fn mistakes_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}

/// What the first line of a message must name, and what the lines below must show.
const NAMED: [(&str, &str, &str); 16] = [
    ("another_tables_column", "`Post`", "Neighborhood::ID"),
    ("another_tables_order", "`Post`", "Neighborhood::ID"),
    ("another_tables_shape", "`Post`", "Neighborhood"),
    ("compared_with_an_option", "`Post`", "Post::URL"),
    ("contains_of_a_text", "`Post`", "Post::TEXT"),
    ("get_of_a_writing_function", "`Enqueue`", "read_only"),
    ("never_null", "`Post`", "Post::TEXT"),
    ("not_a_table", "`Post`", "derive(Table)"),
    ("null_where_there_is_none", "`Post`", "Post::TEXT"),
    ("nullable_into_plain", "`Post`", "url: String"),
    ("path_into_a_text", "`Post`", "Post::TEXT"),
    ("pattern_of_a_number", "`Post`", "Post::ID"),
    ("set_to_another_type", "`Post`", "Post::ID"),
    ("unbounded_delete", "Change<Post, ", "NeedsFilter"),
    ("unknown_column", "`Post`", "title: String"),
    ("wrong_value", "`Post`", "Post::ID"),
];

#[test]
fn messages_name_the_table_and_the_column() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compile_fail");
    let mut files = 0;
    for entry in std::fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.extension().is_none_or(|ending| ending != "stderr") || name == "nameless_table" {
            continue;
        }
        let message = std::fs::read_to_string(&path).unwrap();
        let (_, table, column) = NAMED.iter().find(|it| it.0 == name).unwrap();
        assert!(message.lines().next().unwrap().contains(table), "{name}");
        assert!(message.contains(column), "{name}");
        files += 1;
    }
    assert_eq!(files, NAMED.len());
}
