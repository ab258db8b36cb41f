use super::*;
use proptest::prelude::*;

fn round_trip(frame: &Frame<'_>) {
    let mut bytes = Vec::new();
    frame.write(7, &mut bytes);
    for cut in 0..bytes.len() {
        assert_eq!(read(&bytes[..cut]), Ok(None), "{frame:?} cut at {cut}");
    }
    let length = bytes.len();
    bytes.extend(b"more");
    assert_eq!(read(&bytes), Ok(Some((7, frame.clone(), length))));
}

#[test]
fn every_frame_is_read_as_it_was_written() {
    let v4 = "192.0.2.1:443".parse().unwrap();
    let v6 = "[2001:db8::1]:53".parse().unwrap();
    round_trip(&Frame::Open);
    round_trip(&Frame::Flow(v4));
    round_trip(&Frame::Descriptors(vec![(3, Use::Read), (5, Use::Write), (7, Use::Both)]));
    round_trip(&Frame::Data(b"hello"));
    round_trip(&Frame::End);
    round_trip(&Frame::Stop);
    round_trip(&Frame::Credit(70_000));
    round_trip(&Frame::Datagram(v6, b"question"));
}

#[test]
fn what_is_no_frame_is_refused() {
    let long = u32::try_from(MAX_CONTENT + 1).unwrap().to_le_bytes();
    let mut too_long = vec![4, 0, 0, 0, 0];
    too_long.extend(long);
    assert_eq!(read(&too_long), Err(Errno::PROTO));
    for bytes in [
        &[0, 0, 0, 0, 0, 0, 0, 0, 0][..],
        &[9, 0, 0, 0, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 1, 0, 0, 0, 1],
        &[7, 0, 0, 0, 0, 3, 0, 0, 0, 1, 1, 1],
        &[2, 0, 0, 0, 0, 2, 0, 0, 0, 4, 1],
        &[3, 0, 0, 0, 0, 5, 0, 0, 0, 1, 1, 1, 1, 9],
    ] {
        assert_eq!(read(bytes), Err(Errno::PROTO), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn nothing_that_is_sent_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
        let _ = read(&bytes);
    }
}
