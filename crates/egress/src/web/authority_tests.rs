use super::*;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{ServerName, UnixTime, pem::PemObject as _},
};

fn verify(authority: &Authority, chain: &[CertificateDer<'static>], name: &str, at: SystemTime) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
            .build()
            .unwrap();
    let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
    let name = ServerName::try_from(name.to_owned()).unwrap();
    verifier.verify_server_cert(&chain[0], &chain[1..], &name, &[], at).is_ok()
}

#[test]
fn a_leaf_is_valid_for_its_name_and_its_time() {
    let authority = Authority::new().unwrap();
    let now = SystemTime::now();
    for (name, other) in [("api.x.com", "x.com"), ("127.0.0.1", "127.0.0.2"), ("::1", "::2")] {
        let leaf = authority.leaf(name).unwrap();
        assert!(verify(&authority, &leaf.cert, name, now), "{name}");
        assert!(!verify(&authority, &leaf.cert, other, now), "{name} {other}");
        assert!(verify(&authority, &leaf.cert, name, now - DAY + Duration::from_secs(60)));
        assert!(!verify(&authority, &leaf.cert, name, now - DAY - Duration::from_secs(60)));
        assert!(verify(&authority, &leaf.cert, name, now + LEAF_LASTS - Duration::from_secs(60)));
        assert!(!verify(&authority, &leaf.cert, name, now + LEAF_LASTS + Duration::from_secs(60)));
        let stranger = Authority::new().unwrap();
        assert!(!verify(&stranger, &leaf.cert, name, now), "one gateway is not another");
    }
}

#[test]
fn what_is_no_name_is_an_error() {
    assert!(Authority::new().unwrap().leaf("bücher.example").is_err());
}

#[test]
fn leaves_are_kept_the_most_recently_used_ones() {
    let authority = Authority::new().unwrap();
    let first = authority.leaf("first.x.com").unwrap();
    let second = authority.leaf("second.x.com").unwrap();
    assert_ne!(first.cert, second.cert);
    for number in 0..MOST_LEAVES - 1 {
        authority.leaf(&format!("{number}.x.com")).unwrap();
        assert!(Arc::ptr_eq(&first, &authority.leaf("first.x.com").unwrap()));
    }
    assert!(!Arc::ptr_eq(&second, &authority.leaf("second.x.com").unwrap()), "it was the oldest");
    assert_eq!(authority.leaves.lock().unwrap().len(), MOST_LEAVES);
}

#[test]
fn a_leaf_that_grows_old_is_made_anew() {
    let authority = Authority::new().unwrap();
    let old = authority.leaf("api.x.com").unwrap();
    for made in [SystemTime::now() - LEAF_SERVES, SystemTime::now() + DAY] {
        authority.leaves.lock().unwrap()[0].made = made;
        assert!(!Arc::ptr_eq(&old, &authority.leaf("api.x.com").unwrap()));
    }
}
