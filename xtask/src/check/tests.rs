//! Each rule fires on a small bad fixture, and stays quiet on the good one beside it.

use super::{Finding, attributes, budgets, calls, inspect, manifests, source::SourceFile, unsafety};
use crate::workspace::{Package, Role, TargetKind, Workspace};
use serde_json::{Value, json};
use std::{fs, path::Path};

fn package(role: Role) -> Package {
    Package {
        name: "fixture".to_owned(),
        dir: "/w".into(),
        role,
        dependencies: Vec::new(),
        roots: vec![("/w/src/lib.rs".into(), TargetKind::Product)],
        tests: Vec::new(),
    }
}

fn krate(name: &str) -> Role {
    Role::Crate(name.to_owned())
}

fn driver(name: &str) -> Role {
    Role::Driver(name.to_owned())
}

fn file(text: &str) -> SourceFile {
    SourceFile::parse("/w/src/lib.rs".into(), text, TargetKind::Product).unwrap()
}

/// The lines on which the rule about calls fires.
fn call_lines(role: Role, text: &str) -> Vec<usize> {
    calls::check(&package(role), &file(text)).into_iter().map(|f| f.line).collect()
}

#[test]
fn the_model_does_no_io() {
    let bad = "use std::{fmt, fs};\nuse tokio::sync::Mutex;\nfn f() { ::std::env::var(\"A\"); }\nfn g() -> std::process::Command { todo() }\n";
    assert_eq!(call_lines(krate("model"), bad), [1, 2, 3, 4]);
    assert!(
        call_lines(krate("model"), "use std::{fmt, path::PathBuf};\n// std::fs\n/// std::env\nfn f() {}")
            .is_empty()
    );
    assert!(call_lines(krate("store"), "use std::fs;").is_empty());
}

#[test]
fn aliases_and_groups_do_not_hide_a_call() {
    assert_eq!(call_lines(krate("store"), "use std::env;\nfn f() { env::var(\"HOME\"); }"), [2]);
    assert_eq!(call_lines(krate("store"), "use std::env as e;\nfn f() { e::var_os(\"HOME\"); }"), [2]);
    assert_eq!(
        call_lines(krate("store"), "use std::{env::{self, var as v}};\nfn f() { v(\"HOME\"); }"),
        [1, 2]
    );
    assert_eq!(call_lines(krate("store"), "use std::env::*;"), [1]);
    assert_eq!(call_lines(krate("store"), "fn f() { format!(\"{:?}\", std::env::vars()); }"), [1]);
    assert_eq!(call_lines(krate("store"), "fn f() { for _ in 0..std::env::args().len() {} }"), [1]);
    assert!(call_lines(krate("store"), "fn f() { env!(\"CARGO_PKG_VERSION\"); }").is_empty());
}

#[test]
fn only_the_command_line_prints() {
    let bad = "fn f() {\n    println!(\"x\");\n    dbg!(1);\n}";
    assert_eq!(call_lines(driver("native"), bad), [2, 3]);
    assert_eq!(call_lines(krate("engine"), bad), [2, 3]);
    assert!(call_lines(krate("cli"), bad).is_empty());
    assert!(call_lines(krate("engine"), "fn f() { let s = \"println!(1)\"; /* println!(2) */ }").is_empty());
}

#[test]
fn a_driver_knows_no_home_and_no_other_driver() {
    assert_eq!(call_lines(driver("native"), "const A: &str = \"~/.cache\";"), [1]);
    assert_eq!(call_lines(driver("wasm"), "use agentkernel_native::DRIVER;"), [1]);
    assert!(
        call_lines(driver("native"), "use agentkernel_native::DRIVER; const A: &str = \"a~b\";").is_empty()
    );
}

#[test]
fn the_engine_names_no_backend() {
    assert_eq!(call_lines(krate("engine"), "fn f(id: &str) -> bool {\n id == \"native\" }"), [2]);
    assert_eq!(call_lines(krate("server"), "const HINT: &str = \"start Docker first\";"), [1]);
    assert!(
        call_lines(krate("engine"), "const A: &str = \"the native id\"; /// docker\nfn f() {}").is_empty()
    );
    assert!(call_lines(krate("config"), "const A: &str = \"docker\";").is_empty());
}

#[test]
fn drivers_are_registered_in_one_file() {
    let elsewhere = file("use agentkernel_native::DRIVER;");
    assert_eq!(calls::check(&package(krate("cli")), &elsewhere).len(), 1);
    let home = SourceFile::parse(
        "/w/src/backends.rs".into(),
        "use agentkernel_native::DRIVER;",
        TargetKind::Product,
    );
    assert!(calls::check(&package(krate("cli")), &home.unwrap()).is_empty());
}

