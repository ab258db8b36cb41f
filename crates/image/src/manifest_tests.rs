use super::*;
use proptest::prelude::*;

const HEX: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000aa";
const OTHER: &str = "sha256:00000000000000000000000000000000000000000000000000000000000000bb";

fn image(config_type: &str, layer: &str) -> String {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
        "config":{{"mediaType":"{config_type}","digest":"{HEX}","size":7}},"layers":[{layer}]}}"#
    )
}

fn layer(media_type: &str, more: &str) -> String {
    format!(r#"{{"mediaType":"{media_type}","digest":"{OTHER}","size":9{more}}}"#)
}

fn kind(text: &str) -> Kind {
    parse_manifest(text.as_bytes()).unwrap_err().kind()
}

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

#[test]
fn an_image_is_read() {
    let Manifest::Image(read) = parse_manifest(image(CONFIG, &layer(GZIP, "")).as_bytes()).unwrap() else {
        panic!("an image was written");
    };
    assert_eq!(read.config, Descriptor { digest: HEX.parse().unwrap(), size: 7 });
    assert_eq!(read.layers, [Descriptor { digest: OTHER.parse().unwrap(), size: 9 }]);
}

#[test]
fn what_comes_from_elsewhere_is_refused() {
    assert_eq!(kind(&image(CONFIG, &layer(GZIP, r#","urls":["https://x.test/y"]"#))), Kind::Denied);
    for foreign in FOREIGN {
        assert_eq!(kind(&image(CONFIG, &layer(foreign, ""))), Kind::Denied, "{foreign}");
    }
}

#[test]
fn what_is_no_image_is_refused() {
    assert_eq!(kind(&image("application/vnd.cncf.helm.config.v1+json", &layer(GZIP, ""))), Kind::Unsupported);
    assert_eq!(kind(&image(CONFIG, &layer("text/html", ""))), Kind::Unsupported);
    assert_eq!(kind(&image(CONFIG, "")), Kind::Invalid);
    assert_eq!(kind(r#"{"schemaVersion":1,"fsLayers":[]}"#), Kind::Unsupported);
    assert_eq!(kind(r#"{"schemaVersion":2}"#), Kind::Invalid);
    assert_eq!(kind("[]"), Kind::Invalid);
    let both = image(CONFIG, &layer(GZIP, "")).replacen('{', r#"{"manifests":[],"#, 1);
    assert_eq!(kind(&both), Kind::Invalid);
    let many = vec![layer(GZIP, ""); MAX_LAYERS + 1].join(",");
    assert_eq!(kind(&image(CONFIG, &many)), Kind::Invalid);
    let sha512 = image(CONFIG, &layer(GZIP, "").replace(OTHER, &format!("sha512:{}", "0".repeat(128))));
    assert_eq!(kind(&sha512), Kind::Invalid);
    let negative = image(CONFIG, &layer(GZIP, "").replace("\"size\":9", "\"size\":-1"));
    assert_eq!(kind(&negative), Kind::Invalid);
}

fn index(entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(media_type, more)| {
            format!(r#"{{"mediaType":"{media_type}","digest":"{HEX}","size":1{more}}}"#)
        })
        .collect();
    format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","))
}

#[test]
fn an_index_leads_to_the_machine_s_own_image() {
    let manifest = MANIFESTS[0];
    let on = |architecture: &str, variant: &str| {
        format!(r#","platform":{{"os":"linux","architecture":"{architecture}","variant":"{variant}"}}"#)
    };
    let text = index(&[
        (manifest, &on("arm64", "v8")),
        (manifest, r#","platform":{"os":"unknown","architecture":"unknown"}"#),
        ("application/vnd.dev.cosign.signature", ""),
        (manifest, &on("amd64", "v3")),
        (manifest, &on("amd64", "")),
        (
            manifest,
            r#","platform":{"os":"linux","architecture":"amd64"},"annotations":{"vnd.docker.reference.type":"x"}"#,
        ),
    ]);
    let Manifest::Index(index) = parse_manifest(text.as_bytes()).unwrap() else {
        panic!("an index was written")
    };
    assert_eq!(index.entries.len(), 3);
    let choice = |wanted: &str| {
        index.choose("x", &wanted.parse().unwrap()).map(|e| e.platform.clone().unwrap().to_string())
    };
    assert_eq!(choice("linux/amd64").unwrap(), "linux/amd64");
    assert_eq!(choice("linux/arm64").unwrap(), "linux/arm64/v8");
    let error = choice("linux/riscv64").unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.message().ends_with("it offers linux/amd64, linux/amd64/v3, linux/arm64/v8"), "{error}");
}

#[test]
fn an_index_in_an_index_is_refused() {
    assert_eq!(kind(&index(&[(INDEXES[0], "")])), Kind::Unsupported);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_manifest(&bytes);
    }

    #[test]
    fn no_cut_or_changed_text_panics(at in 0_usize..300, byte in any::<u8>()) {
        let mut text = image(CONFIG, &layer(GZIP, "")).into_bytes();
        let at = at % text.len();
        let _ = parse_manifest(&text[..at]);
        text[at] = byte;
        let _ = parse_manifest(&text);
    }
}
