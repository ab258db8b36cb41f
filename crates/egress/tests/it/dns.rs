//! DNS against real servers on loopback that lie, keep silent and truncate.

use crate::support::{Lab, soon};
use agentkernel_egress::Outcome;
use agentkernel_model::egress::EgressRules;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UdpSocket},
    task::JoinHandle,
};

/// A question for `www.example.org A` under id 0x1122.
fn question() -> Vec<u8> {
    let mut message = vec![0x11, 0x22, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    message.extend_from_slice(b"\x03www\x07example\x03org\x00\x00\x01\x00\x01");
    message
}

/// One A record for the question.
const RECORD: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 93, 184, 215, 14];

fn answer(question: &[u8]) -> Vec<u8> {
    let mut answer = [question, RECORD].concat();
    answer[2] |= 0x80;
    answer[7] = 1;
    answer
}

fn failing(question: &[u8], rcode: u8) -> Vec<u8> {
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    answer[3] = rcode;
    answer
}

fn rcode(answer: &[u8]) -> u8 {
    answer[3] & 0xf
}

/// A resolver that sends what `say` makes of each question. Returns its address.
async fn resolver(say: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            for reply in say(&buffer[..length]) {
                socket.send_to(&reply, peer).await.unwrap();
            }
        }
    });
    (address, task)
}

/// A resolver that truncates over UDP and says `say` over TCP on the same port.
async fn truncating(say: impl Fn(&[u8]) -> Vec<u8> + Send + 'static) -> SocketAddr {
    // A port that is free for both.
    let (listener, socket) = loop {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().unwrap()).await {
            break (listener, socket);
        }
    };
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 4096];
        loop {
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            let mut reply = failing(&buffer[..length], 0);
            reply[2] |= 2;
            socket.send_to(&reply, peer).await.unwrap();
        }
    });
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut question = vec![0; usize::from(stream.read_u16().await.unwrap())];
            stream.read_exact(&mut question).await.unwrap();
            let reply = say(&question);
            stream.write_u16(u16::try_from(reply.len()).unwrap()).await.unwrap();
            stream.write_all(&reply).await.unwrap();
        }
    });
    address
}

/// Any name may be asked about.
fn anything() -> EgressRules {
    EgressRules::default()
}

fn lab(resolvers: Vec<SocketAddr>) -> Lab {
    Lab::new(anything(), resolvers, |_| {})
}

#[tokio::test]
async fn an_honest_answer_comes_back_under_the_id_of_the_question() {
    let (server, _task) = resolver(|q| vec![answer(q)]).await;
    let mut lab = lab(vec![server]);
    assert_eq!(lab.inside.ask(&question()).await, answer(&question()));
}

#[tokio::test]
async fn ids_and_ports_towards_the_resolver_change() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut lab = lab(vec![socket.local_addr().unwrap()]);
    let mut seen = std::collections::HashSet::new();
    for _ in 0..8 {
        let server = async {
            let mut buffer = [0; 512];
            let (length, peer) = socket.recv_from(&mut buffer).await.unwrap();
            socket.send_to(&answer(&buffer[..length]), peer).await.unwrap();
            (peer.port(), u16::from_be_bytes([buffer[0], buffer[1]]))
        };
        let message = question();
        let (key, reply) = tokio::join!(server, lab.inside.ask(&message));
        assert_eq!(reply, answer(&question()));
        seen.insert(key);
    }
    assert_eq!(seen.len(), 8, "{seen:?}");
    let ids: std::collections::HashSet<u16> = seen.iter().map(|(_, id)| *id).collect();
    assert!(ids.len() >= 7, "eight random ids hardly ever collide twice: {ids:?}");
}

#[tokio::test]
async fn lies_are_ignored_and_the_truth_behind_them_is_taken() {
    let (server, _task) = resolver(|q| {
        let lie = |at: usize, flip: u8| {
            let mut reply = answer(q);
            reply[at] ^= flip;
            let last = reply.len() - 1;
            reply[last] = 66;
            reply
        };
        // Wrong id, wrong name, wrong type, a question sent back, noise, too long; then the truth.
        let name = lie(14, 0x01);
        vec![
            lie(0, 1),
            name,
            lie(30, 2),
            q.to_vec(),
            vec![0; 5],
            vec![],
            [answer(q), vec![7; 5000]].concat(),
            answer(q),
        ]
    })
    .await;
    let mut lab = lab(vec![server]);
    assert_eq!(lab.inside.ask(&question()).await, answer(&question()));
}