#[test]
fn test_code_is_left_alone() {
    let text = r#"#[cfg(test)]
mod tests {
    use std::fs;
}
#[test]
fn t() { std::env::var("A"); }
#[cfg(all(test, unix))]
use std::env;
#[cfg(not(test))]
use std::process;
#[cfg(feature = "mutations")]
fn m() { std::env::var("A"); }
#[cfg(not(feature = "mutations"))]
fn m() { std::env::var("B"); }
struct S {
    #[cfg(test)]
    a: std::fs::File,
    b: u8,
}
"#;
    assert_eq!(call_lines(krate("model"), text), [10, 14]);
}

#[test]
fn unsafe_has_three_homes() {
    let bad = file("#![forbid(unsafe_code)]\n// unsafe\nfn f() {\n    unsafe { g() }\n}");
    assert_eq!(unsafety::check(&package(krate("store")), &bad)[0].line, 4);
    assert!(unsafety::check(&package(driver("native")), &bad).is_empty());
    assert_eq!(unsafety::check(&package(driver("wasm")), &bad).len(), 1);
}

#[test]
fn a_crate_root_forbids_unsafe() {
    let without = [file("#![deny(unsafe_code)]\nfn f() {}")];
    assert_eq!(unsafety::check_roots(&package(krate("store")), &without).len(), 1);
    let with = [file("//! Doc.\n#![forbid(unsafe_code)]\n")];
    assert!(unsafety::check_roots(&package(krate("store")), &with).is_empty());
    assert!(unsafety::check_roots(&package(krate("guest")), &without).is_empty());
}

#[test]
fn files_have_a_budget() {
    let long = "fn f() {}\n".repeat(801);
    assert!(budgets::check(&file(&long)).is_some());
    assert!(budgets::check(&file(&"fn f() {}\n".repeat(800))).is_none());
    let test =
        |lines| SourceFile::parse("/w/tests/a.rs".into(), &"fn f() {}\n".repeat(lines), TargetKind::Test);
    assert!(budgets::check(&test(1500).unwrap()).is_none());
    assert!(budgets::check(&test(1501).unwrap()).is_some());
}

#[test]
fn nothing_is_switched_off_or_left_to_do() {
    let lines = |text| attributes::check(&file(text)).into_iter().map(|f| f.line).collect::<Vec<_>>();
    assert_eq!(lines("#[cfg(test)]\nmod tests {\n    #[test]\n    #[ignore]\n    fn t() {}\n}"), [4]);
    assert_eq!(lines("#[ignore = \"slow\"]\nfn t() {}"), [1]);
    assert_eq!(lines("#[cfg_attr(unix, ignore)]\nfn t() {}"), [1]);
    assert_eq!(lines("fn f() {\n    todo!()\n}\nfn g() { unimplemented!(\"x\") }"), [2, 4]);
    assert!(lines("fn f() { let todo = 1; if todo != 2 {} }").is_empty());
}

#[test]
fn a_silenced_lint_says_why() {
    let lines = |text| attributes::check(&file(text)).into_iter().map(|f| f.line).collect::<Vec<_>>();
    assert_eq!(lines("#![allow(dead_code)]\n#[expect(unused)]\nfn f() {}"), [1, 2]);
    assert_eq!(lines("#[cfg_attr(unix, allow(dead_code))]\nfn f() {}"), [1]);
    assert_eq!(lines("#[allow(dead_code, reason = \" \")]\nfn f() {}"), [1]);
    assert!(lines("#[allow(dead_code, reason = \"kept for X\")]\n#[allow_internal]\nfn f() {}").is_empty());
}

#[test]
fn manifests_inherit() {
    let good = "[package]\nname = \"a\"\ndescription = \"b\"\nversion.workspace = true\nedition.workspace = true\n\
                rust-version.workspace = true\nlicense.workspace = true\nrepository.workspace = true\n\
                publish.workspace = true\n[lints]\nworkspace = true\n";
    let problems = |text: &str| manifests::problems(&text.parse().unwrap());
    assert_eq!(problems(good), Vec::<String>::new());
    assert!(problems(&good.replace("[lints]\nworkspace = true\n", ""))[0].contains("lints"));
    assert!(problems(&good.replace("publish.workspace = true", "publish = true"))[0].contains("publish"));
    assert!(problems(&good.replace("description = \"b\"\n", ""))[0].contains("description"));
    let mutated = format!("{good}[features]\ndefault = [\"agentkernel-native/mutations\"]\nmutations = []\n");
    assert!(problems(&mutated)[0].contains("mutations"));
    assert!(problems(&mutated.replace("default", "other")).is_empty());
}

