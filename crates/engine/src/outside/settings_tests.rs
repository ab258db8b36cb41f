use super::*;
use std::fs;

#[test]
fn a_missing_file_says_nothing() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(Settings::read(Some(&dir.path().join("gateway.toml"))).unwrap(), Settings::default());
    assert_eq!(Settings::read(None).unwrap(), Settings::default());
}

#[test]
fn certificates_and_resolvers() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("ca.pem");
    let pem = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    fs::write(&bundle, format!("a comment\n{pem}{pem}")).unwrap();
    let file = dir.path().join("gateway.toml");
    let text = format!("ca_bundle = \"{}\"\nresolvers = [\"127.0.0.1:5353\", \"::1\"]\n", bundle.display());
    fs::write(&file, text).unwrap();
    let settings = Settings::read(Some(&file)).unwrap();
    assert_eq!(settings.roots, [CertificateDer::from(vec![1, 2, 3]), CertificateDer::from(vec![1, 2, 3])]);
    let resolvers = ["127.0.0.1:5353".parse().unwrap(), "[::1]:53".parse().unwrap()];
    assert_eq!(settings.resolvers.as_deref(), Some(&resolvers[..]));
}

#[test]
fn mistakes_are_told_with_their_places() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    fs::write(&empty, "nothing").unwrap();
    let no_pem = format!("\nca_bundle = \"{}\"", empty.display());
    for (text, message, hint) in [
        ("ca_bundel = 1", "g:1:1: unknown key 'ca_bundel'", "did you mean 'ca_bundle'?"),
        ("ca_bundle = \"rel.pem\"", "g:1:13: 'ca_bundle' is not an absolute path", "/etc/ssl/company.pem"),
        ("ca_bundle = \"/no/such.pem\"", "g:1:13: cannot read '/no/such.pem'", "mend the path"),
        (&no_pem, "is not a file of certificates", "BEGIN CERTIFICATE"),
        ("resolvers = \"x\"", "g:1:13: 'resolvers' is not a list", "127.0.0.1:5353"),
        ("resolvers = []", "'resolvers' has not 1 to 3 addresses", ""),
        ("resolvers = [\"localhost\"]", "g:1:14: 'localhost' is not an address", ""),
        ("resolvers = [1]", "g:1:14: '' is not an address", ""),
        ("= ", "g:1:", "toml.io"),
    ] {
        let error = Settings::parse("g", text).unwrap_err();
        assert_eq!(error.kind(), Kind::Config, "{text}");
        assert!(error.to_string().contains(message), "{text}: {error}");
        assert!(error.hint().unwrap_or_default().contains(hint), "{text}: {:?}", error.hint());
    }
}
