use super::*;

fn clip(bytes: &[u8]) -> Clip {
    let mut clip = Clip::default();
    clip.push(bytes);
    clip
}

#[test]
fn what_fits_is_whole() {
    let text = "a".repeat(MOST);
    assert_eq!(clip(text.as_bytes()).text(), text);
    assert_eq!(clipped(&text), text);
    assert_eq!(clip(b"").text(), "");
}

#[test]
fn both_ends_of_more_are_kept_and_a_marker_between() {
    let text = format!("{}{}{}", "a".repeat(END), "x".repeat(1234), "z".repeat(END));
    let want = format!("{}\n[... 1234 bytes left out ...]\n{}", "a".repeat(END), "z".repeat(END));
    assert_eq!(clipped(&text), want);
    assert_eq!(clip(text.as_bytes()).text(), want);
}

#[test]
fn pieces_make_the_same_as_the_whole() {
    let text: String = (0..9000).map(|n| format!("{n}€")).collect();
    for size in [1, 7, 4096, 100_000] {
        let mut pieces = Clip::default();
        text.as_bytes().chunks(size).for_each(|piece| pieces.push(piece));
        assert_eq!(pieces.text(), clip(text.as_bytes()).text(), "pieces of {size}");
        assert!(pieces.head.len() + pieces.tail.len() <= MOST);
    }
}

#[test]
fn no_character_is_broken_wherever_the_cut_falls() {
    for shift in 0..8 {
        let text = format!("{}{}", "a".repeat(shift), "𝄞".repeat(MOST));
        for cut in [clipped(&text).into_owned(), clip(text.as_bytes()).text()] {
            assert!(!cut.contains('\u{fffd}'), "shifted by {shift}");
            let (head, rest) = cut.split_once("\n[... ").unwrap();
            let (left_out, tail) = rest.split_once(" bytes left out ...]\n").unwrap();
            assert_eq!(head.len() + tail.len() + left_out.parse::<usize>().unwrap(), text.len());
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_kept_as_such() {
    let bytes = vec![0xff; MOST * 2];
    let text = clip(&bytes).text();
    assert!(text.starts_with('\u{fffd}') && text.contains("16000 bytes left out"), "{}", &text[..80]);
}

#[test]
fn both_streams_make_one_text() {
    let text = |out: &[u8], err: &[u8]| merged(&clip(out), &clip(err)).text();
    assert_eq!(text(b"out", b"err"), "out\nerr");
    assert_eq!(text(b"out\n", b"err\n"), "out\nerr\n");
    assert_eq!(text(b"", b"err"), "err");
    assert_eq!(text(b"out", b""), "out");
}

#[test]
fn both_streams_share_the_room_of_one() {
    let (out, err) = ("o".repeat(50_000), "e".repeat(70_000));
    let all = merged(&clip(out.as_bytes()), &clip(err.as_bytes())).text();
    let want = format!("{}\n[... 104001 bytes left out ...]\n{}", "o".repeat(END), "e".repeat(END));
    assert_eq!(all, want);
    let short = merged(&clip(b"start"), &clip(err.as_bytes())).text();
    assert!(short.starts_with("start\neee") && short.ends_with("eee"), "{}", &short[..20]);
    assert_eq!(short.len(), MOST + "\n[... 54006 bytes left out ...]\n".len());
}
