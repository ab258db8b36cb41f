use super::*;

async fn lines(bytes: &[u8], limit: usize) -> Vec<String> {
    let mut input =
        Input { reader: BufReader::with_capacity(7, bytes), line: Vec::new(), limit, overlong: false };
    let mut lines = Vec::new();
    loop {
        lines.push(match input.next().await.unwrap() {
            Read::Line(line) => String::from_utf8(line).unwrap(),
            Read::TooLong => "too long".to_owned(),
            Read::End => return lines,
        });
        assert!(input.line.capacity() <= limit.next_power_of_two().max(64), "{}", input.line.capacity());
    }
}

#[tokio::test]
async fn lines_are_bounded_and_the_next_is_read() {
    assert_eq!(lines(b"one\n\ntwo\nrest", 20).await, ["one", "", "two"]);
    assert_eq!(lines(b"twelve bytes\nnext\n", 12).await, ["twelve bytes", "next"]);
    assert_eq!(lines(b"thirteen byte\nnext\n", 12).await, ["too long", "next"]);
    let long = [vec![b'x'; 100_000], b"\nnext\n".to_vec()].concat();
    assert_eq!(lines(&long, 12).await, ["too long", "next"]);
}
