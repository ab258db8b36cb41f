use super::*;
use proptest::prelude::*;

fn all(data: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut found = Vec::new();
    records(data, |key, value| {
        found.push((key.to_vec(), value.to_vec()));
        Ok(())
    })?;
    Ok(found)
}

#[test]
fn broken_records_are_refused() {
    let broken: [&[u8]; 10] = [
        b"x",
        b"5 a=b",
        b"6 a=b",
        b"0 a=b\n",
        b"99 a=b\n",
        b"6 ab=\n6",
        b"5 ab\n",
        b"5 =b\n",
        b"-6 a=b\n",
        b"99999999999999999999999 a=b\n",
    ];
    for data in broken {
        assert!(all(data).is_err(), "{}", String::from_utf8_lossy(data));
    }
    assert_eq!(all(b"6 a=b\n").unwrap(), [(b"a".to_vec(), b"b".to_vec())]);
}

#[test]
fn times_have_fractions_and_signs() {
    assert_eq!(time(b"12"), Some((12, 0)));
    assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
    assert_eq!(time(b"12.0000000019"), Some((12, 1)));
    assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
    assert_eq!(time(b"-3"), Some((-3, 0)));
    for broken in ["", "-", ".5", "1.x", "1e3", "99999999999999999999", "--1"] {
        assert_eq!(time(broken.as_bytes()), None, "{broken}");
    }
}

proptest! {
    #[test]
    fn whatever_is_appended_is_read(records in prop::collection::vec(
        ("[a-z.]{1,120}", prop::collection::vec(any::<u8>(), 0..1200)), 0..5)
    ) {
        let mut data = Vec::new();
        for (key, value) in &records {
            append(&mut data, key.as_bytes(), value);
        }
        let expected: Vec<_> = records.into_iter().map(|(key, value)| (key.into_bytes(), value)).collect();
        prop_assert_eq!(all(&data).unwrap(), expected);
    }

    #[test]
    fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = all(&data);
    }
}
