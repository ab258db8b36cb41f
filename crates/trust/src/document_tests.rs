use super::*;
use proptest::prelude::*;

fn sample(name: &str, value: &[u8]) -> Entry {
    let hosts = vec!["api.example.com".parse().unwrap(), "*.x.example".parse().unwrap()];
    let meta = Meta::new(name.parse().unwrap(), hosts, "X-Key".parse().ok(), 7).unwrap();
    Entry::new(meta, Secret::new(value.to_vec()).unwrap())
}

fn entries(all: &[Entry]) -> Entries {
    all.iter().map(|entry| (entry.meta().name().clone(), entry.clone())).collect()
}

#[test]
fn entries_come_back() {
    let all =
        entries(&[sample("A", b"one\n"), sample("B", &[0, 255, 10]), sample("C", &vec![b'x'; Secret::MAX])]);
    assert_eq!(decode(&encode(&all).unwrap()).unwrap(), all);
    let one = sample("A", b"\"quoted\"");
    assert_eq!(decode_one(&encode_one(&one).unwrap()).unwrap(), one);
}

#[test]
fn memory_is_measured_before_it_is_filled() {
    let bytes = encode(&entries(&[sample("A", b"one")])).unwrap();
    assert_eq!(bytes.len(), bytes.capacity());
}

#[test]
fn what_nobody_wrote_is_damaged() {
    let row = r#"{"name":"A","hosts":[],"header":null,"set_at":1,"value":"QQ=="}"#;
    let whole = |rows: &str| format!(r#"{{"entries":[{rows}]}}"#);
    assert!(decode(whole(row).as_bytes()).is_ok());
    for bad in [
        String::new(),
        "{}".to_owned(),
        whole(&format!("{row},{row}")),
        whole(&row.replace("QQ==", "")),
        whole(&row.replace("QQ==", "Q*==")),
        whole(&row.replace("QQ==", r"\u0051Q==")),
        whole(&row.replace("\"A\"", "\"ghp_x\"")),
        whole(&row.replace("[]", "[\"10.0.0.1\"]")),
        whole(&row.replace("null", "\"Host\"")),
        whole(&row.replace("\"set_at\"", "\"more\":1,\"set_at\"")),
        format!("{} ", whole(row)) + "x",
    ] {
        assert_eq!(decode(bad.as_bytes()), Err(Damaged), "{bad}");
    }
}

#[test]
fn the_number_of_entries_is_bounded() {
    let all = |n: usize| entries(&(0..n).map(|i| sample(&format!("K{i}"), b"v")).collect::<Vec<_>>());
    assert!(encode(&all(MAX_ENTRIES)).is_ok());
    assert_eq!(encode(&all(MAX_ENTRIES + 1)).unwrap_err().kind(), Kind::Exhausted);
}

proptest! {
    #[test]
    fn any_bytes_are_entries_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _either = decode(&bytes);
        let _either = decode_one(&bytes);
    }
}
