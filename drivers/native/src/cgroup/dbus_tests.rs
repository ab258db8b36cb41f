use super::*;
use proptest::prelude::*;

/// The call StartTransientUnit as its receiver reads it: unit, mode, and each property with type and value.
pub(in crate::cgroup) fn transient(call: &Message) -> Result<(String, String, Vec<[String; 3]>), Malformed> {
    let mut body = call.body("ssa(sv)a(sa(sv))")?;
    let (unit, mode) = (body.string()?.to_owned(), body.string()?.to_owned());
    let mut properties = Vec::new();
    let length = usize::try_from(body.u32()?).unwrap();
    body.align(8)?;
    let end = body.at + length;
    while body.at < end {
        body.align(8)?;
        let name = body.string()?.to_owned();
        let signature = body.signature()?.to_owned();
        let value = match signature.as_str() {
            "s" => body.string()?.to_owned(),
            "b" => (body.u32()? == 1).to_string(),
            "t" => body.u64()?.to_string(),
            "au" => {
                assert_eq!(body.u32()?, 4, "one process");
                body.u32()?.to_string()
            }
            other => panic!("a property of type {other}"),
        };
        properties.push([name, signature, value]);
    }
    assert_eq!(body.at, end);
    assert_eq!(body.u32()?, 0, "no auxiliary units");
    body.align(8)?;
    assert!(body.rest().is_empty());
    Ok((unit, mode, properties))
}

fn sample() -> Message {
    Message { sender: Some(":1.7".to_owned()), ..Message::call("a.b", "/c", "d.e", "Go") }.with_body(
        "su",
        |out| {
            out.string("text");
            out.u32(7);
        },
    )
}

/// A JobRemoved signal in big-endian, byte by byte as the specification has it.
fn big_endian() -> Vec<u8> {
    let mut bytes = vec![b'B', 4, 1, 1, 0, 0, 0, 4, 0, 0, 0, 9, 0, 0, 0, 0];
    let mut field = |code: u8, kind: u8, text: &[u8]| {
        while bytes.len() % 8 != 0 {
            bytes.push(0);
        }
        bytes.extend([code, 1, kind, 0]);
        if kind == b'g' {
            bytes.push(u8::try_from(text.len()).unwrap());
        } else {
            bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
        }
        bytes.extend(text);
        bytes.push(0);
    };
    field(1, b'o', b"/p");
    field(2, b's', b"i.f");
    field(3, b's', b"Removed");
    field(8, b'g', b"u");
    let fields = u32::try_from(bytes.len() - 16).unwrap();
    bytes[12..16].copy_from_slice(&fields.to_be_bytes());
    while bytes.len() % 8 != 0 {
        bytes.push(0);
    }
    bytes.extend([0, 0, 1, 2]);
    bytes
}

#[test]
fn a_message_is_laid_out_as_the_specification_says() {
    let bytes = Message::call("a", "/", "b.c", "D").with_body("t", |out| out.u64(5)).encode(3).unwrap();
    let mut expected = vec![b'l', 1, 0, 1, 8, 0, 0, 0, 3, 0, 0, 0, 63, 0, 0, 0];
    expected.extend([1, 1, b'o', 0, 1, 0, 0, 0, b'/', 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([2, 1, b's', 0, 3, 0, 0, 0, b'b', b'.', b'c', 0, 0, 0, 0, 0]);
    expected.extend([3, 1, b's', 0, 1, 0, 0, 0, b'D', 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([6, 1, b's', 0, 1, 0, 0, 0, b'a', 0, 0, 0, 0, 0, 0, 0]);
    expected.extend([8, 1, b'g', 0, 1, b't', 0, 0]);
    let fields = u8::try_from(expected.len() - 16 - 1).unwrap();
    expected[12] = fields;
    expected.extend([5, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(bytes, expected);
}

#[test]
fn both_byte_orders_are_read() {
    let message = Message::parse(&big_endian()).unwrap();
    assert_eq!((message.kind, message.serial), (Kind::Signal, 9));
    assert_eq!(message.member.as_deref(), Some("Removed"));
    assert_eq!(message.body("u").unwrap().u32(), Ok(258));
    assert!(message.body("s").is_err(), "values are read as what they are");
}

#[test]
fn what_is_encoded_is_read_back() {
    let bytes = sample().encode(12).unwrap();
    assert_eq!(Message::length(&bytes[..15]), Ok(None));
    assert_eq!(Message::length(&bytes), Ok(Some(bytes.len())));
    assert_eq!(Message::parse(&bytes), Ok(Message { serial: 12, ..sample() }));
}

#[test]
fn bounds_and_forms_are_checked() {
    let good = sample().encode(1).unwrap();
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        Message::parse(&bytes)
    };
    assert!(changed(0, b'x').is_err(), "byte order");
    assert!(changed(1, 0).is_err(), "kind");
    assert!(changed(1, 4).is_ok(), "a signal with a path, interface and member");
    assert!(changed(1, 2).is_err(), "a return without the serial that it answers");
    assert!(changed(3, 2).is_err(), "version");
    assert!(changed(8, 0).is_err(), "serial 0");
    assert!(changed(16, 9).is_err(), "a field of an unknown code is skipped, and then the path is missing");
    assert!(changed(18, b'u').is_err(), "a path that is a number");
    assert!(changed(25, b'\0').is_err(), "a string that ends before its end");
    assert!(changed(25, 0xff).is_err(), "no UTF-8");
    assert!(Message::parse(&good[..good.len() - 1]).is_err());
    let mut huge = good.clone();
    huge[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(Message::length(&huge), Err(Malformed("too long")));
    let long =
        Message::call("a.b", "/c", "d.e", "Go").with_body("s", |out| out.string(&"x".repeat(MAX_MESSAGE)));
    assert!(long.encode(1).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Message::length(&bytes);
        let _ = Message::parse(&bytes);
    }

    #[test]
    fn damage_is_survived(
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        big in any::<bool>(),
    ) {
        let mut bytes = if big { big_endian() } else { sample().encode(1).unwrap() };
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(message) = Message::parse(&bytes) {
            // Whatever it claims to hold, reading it ends.
            let signature = message.signature.clone();
            let mut body = message.body(&signature).unwrap();
            while body.string().is_ok() {}
            let mut body = message.body(&signature).unwrap();
            while body.u64().is_ok() {}
        }
    }

    #[test]
    fn round_trip(
        path in "(/[A-Za-z0-9_]{1,8}){1,4}",
        member in "[A-Za-z]{1,20}",
        text in "[^\\x00]{0,200}",
        numbers in prop::collection::vec(any::<u64>(), 0..20),
        serial in 1..u32::MAX,
    ) {
        let message = Message::call("a.b", &path, "c.d", &member).with_body("sat", |out| {
            out.string(&text);
            out.array(8, |out| numbers.iter().for_each(|n| out.u64(*n)));
        });
        let bytes = message.encode(serial).unwrap();
        let read = Message::parse(&bytes).unwrap();
        prop_assert_eq!(&read, &Message { serial, ..message });
        let mut body = read.body("sat").unwrap();
        prop_assert_eq!(body.string().unwrap(), text);
        prop_assert_eq!(usize::try_from(body.u32().unwrap()).unwrap(), numbers.len() * 8);
        body.align(8).unwrap();
        for number in numbers {
            prop_assert_eq!(body.u64().unwrap(), number);
        }
    }
}