/// A workspace on disk with these files; each package is `(directory, dependencies)`.
fn house(dir: &Path, packages: &[(&str, Value)], files: &[(&str, &str)]) -> Workspace {
    for (path, text) in files {
        fs::create_dir_all(dir.join(path).parent().unwrap()).unwrap();
        fs::write(dir.join(path), text).unwrap();
    }
    let described = packages.iter().map(|(at, dependencies)| {
        let manifest = dir.join(at).join("Cargo.toml");
        fs::create_dir_all(dir.join(at)).unwrap();
        let names = dependencies.as_array().unwrap().iter();
        let names: String = names.map(|d| format!("\"{}\".workspace = true\n", d["name"].as_str().unwrap())).collect();
        let text = format!(
            "[package]\nname = \"x\"\ndescription = \"d\"\nversion.workspace = true\nedition.workspace = true\n\
             rust-version.workspace = true\nlicense.workspace = true\nrepository.workspace = true\n\
             publish.workspace = true\n\n[lints]\nworkspace = true\n\n[dependencies]\n{names}"
        );
        fs::write(&manifest, text).unwrap();
        json!({
            "name": at, "manifest_path": manifest, "dependencies": dependencies,
            "targets": [{"kind": ["lib"], "name": "x", "src_path": dir.join(at).join("src/lib.rs")}],
        })
    });
    let packages: Vec<Value> = described.collect();
    Workspace::parse(&json!({"workspace_root": dir, "packages": packages})).unwrap()
}

fn own(dir: &Path, at: &str, kind: Value) -> Value {
    json!({"name": at, "kind": kind, "path": dir.join(at)})
}

fn findings(workspace: &Workspace) -> Vec<String> {
    inspect(workspace).unwrap().0.iter().map(Finding::to_string).collect()
}

#[test]
fn imports_follow_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let normal = Value::Null;
    let bad = [
        ("crates/model", json!([{"name": "tokio", "kind": null}])),
        (
            "crates/engine",
            json!([own(dir, "drivers/native", normal.clone()), {"name": "clap", "kind": null}]),
        ),
        ("drivers/native", json!([own(dir, "crates/engine", normal.clone())])),
        ("drivers/wasm", json!([own(dir, "drivers/native", normal.clone())])),
        ("crates/store", json!([own(dir, "testkit", normal.clone()), own(dir, "xtask", json!("dev"))])),
        ("crates/utils", json!([])),
    ];
    let found = findings(&house(dir, &bad, &[]));
    let expected = [
        "crates/engine/Cargo.toml:16: clap belongs to cli only, not to engine",
        "crates/engine/Cargo.toml:1",
        "crates/model/Cargo.toml:15: model may not depend on tokio: it does no I/O",
        "crates/store/Cargo.toml:15: testkit is for tests: make it a dev-dependency",
        "crates/store/Cargo.toml:16: nothing may import xtask",
        "crates/utils/Cargo.toml:1: crates/utils is not in the plan",
        "drivers/native/Cargo.toml:15: drivers/native may not import engine; it may import model, archive, backend",
        "drivers/wasm/Cargo.toml:15: drivers/wasm may not import drivers/native",
    ];
    for line in expected {
        assert!(found.iter().any(|f| f.starts_with(line)), "{line} is not in {found:#?}");
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
}

#[test]
fn a_good_house_has_no_findings() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let normal = Value::Null;
    let good = [
        ("crates/model", json!([{"name": "serde", "kind": null}, {"name": "tokio", "kind": "dev"}])),
        ("crates/backend", json!([own(dir, "crates/model", normal.clone())])),
        (
            "drivers/native",
            json!([own(dir, "crates/backend", normal.clone()), own(dir, "testkit", json!("dev"))]),
        ),
        ("crates/cli", json!([own(dir, "drivers/native", normal.clone()), {"name": "clap", "kind": null}])),
        ("testkit", json!([own(dir, "drivers/native", normal.clone())])),
        ("xtask", json!([])),
    ];
    assert_eq!(findings(&house(dir, &good, &[])), Vec::<String>::new());
}

#[test]
fn files_that_only_tests_declare_are_tests() {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("crates/model/src/lib.rs", "#![forbid(unsafe_code)]\n#[cfg(test)]\nmod tests;\nmod real;\n"),
        ("crates/model/src/tests.rs", "use std::fs;\nmod deep;\n"),
        ("crates/model/src/tests/deep.rs", "use std::fs;\n"),
        ("crates/model/src/real.rs", "use std::fs;\n#[cfg(test)]\n#[path = \"odd.rs\"]\nmod t;\n"),
        ("crates/model/src/odd.rs", "use std::fs;\n"),
        ("crates/model/tests/it.rs", "use std::fs;\n"),
    ];
    let workspace = house(dir.path(), &[("crates/model", json!([]))], &files);
    assert_eq!(
        findings(&workspace),
        ["crates/model/src/real.rs:1: model may not use std::fs: it does no I/O"]
    );
}

#[test]
fn what_is_not_rust_is_an_error_with_its_place() {
    let error =
        SourceFile::parse("/w/src/lib.rs".into(), "fn f() {\n  (\n}", TargetKind::Product).unwrap_err();
    assert!(error.to_string().starts_with("/w/src/lib.rs is not Rust: line "), "{error}");
}
