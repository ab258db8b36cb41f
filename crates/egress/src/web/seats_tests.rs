use super::*;

const HASTE: Timeouts = Timeouts {
    handshake: Duration::from_secs(1),
    head: Duration::from_secs(1),
    idle: Duration::from_secs(1),
    connect: Duration::from_millis(50),
};

#[tokio::test]
async fn without_a_seat_for_http2_a_client_that_can_speaks_http1() {
    let seats = Seats::new(HASTE);
    let mut held = Vec::new();
    for _ in 0..MOST_HTTP2 {
        let mut offer = vec![Protocol::Http2, Protocol::Http1];
        held.push(seats.among(&mut offer).await.unwrap().expect("a seat"));
        assert_eq!(offer, [Protocol::Http2, Protocol::Http1]);
    }
    let mut offer = vec![Protocol::Http2, Protocol::Http1];
    assert!(seats.among(&mut offer).await.unwrap().is_none());
    assert_eq!(offer, [Protocol::Http1]);
    let mut only = vec![Protocol::Http2];
    assert_eq!(seats.among(&mut only).await.err(), Some(io::ErrorKind::ResourceBusy));
    held.pop();
    assert!(seats.among(&mut only).await.unwrap().is_some());
}

#[tokio::test]
async fn who_is_read_waits_for_a_seat_and_not_for_ever() {
    let seats = Seats::new(HASTE);
    let mut held = Vec::new();
    for _ in 0..MOST_READ {
        held.push(seats.read().await.unwrap());
    }
    assert_eq!(seats.read().await.err(), Some(io::ErrorKind::ResourceBusy));
    // What the proxy carries must not wait for what carries it.
    assert!(seats.proxied().await.is_ok());
    let (waited, ()) = tokio::join!(seats.read(), async { drop(held.pop()) });
    assert!(waited.is_ok());
}
