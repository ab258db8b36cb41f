use super::*;
use proptest::prelude::*;

fn read(bytes: &[u8]) -> Result<Option<Request>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(receive(&mut std::io::Cursor::new(bytes.to_vec())))
}

#[test]
fn messages_keep_their_spelling() {
    // Keepers of earlier releases speak exactly this.
    let spelled = [
        (
            Request::Hello(Hello { version: 1, pid: 7, rules: false, detached: false, expiry: false }),
            r#"{"hello":{"version":1,"pid":7,"rules":false,"detached":false,"expiry":false}}"#,
        ),
        (Request::Status, r#""status""#),
        (Request::Stop(Stop { grace_ms: 5 }), r#"{"stop":{"grace_ms":5}}"#),
        (Request::Shutdown, r#""shutdown""#),
        (Request::Stay, r#""stay""#),
        (Request::Rules, r#""rules""#),
        (Request::Expiry, r#""expiry""#),
        (Request::Detach(Detach { length: 9 }), r#"{"detach":{"length":9}}"#),
        (
            Request::Kill(Kill { id: "0000002a".parse().unwrap(), grace_ms: 5 }),
            r#"{"kill":{"id":"0000002a","grace_ms":5}}"#,
        ),
    ];
    for (request, text) in spelled {
        assert_eq!(line(&request).unwrap(), format!("{text}\n").into_bytes());
        assert_eq!(read(format!("{text}\n").as_bytes()).unwrap(), Some(request));
    }
}

#[test]
fn a_hello_of_the_future_is_understood_and_refused() {
    let bytes = b"{\"hello\":{\"version\":9,\"pid\":42,\"features\":[\"x\"]}}\n";
    let Some(Request::Hello(hello)) = read(bytes).unwrap() else { panic!("no hello") };
    let error = check_version(&hello).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    assert!(error.message().contains("newer"), "{error}");
    assert!(error.hint().unwrap().contains("kill 42"));
    let older = check_version(&Hello { version: 0, pid: 1, rules: false, detached: false, expiry: false })
        .unwrap_err();
    assert!(older.message().contains("older"), "{older}");
}

#[test]
fn a_keeper_that_does_not_say_so_can_do_nothing_new() {
    let Some(Request::Hello(hello)) = read(b"{\"hello\":{\"version\":1,\"pid\":42}}\n").unwrap() else {
        panic!("no hello")
    };
    assert!(!hello.rules && Hello::ours().rules);
    assert!(!hello.detached && Hello::ours().detached);
    assert!(!hello.expiry && Hello::ours().expiry);
}

#[test]
fn what_is_too_long_or_cut_off_is_refused() {
    let mut long = vec![b'"'; MAX_LINE + 1];
    long.push(b'\n');
    assert_eq!(read(&long).unwrap_err().kind(), Kind::Invalid);
    assert_eq!(read(b"\"status\"").unwrap_err().kind(), Kind::Invalid);
    assert_eq!(read(b"").unwrap(), None);
}

#[test]
fn a_body_is_bounded_and_whole() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = |bytes: &[u8], length| -> Result<Vec<u32>> {
        runtime.block_on(receive_body(&mut std::io::Cursor::new(bytes.to_vec()), length))
    };
    assert_eq!(read(b"[1,2]rest", 5).unwrap(), [1, 2]);
    for (bytes, length) in [(&b"[1"[..], 5), (b"[1,2]", u32::MAX), (b"[1,\"]", 5), (b"", 0)] {
        assert_eq!(read(bytes, length).unwrap_err().kind(), Kind::Invalid, "{bytes:?}");
    }
}

#[test]
fn an_error_arrives_whole() {
    let cause = std::io::Error::other("no such device");
    let error = Error::new(Kind::Exhausted, "cannot mount '/x'").with_hint("make room").with_source(cause);
    let bytes = line(&Report::Failed(WireError::from(&error))).unwrap();
    let Report::Failed(wire) = parse(&bytes).unwrap() else { panic!("not a failure") };
    let arrived = Error::from(wire);
    assert_eq!(arrived.kind(), Kind::Exhausted);
    assert_eq!(arrived.to_string(), "cannot mount '/x': no such device");
    assert_eq!(arrived.hint(), Some("make room"));
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either = read(&bytes);
    }

    #[test]
    fn any_error_fits_a_line_and_comes_back(message in "\\PC{0,3000}", hint in prop::option::of("\\PC{0,40}"), at in 0..14_usize) {
        let mut error = Error::new(Kind::ALL[at], message);
        if let Some(hint) = &hint {
            error = error.with_hint(hint.clone());
        }
        let bytes = line(&Report::Failed(WireError::from(&error))).unwrap();
        let Report::Failed(wire) = parse(&bytes).unwrap() else { panic!("not a failure") };
        let back = Error::from(wire);
        prop_assert_eq!(back.kind(), error.kind());
        prop_assert_eq!(back.hint(), error.hint());
        prop_assert!(error.message().starts_with(back.message()));
    }
}
