use super::*;
use agentkernel_model::Kind;
use proptest::prelude::*;

const DIFF: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";

fn text(config: &str) -> String {
    format!(
        r#"{{"architecture":"amd64","os":"linux","created":"2024-01-02T03:04:05Z","unknown":1,
        "config":{config},"rootfs":{{"type":"layers","diff_ids":["{DIFF}"]}}}}"#
    )
}

#[test]
fn everything_is_read() {
    let read = parse_config(
        text(
            r#"{"User":"app:staff","Env":["PATH=/bin","X=a=b","EMPTY="],"Entrypoint":["/e","x"],"Cmd":["c"],
            "WorkingDir":"/srv/./app/../www/"}"#,
        )
        .as_bytes(),
    )
    .unwrap();
    assert_eq!(read.platform.to_string(), "linux/amd64");
    assert_eq!(read.user.as_deref(), Some("app:staff"));
    let env: Vec<_> = read.env.iter().map(|v| (v.key(), v.value())).collect();
    assert_eq!(env, [("PATH", "/bin"), ("X", "a=b"), ("EMPTY", "")]);
    assert_eq!((read.entrypoint.len(), read.command.len()), (2, 1));
    assert_eq!(read.workdir.unwrap().as_str(), "/srv/www");
    assert_eq!(read.created.as_deref(), Some("2024-01-02T03:04:05Z"));
    assert_eq!(read.diff_ids.len(), 1);
}

#[test]
fn nulls_and_absences_are_nothing() {
    for config in ["null", "{}", r#"{"User":"","Env":null,"Entrypoint":null,"Cmd":null,"WorkingDir":""}"#] {
        let read = parse_config(text(config).as_bytes()).unwrap();
        assert_eq!((read.user, read.workdir), (None, None));
        assert!(read.env.is_empty() && read.entrypoint.is_empty() && read.command.is_empty());
    }
}

#[test]
fn a_working_directory_never_leaves_the_root() {
    let read = parse_config(text(r#"{"WorkingDir":"../../etc/.."}"#).as_bytes()).unwrap();
    assert_eq!(read.workdir.unwrap().as_str(), "/");
}

#[test]
fn bad_values_are_refused() {
    for bad in [r#"{"Env":["=x"]}"#, r#"{"Env":["NOVALUE"]}"#, r#"{"Cmd":["a\u0000b"]}"#, r#"{"Cmd":"text"}"#]
    {
        assert_eq!(parse_config(text(bad).as_bytes()).unwrap_err().kind(), Kind::Invalid, "{bad}");
    }
    let no_layers = text("{}").replace(&format!("\"{DIFF}\""), "");
    parse_config(no_layers.as_bytes()).unwrap_err();
    let many = text("{}").replace(&format!("\"{DIFF}\""), &vec![format!("\"{DIFF}\""); 128].join(","));
    parse_config(many.as_bytes()).unwrap_err();
    parse_config(text("{}").replace("amd64", "\\u001b[31m").as_bytes()).unwrap_err();
    let hidden = parse_config(text("{}").replace("2024-01-02T03:04:05Z", "\\u001b]0;x").as_bytes()).unwrap();
    assert_eq!(hidden.created, None);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_config(&bytes);
    }
}
