use super::*;
use agentkernel_model::{
    policy::PolicyRequest,
    secret::{SecretBinding, SecretGrant},
};
use ring::digest;
use std::collections::BTreeMap;

const PEM: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";

fn variables(request: PolicyRequest) -> BTreeMap<String, String> {
    let all = environment(&EffectivePolicy::resolve(request)).unwrap();
    let count = all.len();
    let map: BTreeMap<_, _> = all.into_iter().map(<(String, String)>::from).collect();
    assert_eq!(map.len(), count, "each is there once");
    map
}

fn grant(text: &str) -> SecretGrant {
    SecretGrant::from(&text.parse::<SecretBinding>().unwrap())
}

#[test]
fn without_rules_and_secrets_nothing_is_set() {
    assert!(variables(PolicyRequest::default()).is_empty());
}

#[test]
fn a_secret_has_a_placeholder_and_what_its_gateway_needs() {
    let secrets = vec![grant("A_KEY:a.example"), grant("A_KEY:b.example"), grant("B_KEY")];
    let set = variables(PolicyRequest { secrets, ..PolicyRequest::default() });
    assert_eq!((set["A_KEY"].as_str(), set["B_KEY"].as_str()), ("ak-proxy-managed", "ak-proxy-managed"));
    assert_eq!(set["https_proxy"], "http://192.0.2.53:3128");
    assert_eq!(set["no_proxy"], "localhost,127.0.0.1,::1");
    assert_eq!(set["SSL_CERT_FILE"], "/run/agentkernel/ca-bundle.crt");
    assert_eq!(set["NODE_EXTRA_CA_CERTS"], "/run/agentkernel/ca.crt");
    // The file of an npmrc is all that npm believes: the variable is in its place.
    assert_eq!(set["NPM_CONFIG_CAFILE"], "/run/agentkernel/ca-bundle.crt");
    assert!(set["JAVA_TOOL_OPTIONS"].contains("trustStore=/run/agentkernel/cacerts "));
    assert!(!set.contains_key("AGENTKERNEL_SECRETS_PATH"));
}

#[test]
fn rules_about_addresses_need_a_proxy_alone() {
    let rules = vec!["allow example.com:443".parse().unwrap()];
    let set = variables(PolicyRequest { rules, ..PolicyRequest::default() });
    assert_eq!(set["HTTP_PROXY"], "http://192.0.2.53:3128");
    assert!(!set.contains_key("SSL_CERT_FILE"));
    let rules = vec!["allow GET example.com/v1".parse().unwrap()];
    let set = variables(PolicyRequest { rules, ..PolicyRequest::default() });
    assert!(set.contains_key("SSL_CERT_FILE"));
}

#[test]
fn a_file_has_a_place_and_nothing_else() {
    let secret_files = vec!["KEY".parse().unwrap()];
    let set = variables(PolicyRequest { secret_files, ..PolicyRequest::default() });
    assert_eq!(
        set.into_iter().collect::<Vec<_>>(),
        [("AGENTKERNEL_SECRETS_PATH".to_owned(), "/run/agentkernel/secrets".to_owned())]
    );
}

fn unpacked(archive: &[u8], dir: &std::path::Path) {
    let into = std::fs::File::open(dir).unwrap();
    let options = agentkernel_archive::UnpackOptions {
        bounds: agentkernel_archive::Bounds { bytes: 1 << 20, entries: 10 },
        ownership: agentkernel_archive::Ownership::Caller,
        whiteouts: agentkernel_archive::Whiteouts::Plain,
        existing: agentkernel_archive::Existing::Replace,
    };
    agentkernel_archive::unpack(archive, std::os::fd::AsFd::as_fd(&into), &options).unwrap();
}

