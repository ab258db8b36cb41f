use super::*;

#[test]
fn every_bit_counts() {
    let (key, context) = (random::<KEY>().unwrap(), b"context");
    let sealed = seal(&key, context, b"plain").unwrap();
    assert_eq!(sealed.len(), b"plain".len() + OVERHEAD);
    assert_eq!(open(&key, context, &sealed).unwrap().as_slice(), b"plain");
    for byte in 0..sealed.len() {
        let mut changed = sealed.clone();
        changed[byte] ^= 1;
        assert!(open(&key, context, &changed).is_none(), "byte {byte}");
        assert!(open(&key, context, &sealed[..byte]).is_none(), "cut at {byte}");
    }
    assert!(open(&key, b"other", &sealed).is_none());
    assert!(open(&random::<KEY>().unwrap(), context, &sealed).is_none());
}

#[test]
fn no_nonce_comes_twice() {
    let key = random::<KEY>().unwrap();
    let (a, b) = (seal(&key, b"", b"same").unwrap(), seal(&key, b"", b"same").unwrap());
    assert_ne!(a, b);
    assert_ne!(a[..NONCE], b[..NONCE]);
}

/// The vector of draft-irtf-cfrg-xchacha-03, appendix A.3.1: what is written today can be read by others.
#[test]
fn it_is_the_cipher_of_the_draft() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    };
    let mut key = Zeroizing::new([0; KEY]);
    key.iter_mut().zip(0x80..).for_each(|(byte, n)| *byte = n);
    let nonce = hex("404142434445464748494a4b4c4d4e4f5051525354555657");
    let sealed = hex(concat!(
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb",
        "731c7f1b0b4aa6440bf3a82f4eda7e39ae64c6708c54c216cb96b72e1213b452",
        "2f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
        "21f9664c97637da9768812f615c68b13b52e",
        "c0875924c1c7987947deafd8780acf49"
    ));
    let plain = open(&key, &hex("50515253c0c1c2c3c4c5c6c7"), &[nonce, sealed].concat()).unwrap();
    assert!(plain.starts_with(b"Ladies and Gentlemen of the class of '99"));
}
