use super::*;
use tokio::io::BufReader;

fn received(bytes: &[u8]) -> Result<Option<Request>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(receive(&mut BufReader::new(bytes)))
}

#[test]
fn messages_are_whole_lines_of_bounded_length() {
    assert!(received(b"").unwrap().is_none());
    assert!(matches!(received(b"\"status\"\n").unwrap(), Some(Request::Status)));
    assert!(
        matches!(received(b"{\"hello\":{\"version\":7,\"pid\":1,\"new\":0}}\n").unwrap(), Some(Request::Hello(h)) if h.version == 7)
    );
    let long = [b"\"status\"".as_slice(), &vec![b' '; MAX_LINE], b"\n"].concat();
    for bad in [b"\"status\"".as_slice(), b"\n", b"{}\n", b"\"unknown\"\n", b"\xff\n", &long] {
        assert_eq!(received(bad).unwrap_err().kind(), Kind::Invalid, "{} bytes", bad.len());
    }
    assert_eq!(line(&"x".repeat(MAX_LINE)).unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_status_of_everything_fits_into_a_line() {
    let kind = KindStatus {
        backend: "backend".to_owned(),
        image: short(&"i".repeat(2000)),
        profile: "permissive".to_owned(),
        warm: PoolSize::LIMIT,
        // Of what takes the most room in JSON.
        trouble: Some(short(&"\"\u{1b}é".repeat(MAX_TEXT))),
    };
    let status = DaemonStatus {
        pid: u32::MAX,
        phase: Phase::Stopping,
        warm: PoolSize::LIMIT,
        in_use: 1000,
        min_warm: PoolSize::LIMIT,
        max_warm: PoolSize::LIMIT,
        hits: u64::MAX,
        misses: u64::MAX,
        kinds: vec![kind; PoolSize::LIMIT],
    };
    assert!(line(&Reply::Status(status)).is_ok());
}

#[test]
fn errors_keep_their_kind_and_hint() {
    let error = Error::new(Kind::Exhausted, "no room").with_hint("make some");
    let wire = serde_json::to_string(&Report::Failed(WireError::from(&error))).unwrap();
    let Report::Failed(back) = serde_json::from_str(&wire).unwrap() else { panic!("{wire}") };
    let back = Error::from(back);
    assert_eq!((back.kind(), back.message(), back.hint()), (Kind::Exhausted, "no room", Some("make some")));
}

#[test]
fn an_order_with_a_size_that_is_none_is_refused() {
    for size in ["[0,5]", "[3,2]", "[1,33]"] {
        let text = format!("{{\"size\":{size},\"named\":[]}}\n");
        assert_eq!(parse::<Order>(text.as_bytes()).unwrap_err().kind(), Kind::Invalid, "{size}");
    }
    assert!(parse::<Order>(b"{\"size\":[3,5],\"named\":[]}\n").is_ok());
}
