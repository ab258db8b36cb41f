use super::*;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use proptest::prelude::*;

fn needles(secrets: &[&str]) -> Arc<Needles> {
    Arc::new(Needles::new(secrets.iter().map(|secret| (secret.as_bytes(), secret.as_bytes()))))
}

fn redacted(needles: &Arc<Needles>, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut redactor, mut output) = (Redactor::new(Arc::clone(needles)), Vec::new());
    for piece in pieces {
        redactor.push(piece, &mut output);
    }
    redactor.finish(&mut output);
    output
}

fn text(needles: &Arc<Needles>, input: &str) -> String {
    String::from_utf8(redacted(needles, &[input.as_bytes()])).unwrap()
}

#[test]
fn every_form_is_taken_out() {
    let secret = "sk-Ab/c+d ef~gh?ij";
    let needles = Arc::new(Needles::new([(secret.as_bytes(), b"Bearer sk-Ab/c+d ef~gh?ij".as_slice())]));
    assert_eq!(text(&needles, "x sk-Ab/c+d ef~gh?ij y"), "x [redacted] y");
    assert_eq!(text(&needles, "x Bearer sk-Ab/c+d ef~gh?ij y"), "x [redacted] y");
    assert_eq!(text(&needles, "k=sk-Ab%2Fc%2Bd%20ef~gh%3Fij&x"), "k=[redacted]&x");
    assert_eq!(text(&needles, "k=sk-Ab%2fc%2bd+ef~gh%3fij&x"), "k=[redacted]&x");
    assert_eq!(text(&needles, "k=Bearer%20sk-Ab%2Fc%2Bd%20ef~gh%3Fij&x"), "k=[redacted]&x");
    for before in ["", "a", "ab", "abc", "user:"] {
        for whole in [secret.to_owned(), format!("Bearer {secret}")] {
            for encoded in [
                STANDARD.encode(format!("{before}{whole}zz")),
                URL_SAFE_NO_PAD.encode(format!("{before}{whole}")),
            ] {
                let shown = text(&needles, &encoded);
                assert!(shown.contains("[redacted]"), "{before} {encoded} {shown}");
                // What is left are digits that the neighbours decide as well.
                assert!(shown.len() < "[redacted]".len() + 14, "{shown}");
            }
        }
    }
}

#[test]
fn percent_encoding_is_known_as_every_encoder_writes_it() {
    // As AWS and Azure have them, and with what only some encoders leave as it is.
    let needles = needles(&["ab/cd+ef==(g)*!~$&"]);
    for encoded in [
        "ab%2Fcd%2Bef%3D%3D%28g%29%2A%21~%24%26", // RFC 3986, section 2.3
        "ab/cd%2Bef%3D%3D%28g%29%2A%21~%24%26",   // Python: quote
        "ab%2Fcd%2Bef%3D%3D(g)*!~%24%26",         // JavaScript: encodeURIComponent
        "ab/cd+ef==(g)*!~$&",                     // JavaScript: encodeURI
        "ab%2Fcd%2Bef%3D%3D%28g%29*%21%7E%24%26", // forms
        "ab%2Fcd+ef==%28g%29%2A%21~$&",           // Go: PathEscape
    ] {
        assert_eq!(text(&needles, &format!("k={encoded};")), "k=[redacted];", "{encoded}");
    }
}