#[test]
fn an_archive_is_one_that_others_read() {
    let mut archive = Archive::new();
    archive.directory("secrets", 0o755).unwrap();
    archive.file("secrets/KEY", 0o400, User { uid: 1000, gid: 1001 }, &[b'x'; 700]).unwrap();
    assert!(archive.file(&"x".repeat(101), 0o400, User::ROOT, b"").is_err());
    let archive = archive.finish();
    assert_eq!(archive.len() % 512, 0);
    let dir = tempfile::tempdir().unwrap();
    unpacked(&archive, dir.path());
    assert_eq!(std::fs::read(dir.path().join("secrets/KEY")).unwrap(), [b'x'; 700]);
    // The fields that a reader as a user cannot show.
    assert_eq!(&archive[512 + 100..512 + 124], b"0000400\x000001750\x000001751\0");
    // More than seven octal digits.
    let mut archive = Archive::new();
    archive.file("KEY", 0o400, User { uid: 2_097_152, gid: u32::MAX - 1 }, b"").unwrap();
    let archive = archive.finish();
    assert_eq!(&archive[108..124], b"\x80\0\0\0\0\x20\0\0\x80\0\0\0\xff\xff\xff\xfe");
    unpacked(&archive, dir.path());
    assert_eq!(std::fs::read(dir.path().join("KEY")).unwrap(), b"");
}

#[test]
fn our_certificate_is_in_a_bundle_once() {
    let once = bundle::with_authority(b"system\n", "ours 1\n");
    assert_eq!(once, b"system\n# agentkernel: begin\nours 1\n# agentkernel: end\n");
    let twice = bundle::with_authority(&[&once[..], b"later\n"].concat(), "ours 2");
    assert_eq!(twice, b"system\nlater\n# agentkernel: begin\nours 2\n# agentkernel: end\n");
    assert_eq!(bundle::with_authority(&once, ""), b"system\n");
    assert_eq!(
        bundle::with_authority(b"no end", "ours"),
        b"no end\n# agentkernel: begin\nours\n# agentkernel: end\n"
    );
    // Half of it is the sandbox's own doing.
    let half = b"# agentkernel: end\n# agentkernel: begin\nx";
    assert!(bundle::with_authority(half, "y").starts_with(half));
}

#[test]
fn a_store_for_java_holds_every_certificate() {
    let store = keystore::write(format!("comment\n{PEM}{PEM}").as_bytes()).unwrap();
    let mut expected = vec![0xFE, 0xED, 0xFE, 0xED, 0, 0, 0, 2, 0, 0, 0, 2];
    for alias in ["ca-0", "ca-1"] {
        expected.extend([0, 0, 0, 2, 0, 4]);
        expected.extend(alias.as_bytes());
        expected.extend([0; 8]);
        expected.extend([0, 5]);
        expected.extend(b"X.509");
        expected.extend([0, 0, 0, 3, 1, 2, 3]);
    }
    let (content, hash) = store.split_at(store.len() - 20);
    assert_eq!(content, expected);
    let signed = [b"\0c\0h\0a\0n\0g\0e\0i\0t".as_slice(), b"Mighty Aphrodite", content].concat();
    assert_eq!(hash, digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &signed).as_ref());
}

#[test]
fn no_mount_is_where_our_files_are() {
    let path = |text: &str| text.parse::<GuestPath>().unwrap();
    keep_apart(&[path("/data"), path("/run/agentkernels"), path("/run/user")]).unwrap();
    for target in ["/run", "/run/agentkernel", "/run/agentkernel/secrets"] {
        assert!(keep_apart(&[path("/data"), path(target)]).is_err(), "{target}");
    }
}

#[test]
fn of_a_bundle_only_certificates_are_shown_again() {
    let one = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let text = format!(
        "agentkernel\0run\0--secret\0KEY=value:host\n{one}# a comment\n{one}-----BEGIN CERTIFICATE-----\nhalf"
    );
    assert_eq!(bundle::certificates(text.as_bytes()), format!("{one}{one}").as_bytes());
    assert_eq!(bundle::certificates(b"KEY=value"), b"");
    // The one of an earlier start is nobody's any more.
    assert_eq!(bundle::certificates(&bundle::with_authority(one.as_bytes(), PEM)), one.as_bytes());
}
