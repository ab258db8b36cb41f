use super::*;
use proptest::prelude::*;

/// A question for `name` of `kind`, under id 0xabcd, with RD.
fn question(name: &str, kind: u16) -> Vec<u8> {
    let mut message = vec![0xab, 0xcd, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.').filter(|label| !label.is_empty()) {
        message.push(u8::try_from(label.len()).unwrap());
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    message
}

/// `message` with an EDNS record of `size`.
fn with_edns(mut message: Vec<u8>, size: u16) -> Vec<u8> {
    message[11] += 1;
    message.extend_from_slice(&[0, 0, 41]);
    message.extend_from_slice(&size.to_be_bytes());
    message.extend_from_slice(&[0, 0, 0x80, 0, 0, 4, 1, 2, 3, 4]);
    message
}

/// The answer of an honest resolver: the question, and `filler` bytes that stand for records.
fn answer_to(message: &[u8], filler: usize) -> Vec<u8> {
    let mut answer = message.to_vec();
    answer[2] |= 0x80;
    answer.resize(message.len() + filler, 0x55);
    answer
}

fn rcode(result: Result<Query, Fault>) -> Option<u8> {
    match result {
        Err(Fault::Answerable(answer)) => Some(answer[3] & 0xf),
        Ok(_) | Err(Fault::Silent) => None,
    }
}

#[test]
fn a_plain_question_and_one_with_edns_are_taken() {
    let plain = Query::parse(&question("example.org", 1)).unwrap();
    assert_eq!((plain.kind(), plain.class(), plain.edns), (1, 1, None));
    let edns = Query::parse(&with_edns(question("example.org", TYPE_AAAA), 1232)).unwrap();
    assert_eq!(edns.edns.unwrap().size, 1232);
    assert!(edns.asks_for_ipv6() && !plain.asks_for_ipv6());
    assert!(Query::parse(&question("", 2)).is_ok(), "the root");
    let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(61));
    assert!(Query::parse(&question(&longest, 1)).is_ok(), "255 bytes");
}

#[test]
fn what_is_no_question_gets_no_answer() {
    let mut response = question("example.org", 1);
    response[2] |= 0x80;
    for message in [&[][..], &[0; 11], &response] {
        assert_eq!(Query::parse(message).err(), Some(Fault::Silent));
    }
}

#[test]
fn malformed_questions_get_a_format_error() {
    let good = question("example.org", 1);
    let edit = |at: usize, value: u8| {
        let mut message = good.clone();
        message[at] = value;
        message
    };
    let longer = |more: &[u8]| [&good[..], more].concat();
    let mut two_edns = with_edns(with_edns(good.clone(), 1232), 1232);
    let long_name = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "b".repeat(62));
    let cases = [
        ("no question", edit(5, 0)),
        ("two questions", edit(5, 2)),
        ("an answer record", edit(7, 1)),
        ("an authority record", edit(9, 1)),
        ("an additional record that is not there", edit(11, 1)),
        ("too many additional records", edit(10, 1)),
        ("a pointer in the name", edit(12, 0xc0)),
        ("an unknown kind of label", edit(12, 0x40)),
        ("a label beyond the end", edit(12, 63)),
        ("bytes behind the end", longer(&[0])),
        ("a question that is cut", good[..good.len() - 1].to_vec()),
        ("no name at all", good[..12].to_vec()),
        ("a name of 256 bytes", question(&long_name, 1)),
        ("two EDNS records", std::mem::take(&mut two_edns)),
        ("EDNS under a name", {
            let mut message = longer(&[1, b'x', 0, 0, 41, 4, 0, 0, 0, 0, 0, 0, 0]);
            message[11] = 1;
            message
        }),
        ("more than 4096 bytes", {
            let mut message = longer(&[0, 0, 41, 4, 0, 0, 0, 0, 0, 0x0f, 0xf0]);
            message[11] = 1;
            message.resize(message.len() + 0x0ff0, 0);
            message
        }),
    ];
    for (what, message) in cases {
        assert_eq!(rcode(Query::parse(&message)), Some(Rcode::FormErr as u8), "{what}");
    }
}

#[test]
fn other_operations_and_zone_transfers_are_not_implemented() {
    let mut update = question("example.org", 1);
    update[2] |= 5 << 3;
    for message in [update, question("example.org", TYPE_AXFR)] {
        let Err(Fault::Answerable(answer)) = Query::parse(&message) else { panic!("taken") };
        assert_eq!((answer[3] & 0xf, &answer[..2]), (Rcode::NotImp as u8, &[0xab, 0xcd][..]));
        assert_eq!(answer[2] & 0x79, message[2] & 0x79, "operation and RD come back");
    }
}

#[test]
fn only_its_own_answer_belongs_to_a_question() {
    let query = Query::parse(&question("example.org", 65)).unwrap();
    let sent = query.under(7);
    let honest = answer_to(&sent, 20);
    assert!(query.is_answered_by(7, &honest));
    let edit = |at: usize, value: u8| {
        let mut answer = honest.clone();
        answer[at] = value;
        answer
    };
    assert!(query.is_answered_by(7, &edit(13, b'E')), "the case of letters is free");
    assert!(!query.is_answered_by(8, &honest), "the id");
    let type_low_byte = query.name_end + 1;
    for (what, lie) in [
        ("id", edit(1, 8)),
        ("no response", edit(2, 0x01)),
        ("operation", edit(2, 0x89)),
        ("no question", edit(5, 0)),
        ("two questions", edit(5, 2)),
        ("name", edit(13, b'f')),
        ("type, which differs like the case of a letter", edit(type_low_byte, 97)),
        ("class", edit(type_low_byte + 2, 3)),
        ("cut in the question", honest[..type_low_byte].to_vec()),
        ("header only", honest[..12].to_vec()),
        ("empty", Vec::new()),
    ] {
        assert!(!query.is_answered_by(7, &lie), "{what}");
    }
}

