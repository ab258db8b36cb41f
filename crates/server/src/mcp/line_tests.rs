use super::*;

fn code(line: &str) -> (i32, Option<RequestId>) {
    match parse(line.as_bytes()) {
        Line::Wrong(answer) => match *answer {
            TxJsonRpcMessage::<RoleServer>::Error(error) => (error.error.code.0, error.id),
            other => panic!("{line}: {other:?}"),
        },
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn messages_are_read() {
    for line in [
        r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
        "\u{feff}  {\"jsonrpc\":\"2.0\",\"id\":\"a\",\"method\":\"tools/list\"}\r",
        r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#,
        r#"{"jsonrpc":"2.0","id":1,"method":"no/such","params":{"a":1}}"#,
    ] {
        assert!(matches!(parse(line.as_bytes()), Line::Message(_)), "{line}");
    }
}

#[test]
fn what_is_no_json_is_told_so() {
    for line in ["nonsense", "{", "\u{0}", "{\"a\":1}x", &"[".repeat(100_000)] {
        assert_eq!(code(line), (-32700, None), "{}", &line[..line.len().min(20)]);
    }
    assert!(matches!(parse(b"\xff\xfe"), Line::Wrong(_)));
}

#[test]
fn what_is_no_message_is_told_so_under_its_id() {
    assert_eq!(code("[]"), (-32600, None));
    assert_eq!(code(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#), (-32600, None));
    assert_eq!(code("7"), (-32600, None));
    assert_eq!(code("{}"), (-32600, None));
    assert_eq!(code(r#"{"id":7,"method":"ping"}"#), (-32600, Some(RequestId::Number(7))));
    assert_eq!(code(r#"{"jsonrpc":"1.0","id":7,"method":"ping"}"#), (-32600, Some(RequestId::Number(7))));
    assert_eq!(code(r#"{"jsonrpc":"2.0","id":{},"method":"ping"}"#), (-32600, None));
}

#[test]
fn what_asks_for_no_answer_gets_none() {
    for line in ["", "  \r", r#"{"method":"no/version"}"#] {
        assert!(matches!(parse(line.as_bytes()), Line::Nothing), "{line}");
    }
}