#[test]
fn strings_of_json_are_searched() {
    let needles = needles(&[r#"ab/cd"ef\gh"#]);
    assert_eq!(text(&needles, r#"{"k":"ab/cd\"ef\\gh"}"#), r#"{"k":"[redacted]"}"#);
    assert_eq!(text(&needles, r#"{"k":"ab\/cd\"ef\\gh"}"#), r#"{"k":"[redacted]"}"#);
}

#[test]
fn nothing_is_held_that_cannot_be_the_beginning() {
    let needles = needles(&["secret-value-1"]);
    let (mut redactor, mut output) = (Redactor::new(needles), Vec::new());
    redactor.push(b"data: hello\n\n", &mut output);
    assert_eq!(output, b"data: hello\n\n");
    redactor.push(b"data: secre", &mut output);
    assert_eq!(output, b"data: hello\n\ndata: ", "the beginning waits");
    redactor.push(b"tary\n\n", &mut output);
    assert_eq!(output, b"data: hello\n\ndata: secretary\n\n", "and is let go as soon as it is none");
    redactor.push(b"secret-value-", &mut output);
    redactor.finish(&mut output);
    assert!(output.ends_with(b"\n\nsecret-value-"));
}

#[test]
fn the_longest_of_several_is_taken() {
    let needles = needles(&["abcdefgh", "abcdefghijkl"]);
    for pieces in [&["xabcdefghijkly"] as &[&str], &["xabcdefgh", "ijkly"], &["xabcdefghi", "jkly"]] {
        let pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        assert_eq!(redacted(&needles, &pieces), b"x[redacted]y");
    }
    assert_eq!(redacted(&needles, &[b"abcdefgh".as_slice(), b"ijk."]), b"[redacted]ijk.");
    assert_eq!(redacted(&needles, &[b"abcdefgh".as_slice(), b"ijk"]), b"[redacted]ijk");
}

#[test]
fn short_secrets_are_left_alone() {
    assert!(needles(&["1234567"]).is_empty());
    assert!(!needles(&["12345678"]).is_empty());
}

#[test]
fn a_secret_that_the_mask_would_show_gets_another_mask() {
    for secret in ["redacted", "[redacted]", "redacted]x", "aaaaaaa["] {
        let needles = needles(&[secret]);
        let shown = text(&needles, &format!("{secret}x {secret}"));
        assert!(!shown.contains(secret) && shown.contains('\u{fffd}'), "{shown}");
    }
}

/// Of few letters, so that beginnings, overlaps and repetitions are common.
fn secrets() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[ab]{8,12}|[abc/+ ]{8,10}", 1..4)
}

fn cut<'a>(input: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = input;
    let mut pieces = Vec::new();
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces
}

proptest! {
    #[test]
    fn no_secret_is_left_however_it_is_cut(
        secrets in secrets(),
        parts in prop::collection::vec((any::<prop::sample::Index>(), "[abc/ ]{0,9}", 0..8_usize), 0..8),
        cuts in prop::collection::vec(0..9_usize, 0..40),
    ) {
        let names: Vec<&str> = secrets.iter().map(String::as_str).collect();
        let needles = needles(&names);
        let mut input = Vec::new();
        for (which, filling, form) in parts {
            let secret = &secrets[which.index(secrets.len())];
            input.extend_from_slice(filling.as_bytes());
            input.extend_from_slice(match form {
                0..3 => STANDARD.encode(format!("{}{secret}", "x".repeat(form))),
                3 => secret.replace('/', "%2F").replace('+', "%2B").replace(' ', "%20"),
                _ => secret.clone(),
            }.as_bytes());
        }
        let whole = redacted(&needles, &[&input]);
        let pieces = redacted(&needles, &cut(&input, &cuts));
        prop_assert_eq!(&whole, &pieces, "cuts change nothing");
        for secret in &secrets {
            prop_assert!(!whole.windows(secret.len()).any(|part| part == secret.as_bytes()));
        }
    }

    #[test]
    fn what_has_no_secret_in_it_is_not_changed(
        input in prop::collection::vec(any::<u8>(), 0..200),
        cuts in prop::collection::vec(0..9_usize, 0..40),
    ) {
        let needles = needles(&["0123456789abcdef", "Bearer what nobody writes by chance"]);
        prop_assert_eq!(redacted(&needles, &cut(&input, &cuts)), input);
    }

    #[test]
    fn a_secret_is_found_wherever_it_lies_in_a_long_piece(
        filling in prop::collection::vec(any::<u8>(), 0..400),
        at in any::<prop::sample::Index>(),
        secret in "[!-~]{8,90}",
        form in 0..4_usize,
    ) {
        let needles = needles(&[&secret, "another-one"]);
        let form = if form < 3 { STANDARD.encode(format!("{}{secret}", "x".repeat(form))) } else { secret.clone() };
        let mut input = filling.clone();
        let at = at.index(filling.len() + 1);
        input.splice(at..at, form.bytes());
        let output = redacted(&needles, &[&input]);
        prop_assert!(!output.windows(secret.len()).any(|part| part == secret.as_bytes()));
        prop_assert!(output.len() < input.len() || secret.len() < 12, "{}", String::from_utf8_lossy(&output));
    }

    #[test]
    fn less_than_the_longest_form_is_held(input in "[ab]{0,100}", secret in "[ab]{8,12}") {
        let (mut redactor, mut output) = (Redactor::new(needles(&[&secret])), Vec::new());
        for byte in input.as_bytes() {
            redactor.push(&[*byte], &mut output);
            prop_assert!(redactor.held.len() < secret.len().div_ceil(3) * 4 + 4);
        }
    }
}