#[test]
fn resolvers_are_asked_under_another_id_and_a_bounded_size() {
    let message = with_edns(question("example.org", 1), 65535);
    let query = Query::parse(&message).unwrap();
    let sent = query.under(0x1234);
    let reparsed = Query::parse(&sent).unwrap();
    assert_eq!((reparsed.id(), reparsed.edns.unwrap().size), (0x1234, MAX_MESSAGE));
    let modest = Query::parse(&with_edns(question("example.org", 1), 1232)).unwrap();
    assert_eq!(modest.under(0xabcd), with_edns(question("example.org", 1), 1232), "nothing else changes");
}

#[test]
fn udp_answers_fit_what_the_sandbox_can_take() {
    let plain = Query::parse(&question("example.org", 1)).unwrap();
    let size = question("example.org", 1).len();
    let fits = plain.udp_answer(answer_to(&plain.under(7), 512 - size));
    assert_eq!((fits.len(), &fits[..2], is_truncated(&fits)), (512, &[0xab, 0xcd][..], false));
    let cut = plain.udp_answer(answer_to(&plain.under(7), 513 - size));
    assert_eq!((cut.len(), &cut[..2], is_truncated(&cut)), (size, &[0xab, 0xcd][..], true));
    assert_eq!(cut[4..12], [0, 1, 0, 0, 0, 0, 0, 0]);

    let edns = Query::parse(&with_edns(question("example.org", 1), 1232)).unwrap();
    assert_eq!(edns.udp_answer(answer_to(&edns.under(7), 1000)).len(), edns.message.len() + 1000);
    let cut = edns.udp_answer(answer_to(&edns.under(7), 2000));
    assert_eq!((cut.len(), cut[11], is_truncated(&cut)), (size + 11, 1, true), "with an EDNS record");
    let tiny = Query::parse(&with_edns(question("example.org", 1), 1)).unwrap();
    assert!(!is_truncated(&tiny.udp_answer(answer_to(&tiny.under(7), 400))), "512 is the least");
}

#[test]
fn own_replies_repeat_the_question() {
    let query = Query::parse(&with_edns(question("example.org", 1), 1232)).unwrap();
    let reply = query.reply(Rcode::ServFail);
    assert!(query.is_answered_by(0xabcd, &reply));
    assert_eq!((reply[2], reply[3]), (0x81, 0x82), "QR, RD, RA, SERVFAIL");
    // As a question it would be well-formed, so the EDNS record in it is.
    let mut as_question = reply;
    as_question[2] = 1;
    assert!(Query::parse(&as_question).is_ok());
}

/// Everything that is done with a message from inside, and with an answer from outside.
fn exercise(message: &[u8], answer: &[u8]) {
    match Query::parse(message) {
        Ok(query) => {
            assert!(message.len() <= MAX_MESSAGE && message[2] & 0xf8 == 0);
            let again = Query::parse(&query.under(1)).expect("what is sent on is a question");
            assert_eq!(again.question(), query.question());
            assert!(query.udp_answer(answer.to_vec()).len() <= MAX_MESSAGE);
            assert!(query.is_answered_by(query.id(), &query.reply(Rcode::ServFail)));
            let _ = query.is_answered_by(1, answer);
        }
        Err(Fault::Answerable(reply)) => assert!(reply[2] & 0x80 != 0 && reply[..2] == message[..2]),
        Err(Fault::Silent) => {}
    }
    let _ = (is_truncated(answer), asks_elsewhere(answer));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(
        message in prop::collection::vec(any::<u8>(), 0..600),
        answer in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        exercise(&message, &answer);
    }

    /// Nearly good messages reach deeper than random ones.
    #[test]
    fn mutated_messages_are_read_without_panic(
        name in "([a-z]{1,63}\\.){0,5}",
        kind: u16,
        size: Option<u16>,
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
        more in prop::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut message = question(&name, kind);
        if let Some(size) = size {
            message = with_edns(message, size);
        }
        for (at, value) in edits {
            let at = at.index(message.len());
            message[at] = value;
        }
        if let Some(cut) = cut {
            message.truncate(cut.index(message.len()));
        }
        message.extend(more);
        let answer = answer_to(&[&message[..], &[0; 12]].concat(), 3);
        exercise(&message, &answer);
    }

    #[test]
    fn every_well_formed_question_is_taken(name in "([a-z0-9_-]{1,60}\\.){0,4}", kind in 1u16..250, size: Option<u16>) {
        let plain = question(&name, kind);
        let message = size.map_or(plain.clone(), |size| with_edns(plain, size));
        prop_assert!(Query::parse(&message).is_ok());
    }
}

#[test]
fn any_name_is_shown() {
    let shown = |name: &[u8]| {
        let mut message = vec![1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(name);
        message.extend_from_slice(&[0, 0, 1, 0, 1]);
        Query::parse(&message).unwrap().spelled()
    };
    assert_eq!(shown(b"\x03wWw\x07example"), "wWw.example");
    assert_eq!(shown(b"\x05a.\\ \xff\x01B"), r"a\.\\\032\255.B");
    assert_eq!(shown(b""), ".");
}
