use super::*;

fn request(context: &Path) -> BuildRequest {
    BuildRequest {
        project: "My_App..x".to_owned(),
        context: context.to_owned(),
        dockerfile: context.join("Dockerfile"),
        target: None,
        args: Vec::new(),
        cache: Cache::Use,
    }
}

#[test]
fn every_change_of_the_context_is_another_image() {
    let place = tempfile::tempdir().unwrap();
    let context = place.path();
    fs::write(context.join("Dockerfile"), "FROM scratch\n").unwrap();
    fs::create_dir(context.join("src")).unwrap();
    fs::write(context.join("src/a"), "1").unwrap();
    let mut seen = vec![reference(&request(context)).unwrap()];
    assert!(seen[0].to_string().starts_with("agentkernel-my-app-x:"), "{}", seen[0]);
    assert_eq!(reference(&request(context)).unwrap(), seen[0], "nothing changed");
    let mut changed = |what: &str, request: &BuildRequest| {
        let now = reference(request).unwrap();
        assert!(!seen.contains(&now), "{what} made no difference");
        seen.push(now);
    };
    fs::write(context.join("src/a"), "2").unwrap();
    changed("content", &request(context));
    fs::rename(context.join("src/a"), context.join("src/b")).unwrap();
    changed("a name", &request(context));
    std::os::unix::fs::symlink("b", context.join("src/c")).unwrap();
    changed("a link", &request(context));
    let args = vec![("K".to_owned(), "V".to_owned())];
    changed("an argument", &BuildRequest { args, ..request(context) });
    changed("a target", &BuildRequest { target: Some("K".to_owned()), ..request(context) });
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(context.join("src/b"), fs::Permissions::from_mode(0o755)).unwrap();
    changed("a mode", &request(context));
}

#[test]
fn without_a_builder_the_error_says_what_is_missing() {
    let empty = tempfile::tempdir().unwrap();
    let builders = ["one", "two"].map(|program| Builder { program, local_prefix: "" });
    let find = |path: &Path| Ready::find(&builders, &[path.to_owned()]).map(|ready| ready.builder.program);
    let error = find(empty.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("none of one, two"), "{error}");
    // One that is there and does not answer is passed over.
    for (name, code) in [("one", 1), ("two", 0)] {
        let program = empty.path().join(name);
        fs::write(&program, format!("#!/bin/sh\nexit {code}\n")).unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let found = find(empty.path());
        match code {
            0 => assert_eq!(found.unwrap(), "two"),
            _ => assert!(found.unwrap_err().to_string().contains("one does not answer")),
        }
    }
}