#[tokio::test]
async fn a_forger_who_is_not_the_resolver_is_not_heard() {
    let honest = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let forger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut lab = lab(vec![honest.local_addr().unwrap()]);
    let server = async {
        let mut buffer = [0; 512];
        let (length, peer) = honest.recv_from(&mut buffer).await.unwrap();
        // Knows port, id and question, and is still not the one who was asked.
        let mut forged = answer(&buffer[..length]);
        let last = forged.len() - 1;
        forged[last] = 66;
        forger.send_to(&forged, peer).await.unwrap();
        honest.send_to(&answer(&buffer[..length]), peer).await.unwrap();
    };
    let message = question();
    let ((), reply) = tokio::join!(server, lab.inside.ask(&message));
    assert_eq!(reply, answer(&question()));
}

#[tokio::test]
async fn only_lies_end_in_servfail_and_the_next_server_is_asked() {
    let wrong_id = |q: &[u8]| {
        let mut reply = answer(q);
        reply[0] ^= 1;
        vec![reply]
    };
    let (liar, _task) = resolver(wrong_id).await;
    let mut alone = lab(vec![liar]);
    assert_eq!(rcode(&alone.inside.ask(&question()).await), 2);
    let (honest, _task) = resolver(|q| vec![answer(q)]).await;
    let mut both = lab(vec![liar, honest]);
    assert_eq!(both.inside.ask(&question()).await, answer(&question()));
}

#[tokio::test]
async fn a_late_answer_is_too_late_and_does_not_answer_another_question() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut lab = lab(vec![socket.local_addr().unwrap()]);
    let server = async {
        let mut buffer = [0; 512];
        let (length, first) = socket.recv_from(&mut buffer).await.unwrap();
        let late = answer(&buffer[..length]);
        // The second attempt comes after the first has timed out, from another port.
        let (length, second) = socket.recv_from(&mut buffer).await.unwrap();
        assert_ne!(first, second);
        socket.send_to(&late, second).await.unwrap();
        let mut truth = answer(&buffer[..length]);
        truth[3] = 3;
        socket.send_to(&truth, second).await.unwrap();
    };
    let message = question();
    let ((), reply) = tokio::join!(server, lab.inside.ask(&message));
    assert_eq!(rcode(&reply), 3);
}

#[tokio::test]
async fn without_resolvers_and_with_dead_ones_servfail_comes_at_once() {
    let closed = UdpSocket::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for resolvers in [vec![], vec![closed]] {
        let mut lab = lab(resolvers);
        let start = Instant::now();
        let reply = lab.inside.ask(&question()).await;
        assert_eq!((rcode(&reply), &reply[..2]), (2, &[0x11, 0x22][..]));
        assert!(start.elapsed() < Duration::from_millis(250), "waited {:?}", start.elapsed());
    }
}

#[tokio::test]
async fn failures_of_one_resolver_lead_to_the_next_and_are_passed_on_in_the_end() {
    let (broken, _task) = resolver(|q| vec![failing(q, 5)]).await;
    let (honest, _task) = resolver(|q| vec![answer(q)]).await;
    let mut both = lab(vec![broken, honest]);
    assert_eq!(both.inside.ask(&question()).await, answer(&question()));
    let mut alone = lab(vec![broken]);
    assert_eq!(rcode(&alone.inside.ask(&question()).await), 5);
    let (nobody, _task) = resolver(|q| vec![failing(q, 3)]).await;
    let mut first = lab(vec![nobody, honest]);
    assert_eq!(rcode(&first.inside.ask(&question()).await), 3, "a name that does not exist is an answer");
}

#[tokio::test]
async fn truncated_answers_are_fetched_over_tcp() {
    let server = truncating(answer).await;
    let mut lab = lab(vec![server]);
    assert_eq!(lab.inside.ask(&question()).await, answer(&question()));
}

#[tokio::test]
async fn what_does_not_fit_a_datagram_is_truncated_and_whole_over_tcp() {
    fn large(question: &[u8]) -> Vec<u8> {
        let mut reply = answer(question);
        reply.resize(9000, 5);
        reply
    }
    let server = truncating(large).await;
    let mut lab = lab(vec![server]);
    let cut = lab.inside.ask(&question()).await;
    assert_eq!((cut.len(), cut[2] & 2), (question().len(), 2));

    // To whatever address: the gateway is the resolver.
    let mut stream = lab.inside.connect("8.8.8.8:53".parse().unwrap()).await;
    for _ in 0..2 {
        stream.write_u16(u16::try_from(question().len()).unwrap()).await.unwrap();
        stream.write_all(&question()).await.unwrap();
        let length = usize::from(soon(stream.read_u16()).await.unwrap());
        let mut whole = vec![0; length];
        soon(stream.read_exact(&mut whole)).await.unwrap();
        assert_eq!(whole, large(&question()));
    }
    drop(stream);
    let seen = lab.end().await;
    assert_eq!((seen[0].outcome, seen[0].received), (Outcome::Resolver, 18_000));
}

