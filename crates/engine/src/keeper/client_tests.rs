use super::*;
use crate::lock::Lock;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _};

/// What a keeper is asked that says `hello` and answers everything else with `answer`, and what the one who asks for new
/// rules hears.
async fn ask(hello: &str, answer: &str) -> (Vec<String>, Result<()>) {
    let data = tempfile::tempdir().unwrap();
    let dir = SandboxDir { path: data.path().to_owned() };
    let _kept = Lock::block(&dir.keeping()).unwrap();
    let listener = socket::listen(&dir.path).unwrap();
    let keeper = async {
        let (stream, _) = listener.accept().await.unwrap();
        let (from, mut to) = stream.into_split();
        let mut lines = BufReader::new(from).lines();
        let mut heard = Vec::new();
        while let Some(line) = lines.next_line().await.unwrap() {
            let reply = if heard.is_empty() { hello } else { answer };
            heard.push(line);
            to.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
        }
        heard
    };
    tokio::join!(keeper, rules(&dir))
}

#[tokio::test]
async fn a_keeper_that_does_not_know_new_rules_is_not_asked() {
    let (heard, told) = ask(r#"{"hello":{"version":1,"pid":7}}"#, "\"done\"").await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    let error = told.unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains("older agentkernel") && error.hint().is_some(), "{error}");
}

#[tokio::test]
async fn a_keeper_that_does_not_know_detached_commands_is_not_asked() {
    let hello: Hello = serde_json::from_str(r#"{"version":1,"pid":7,"rules":true}"#).unwrap();
    for request in
        [Request::Detach(Detach { length: 2 }), Request::Kill(Kill { id: DetachedId::new(), grace_ms: 0 })]
    {
        let error = check_ability(&hello, &request).unwrap_err();
        assert_eq!(error.kind(), Kind::Conflict);
        assert!(error.message().contains("older agentkernel") && error.hint().is_some(), "{error}");
        check_ability(&Hello::ours(), &request).unwrap();
    }
    check_ability(&hello, &Request::Status).unwrap();
}

#[tokio::test]
async fn a_keeper_that_knows_them_is_asked_and_heard() {
    let hello = r#"{"hello":{"version":1,"pid":7,"rules":true,"more":[]}}"#;
    let (heard, told) = ask(hello, "\"done\"").await;
    assert_eq!(heard[1..], ["\"rules\""]);
    told.unwrap();
    let refusal = r#"{"error":{"kind":"conflict","message":"not these","hint":"others"}}"#;
    let error = ask(hello, refusal).await.1.unwrap_err();
    assert_eq!((error.kind(), error.hint()), (Kind::Conflict, Some("others")));
}
