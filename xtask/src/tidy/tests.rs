//! Small trees, and what the rules say of each.

use std::path::Path;

use tempfile::TempDir;

use crate::tidy::package::{Inventory, Package, Target};
use crate::tidy::rule::{Exception, findings};

/// A package in a folder of its own: `src/lib.rs`, and `tests/all.rs` if there is one.
fn inventory(files: &[(&str, &str)]) -> Inventory {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let target = |name: &str, is_test| Target { root: folder.path().join(name), is_test };
    let targets = [target("src/lib.rs", false), target("tests/all.rs", true)];
    let package = Package {
        name: "house".to_owned(),
        folder: folder.path().to_owned(),
        targets: targets.into_iter().filter(|target| target.root.is_file()).collect(),
    };
    package.inventory(folder.path()).unwrap()
}

/// What is out of order in a tree.
fn said(files: &[(&str, &str)]) -> Vec<String> {
    findings(&[inventory(files)], &[]).iter().map(ToString::to_string).collect()
}

/// The files of each circle.
fn circles(files: &[(&str, &str)]) -> Vec<Vec<String>> {
    let shown = |path: &std::path::PathBuf| path.display().to_string();
    let circles = inventory(files).circles;
    circles.iter().map(|circle| circle.files.iter().map(shown).collect()).collect()
}

const LIB: (&str, &str) = ("src/lib.rs", "mod a;\nmod b;\n");
/// Uses an item of `b`.
const A: (&str, &str) = ("src/a.rs", "use crate::b::B;\n\npub struct A(B);\n");

fn lines(count: usize) -> String {
    "// A line.\n".repeat(count)
}

fn function(lines: usize) -> String {
    format!("fn long() {{\n{}}}\n", "    work();\n".repeat(lines - 2))
}

#[test]
fn two_files_that_import_each_other_are_told_with_both_lines() {
    let b = ("src/b.rs", "//! Of the second.\n\nuse crate::a::A;\n\npub struct B(Box<A>);\n");
    let expected = "src/a.rs:1: 2 files import each other in a circle (a.rs:1 → b.rs:3 → a.rs): \
                    imports lead one way; `cargo xtask tidy` shows them all";
    assert_eq!(said(&[LIB, A, b]), [expected]);
}

#[test]
fn an_import_is_seen_however_it_is_written() {
    for b in [
        "use crate::a::A;",
        "use crate::{a::{A, Other}};",
        "use crate::a::A as First;",
        "use crate::a::*;",
        "use crate::a; fn f() -> a::A { todo!() }",
        "use crate::a::{self}; fn f() { a::go(); }",
        "use crate::a as first; fn f() { first::go(); }",
        "use super::a::A;",
        "use self::super::a::A;",
        "fn f() -> crate::a::A { todo!() }",
        "fn f() { crate::a::go(); }",
        "fn f() { use crate::a::go; go() }",
        "fn f() { super::a::go(); }",
        "fn f() { println!(\"{}\", crate::a::go()); }",
        "use crate::a; fn f() { vec![1, { a::go() }]; }",
        "macro_rules! b { () => { $crate::a::go() } }",
        "mod inner { fn f() { crate::a::go(); } }",
        "mod inner { fn f() { super::super::a::go(); } }",
        "#[arg(value_parser = crate::a::go)] struct B;",
        "impl crate::a::Trait for B {}",
        "#[cfg(not(test))] use crate::a::A;",
    ] {
        let b = format!("{b}\npub struct B;\n");
        assert_eq!(circles(&[LIB, A, ("src/b.rs", &b)]), [["src/a.rs", "src/b.rs"]], "{b}");
    }
}

#[test]
fn what_is_no_import_makes_no_circle() {
    for b in [
        "",
        "use a::A;",
        "use ::a::A;",
        "use other::a::A;",
        "fn f(a: u8) { a; other::a::go(); }",
        "pub(in crate::a) struct Seen;",
        "use crate::a;",
        "// use crate::a::A;",
        "/// As [`crate::a::A`] is.\nstruct Told;",
        "fn f() { println!(\"crate::a::go()\"); }",
        "#[cfg(test)] mod tests { use crate::a::A; }",
        "#[cfg(test)] use crate::a::A;",
        "#[cfg(all(test, unix))] use crate::a::A;",
        "#[cfg(test)] fn f() { crate::a::go(); }",
        "impl B { #[cfg(test)] fn f() { crate::a::go(); } }",
    ] {
        let b = format!("{b}\npub struct B;\n");
        assert_eq!(said(&[LIB, A, ("src/b.rs", &b)]), [""; 0], "{b}");
    }
}