#[tokio::test]
async fn a_lie_over_tcp_leaves_the_truncated_answer_for_udp_and_servfail_for_tcp() {
    let server = truncating(|q| {
        let mut reply = answer(q);
        reply[1] ^= 1;
        reply
    })
    .await;
    let mut lab = lab(vec![server]);
    let cut = lab.inside.ask(&question()).await;
    assert_eq!((rcode(&cut), cut[2] & 2), (0, 2));
    let mut stream = lab.inside.connect("8.8.8.8:53".parse().unwrap()).await;
    let frame = [&[0, u8::try_from(question().len()).unwrap()][..], &question()].concat();
    stream.write_all(&frame).await.unwrap();
    let mut reply = vec![0; usize::from(soon(stream.read_u16()).await.unwrap())];
    stream.read_exact(&mut reply).await.unwrap();
    assert_eq!(rcode(&reply), 2);
}

#[tokio::test]
async fn a_length_that_no_question_has_closes_the_connection_at_once() {
    let lab = lab(Vec::new());
    let mut stream = lab.inside.connect("1.1.1.1:53".parse().unwrap()).await;
    stream.write_u16(4097).await.unwrap();
    // Sooner than the idle time, which is longer than the test waits.
    assert_eq!(soon(stream.read(&mut [0; 1])).await.unwrap(), 0);
}

#[tokio::test]
async fn nonsense_over_tcp_closes_the_connection() {
    let lab = Lab::new(EgressRules::default(), Vec::new(), |limits| {
        limits.dns_idle = Duration::from_millis(100);
    });
    // A message that does not end; a response; nothing at all.
    for bytes in [&[0, 99, 1, 2][..], &[0, 12, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]] {
        let mut stream = lab.inside.connect("1.1.1.1:53".parse().unwrap()).await;
        stream.write_all(bytes).await.unwrap();
        let mut nothing = Vec::new();
        soon(stream.read_to_end(&mut nothing)).await.unwrap();
        assert!(nothing.is_empty());
    }
}

#[tokio::test]
async fn malformed_datagrams_are_answered_with_formerr_or_not_at_all() {
    let (server, _task) = resolver(|_| panic!("nothing malformed is forwarded")).await;
    let mut lab = lab(vec![server]);
    let peer = "127.0.0.1:1".parse().unwrap();
    let mut response = question();
    response[2] |= 0x80;
    for silent in [vec![], vec![0; 11], response] {
        lab.inside.datagrams.send(agentkernel_backend::Datagram { peer, payload: silent }).await.unwrap();
    }
    let mut trailing = question();
    trailing.push(0);
    assert_eq!(rcode(&lab.inside.ask(&trailing).await), 1);
    assert!(lab.inside.replies.try_recv().is_err());
}

#[tokio::test]
async fn slow_questions_do_not_hold_up_others_until_all_places_are_taken() {
    // Silent for names that begin with 'x', prompt for others.
    let (server, _task) = resolver(|q| if q[13] == b'x' { vec![] } else { vec![answer(q)] }).await;
    let mut lab = Lab::new(anything(), vec![server], |limits| limits.queries = 4);
    let mut slow = question();
    slow[13] = b'x';
    let peer = "127.0.0.1:1".parse().unwrap();
    for _ in 0..3 {
        lab.inside
            .datagrams
            .send(agentkernel_backend::Datagram { peer, payload: slow.clone() })
            .await
            .unwrap();
    }
    let start = Instant::now();
    assert_eq!(lab.inside.ask(&question()).await, answer(&question()));
    assert!(start.elapsed() < Duration::from_millis(250), "waited {:?}", start.elapsed());
    lab.inside.datagrams.send(agentkernel_backend::Datagram { peer, payload: slow }).await.unwrap();
    let prompt = "127.0.0.1:2".parse().unwrap();
    lab.inside
        .datagrams
        .send(agentkernel_backend::Datagram { peer: prompt, payload: question() })
        .await
        .unwrap();
    // All four places are taken: the prompt one comes after the first slow one has failed, and comes.
    let first = soon(lab.inside.replies.recv()).await.unwrap();
    assert_eq!((first.0, rcode(&first.1)), (peer, 2));
    loop {
        let (to, reply) = soon(lab.inside.replies.recv()).await.unwrap();
        if to == prompt {
            assert_eq!(reply, answer(&question()));
            break;
        }
    }
}
