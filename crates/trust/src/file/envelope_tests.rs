use super::*;
use proptest::prelude::*;

fn sample() -> (Vec<u8>, Key, Key) {
    let (key, outer) = (cipher::random().unwrap(), cipher::random().unwrap());
    let header = Header::new(Header::fresh_id().unwrap(), Protector::File, &key, &outer).unwrap();
    (seal(&header, &key, b"entries").unwrap(), key, outer)
}

fn opened(bytes: &[u8], outer: &Key) -> Result<Vec<u8>, Fault> {
    let envelope = Envelope::parse(bytes)?;
    let key = envelope.header.unwrap(outer).ok_or(Fault::Damaged)?;
    envelope.open(&key).map(|plain| plain.to_vec())
}

#[test]
fn it_comes_back_and_every_byte_counts() {
    let (bytes, _, outer) = sample();
    assert_eq!(opened(&bytes, &outer).unwrap(), b"entries");
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(opened(&changed, &outer).is_err(), "byte {at}");
        assert!(opened(&bytes[..at], &outer).is_err(), "cut at {at}");
    }
}

#[test]
fn what_is_wrong_is_told_apart() {
    let (mut bytes, ..) = sample();
    assert_eq!(Envelope::parse(b"").unwrap_err(), Fault::Foreign);
    assert_eq!(Envelope::parse(b"{\"secrets\":{}}").unwrap_err(), Fault::Foreign);
    assert_eq!(Envelope::parse(&bytes[..9]).unwrap_err(), Fault::Damaged);
    bytes[7] = 2;
    assert_eq!(Envelope::parse(&bytes).unwrap_err(), Fault::Newer(2));
    bytes[7] = 0;
    assert_eq!(Envelope::parse(&bytes).unwrap_err(), Fault::Damaged);
}

#[test]
fn another_key_does_not_fit() {
    let (bytes, key, outer) = sample();
    let envelope = Envelope::parse(&bytes).unwrap();
    assert!(envelope.header.unwrap(&cipher::random().unwrap()).is_none());
    assert_eq!(envelope.header.unwrap(&outer).unwrap(), key);
    // The key of one vault is none in another.
    let mut other = envelope.header.clone();
    other.id = Header::fresh_id().unwrap();
    assert!(other.unwrap(&outer).is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_an_envelope_or_a_fault(tail in prop::collection::vec(any::<u8>(), 0..120)) {
        let _either = Envelope::parse(&tail);
        let _either = Envelope::parse(&[b"AKVAULT\x01\0\0\0\x02{}".as_slice(), &tail].concat());
    }
}