#[test]
fn a_circle_of_many_files_is_told_once_by_its_shortest_way_round() {
    let files = [
        ("src/lib.rs", "mod a; mod b; mod c; mod d;"),
        ("src/a.rs", "use crate::b::B; pub struct A;"),
        ("src/b.rs", "use crate::c::C; pub struct B;"),
        ("src/c.rs", "use crate::a::A;\nuse crate::d::D;\npub struct C;"),
        ("src/d.rs", "use crate::c::C;\npub struct D;"),
    ];
    assert_eq!(circles(&files), [["src/a.rs", "src/b.rs", "src/c.rs", "src/d.rs"]]);
    let said = said(&files);
    assert_eq!(said.len(), 1);
    assert!(
        said[0].contains("4 files") && said[0].contains("(c.rs:2 → d.rs:1 → c.rs)"),
        "{said:?}"
    );
}

#[test]
fn a_parent_is_in_no_circle_for_declaring_its_children() {
    let child = ("src/a/b.rs", "use crate::a::A;\npub struct B;\n");
    let lib = ("src/lib.rs", "mod a;\n");
    assert_eq!(circles(&[lib, ("src/a/mod.rs", "pub mod b;\npub struct A;\n"), child]).len(), 0);
}

#[test]
fn a_parent_that_uses_the_child_which_uses_it_is_in_a_circle() {
    let child = ("src/a/b.rs", "use crate::a::A;\npub struct B;\n");
    let lib = ("src/lib.rs", "mod a;\n");
    for parent in ["mod b;\nuse b::B;\npub struct A;\n", "mod b;\npub struct A(b::B);\n"] {
        let circles = circles(&[lib, ("src/a/mod.rs", parent), child]);
        assert_eq!(circles, [["src/a/b.rs", "src/a/mod.rs"]], "{parent}");
    }
}

#[test]
fn a_name_that_is_passed_on_is_of_the_file_that_defines_it() {
    let lib = ("src/lib.rs", "mod a;\nmod c;\npub use c::C;\n");
    let child = ("src/a/b.rs", "pub struct B;\n");
    for parent in ["mod b;\npub use b::B;\n", "mod b;\npub use b::*;\n"] {
        let parent = format!("{parent}use crate::C;\nfn own(_: C) {{}}\n");
        // `c` needs the child alone, and the parent needs `c`.
        let c = ("src/c.rs", "use crate::a::B;\npub struct C(B);\n");
        assert_eq!(circles(&[lib, ("src/a/mod.rs", &parent), child, c]).len(), 0, "{parent}");
        // And here it needs what is the parent's own.
        let c = ("src/c.rs", "use crate::a::own;\npub struct C;\n");
        let found = circles(&[lib, ("src/a/mod.rs", &parent), child, c]);
        assert_eq!(found, [["src/a/mod.rs", "src/c.rs"]], "{parent}");
    }
}

#[test]
fn what_the_root_takes_from_another_crate_is_none_of_its_own() {
    let lib = ("src/lib.rs", "mod a;\nuse other::output;\npub fn go() { a::go(); }\n");
    let a = ("src/a.rs", "use crate::output;\npub fn go() { output::say(); }\n");
    assert_eq!(circles(&[lib, a]).len(), 0);
    let a = ("src/a.rs", "pub fn go() { crate::go(); }\n");
    assert_eq!(circles(&[lib, a]), [["src/a.rs", "src/lib.rs"]]);
}

#[test]
fn names_that_are_passed_round_end_the_search() {
    let files = [
        LIB,
        ("src/a.rs", "pub use crate::b::*;\npub use crate::b::X;\n"),
        ("src/b.rs", "pub use crate::a::*;\npub use crate::a::X;\n"),
    ];
    assert_eq!(circles(&files), [["src/a.rs", "src/b.rs"]]);
}

#[test]
fn a_module_is_read_from_where_the_compiler_reads_it() {
    let files = [
        ("src/lib.rs", "mod a;\nmod inline { pub mod c; }\n#[path = \"elsewhere/x.rs\"]\nmod d;\n"),
        ("src/a.rs", "pub mod b;\nuse crate::inline::c::C;\npub struct A;\n"),
        ("src/a/b.rs", "pub struct B;\n"),
        ("src/inline/c.rs", "use crate::d::D;\npub struct C;\n"),
        ("src/elsewhere/x.rs", "mod y;\nuse crate::a::A;\npub struct D;\n"),
        ("src/elsewhere/y.rs", "pub struct Y;\n"),
    ];
    assert_eq!(circles(&files), [["src/a.rs", "src/elsewhere/x.rs", "src/inline/c.rs"]]);
    assert_eq!(inventory(&files).rooms.len(), 6);
}

#[test]
fn an_excepted_circle_passes_and_an_exception_without_a_circle_fails() {
    let b = ("src/b.rs", "use crate::a::A;\npub struct B;\n");
    let exception = |folder| [Exception { folder, reason: "one organ", line: 7 }];
    let judged = |b, folder| {
        let findings = findings(&[inventory(&[LIB, A, b])], &exception(folder));
        findings.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(judged(b, "src"), [""; 0]);
    // Of another folder, the exception neither allows this circle nor is it of use.
    assert_eq!(judged(b, "src/proxy").len(), 2);
    let mended = judged(("src/b.rs", "pub struct B;\n"), "src");
    assert_eq!(mended.len(), 1);
    assert!(
        mended[0].ends_with(":7: no circle is left in `src`: its exception goes"),
        "{mended:?}"
    );
}

#[test]
fn a_file_has_five_hundred_lines_and_its_tests_do_not_count() {
    let tests = "\n#[cfg(test)]\nmod tests {\n    // A line.\n\n}\n";
    assert_eq!(said(&[("src/lib.rs", &lines(500))]), [""; 0]);
    assert_eq!(said(&[("src/lib.rs", &(lines(499) + tests))]), [""; 0]);
    let expected = "src/lib.rs:1: 501 lines without its tests: a file has at most 500";
    assert_eq!(said(&[("src/lib.rs", &lines(501))]), [expected]);
    assert_eq!(said(&[("src/lib.rs", &(lines(500) + tests))]), [expected]);
    for files in [
        [("src/lib.rs", "#[cfg(test)]\nmod tests;\n"), ("src/tests.rs", &lines(501))],
        [("src/lib.rs", ""), ("tests/all.rs", &lines(501))],
    ] {
        assert_eq!(said(&files), [""; 0]);
    }
}

#[test]
fn a_function_has_eighty_lines_and_those_of_tests_as_many_as_they_need() {
    assert_eq!(said(&[("src/lib.rs", &function(80))]), [""; 0]);
    let expected =
        |line| format!("src/lib.rs:{line}: `long` has 81 lines: a function has at most 80");
    assert_eq!(said(&[("src/lib.rs", &function(81))]), [expected(1)]);
    let documented = "/// Long.\n#[must_use]\npub ".to_owned() + &function(81);
    assert_eq!(said(&[("src/lib.rs", &documented)]), [expected(3)]);
    let method = format!("impl A {{\n{}}}\n", function(81));
    assert_eq!(said(&[("src/lib.rs", &method)]), [expected(2)]);
    let provided = format!("trait A {{\n{}}}\n", function(81));
    assert_eq!(said(&[("src/lib.rs", &provided)]), [expected(2)]);
    let test = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(81));
    assert_eq!(said(&[("src/lib.rs", &test)]), [""; 0]);
    assert_eq!(said(&[("src/lib.rs", ""), ("tests/all.rs", &function(81))]), [""; 0]);
}

#[test]
fn a_path_begins_with_crate_but_for_a_test_module_that_means_its_own_file() {
    let what = "`use super::`: it is `use crate::`, except in a test module for the file that it \
                lies in";
    let child = ("src/a/b.rs", "\nuse super::super::C;\n");
    let files = [("src/lib.rs", "mod a;\npub struct C;\n"), ("src/a/mod.rs", "mod b;\n"), child];
    assert_eq!(said(&files), [format!("src/a/b.rs:2: {what}")]);
    let tests = ("src/lib.rs", "struct C;\n#[cfg(test)]\nmod tests {\n    use super::*;\n}\n");
    assert_eq!(said(&[tests]), [""; 0]);
    let apart = [("src/lib.rs", "#[cfg(test)]\nmod tests;\n"), ("src/tests.rs", "use super::C;\n")];
    assert_eq!(said(&apart), [format!("src/tests.rs:1: {what}")]);
}

#[test]
fn a_line_has_a_hundred_columns_in_letters_not_in_bytes_and_also_in_tests() {
    let comment = |columns: usize| format!("// {}\n", "ü".repeat(columns - 3));
    assert_eq!(said(&[("src/lib.rs", &comment(100))]), [""; 0]);
    let wide = |file| format!("{file}:1: 101 columns: a line has at most 100");
    assert_eq!(said(&[("src/lib.rs", &comment(101))]), [wide("src/lib.rs")]);
    for file in ["tests/all.rs", "tests/read_by_nobody.rs", "examples/one.rs"] {
        assert_eq!(said(&[("src/lib.rs", ""), (file, &comment(101))]), [wide(file)]);
    }
    assert_eq!(said(&[("src/lib.rs", ""), ("target/made.rs", &comment(101))]), [""; 0]);
}

#[test]
fn a_comment_that_is_one_link_may_be_as_long_as_the_link() {
    let link = format!("/// <https://example.com/{}>\n", "a".repeat(120));
    assert_eq!(said(&[("src/lib.rs", &format!("{link}pub struct A;\n"))]), [""; 0]);
    let more = link.replace(">\n", "> and more\n");
    assert_eq!(said(&[("src/lib.rs", &format!("{more}pub struct A;\n"))]).len(), 1);
}

#[test]
fn a_file_that_is_no_rust_is_named() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("lib.rs");
    std::fs::write(&root, "fn {").unwrap();
    let targets = vec![Target { root: root.clone(), is_test: false }];
    let package = Package { name: "house".to_owned(), folder: folder.path().to_owned(), targets };
    let error = package.inventory(Path::new("/")).unwrap_err();
    assert_eq!(error.to_string(), format!("`{}` is no Rust", root.display()));
}
