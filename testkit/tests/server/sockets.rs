//! Commands over a WebSocket (RFC 6455): what a client that misbehaves, and a server that ends, do to them.

use super::{
    http::Wire,
    world::{DRAIN, Server, eventually, is_running, long},
};
use agentkernel_testkit::TestEnv;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::{
    io::{Read as _, Write as _},
    time::Instant,
};

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;

/// A client of one command.
struct Socket(Box<dyn Wire>);

impl Socket {
    /// Connects, and says what is wanted.
    fn open(server: &Server, opening: &Value) -> Self {
        let call = server
            .call("GET", "/sandboxes/box/exec/ws")
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        let mut wire = server.address.connect().unwrap();
        wire.write_all(&call.bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            wire.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
        let mut socket = Self(wire);
        socket.say(opening);
        assert_eq!(socket.word()["type"], "started");
        socket
    }

    fn say(&mut self, word: &Value) {
        self.send(TEXT, word.to_string().as_bytes());
    }

    /// One frame, with a mask of zeros.
    fn send(&mut self, kind: u8, bytes: &[u8]) {
        let mut frame = vec![0x80 | kind, 0x80 | 127];
        frame.extend((bytes.len() as u64).to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(bytes);
        self.0.write_all(&frame).unwrap();
    }

    /// The next message, of whatever kind.
    fn receive(&mut self) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).unwrap();
                usize::from(u16::from_be_bytes(length))
            }
            short => usize::from(short),
        };
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).unwrap();
        (head[0] & 0x0f, bytes)
    }

    #[track_caller]
    fn word(&mut self) -> Value {
        loop {
            match self.receive() {
                (TEXT, text) => return serde_json::from_slice(&text).unwrap(),
                (CLOSE, code) => panic!("closed with {code:?}"),
                _ => {}
            }
        }
    }

    #[track_caller]
    fn closed(&mut self) -> u16 {
        loop {
            if let (CLOSE, bytes) = self.receive() {
                return u16::from_be_bytes([bytes[0], bytes[1]]);
            }
        }
    }
}

#[test]
fn a_signal_arrives_where_nobody_reads_the_input() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    let long = long();
    let mut socket = Socket::open(&server, &json!({"command": ["sleep", &long], "tty": false}));
    eventually("it sleeps", || is_running(&long));
    // More than a pipe holds.
    socket.send(BINARY, &[b'x'; 1 << 20]);
    socket.say(&json!({"type": "signal", "signal": "TERM"}));
    let exit = socket.word();
    assert_eq!((&exit["type"], &exit["signal"]), (&json!("exit"), &json!(15)), "{exit}");
    assert_eq!(socket.closed(), 1000);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn all_that_is_sent_arrives_in_order_and_then_its_end() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    let mut socket = Socket::open(&server, &json!({"command": ["sha256sum"], "tty": false}));
    for _ in 0..8 {
        socket.send(BINARY, &[b'a'; 1 << 19]);
        socket.send(BINARY, &[b'b'; 1 << 19]);
    }
    socket.say(&json!({"type": "eof"}));
    let (kind, bytes) = socket.receive();
    let told = String::from_utf8(bytes[1..].to_vec()).unwrap();
    let script = "i=0; while [ $i -lt 8 ]; do head -c 524288 /dev/zero | tr '\\0' a; \
                  head -c 524288 /dev/zero | tr '\\0' b; i=$((i+1)); done | sha256sum";
    let wanted = server.run(&["sh", "-c", script]).data(200);
    assert_eq!((kind, bytes[0], json!(told)), (BINARY, 1, wanted["stdout"].clone()));
    assert_eq!(socket.word()["exit_code"], 0);
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn a_server_that_ends_lets_a_command_finish_and_ends_a_shell() {
    let env = TestEnv::new();
    let server = Server::start(&env, &[]);
    server.create("box");
    let script = json!({"command": ["sh", "-c", "read word; echo $word"], "tty": false});
    let mut command = Socket::open(&server, &script);
    let mut shell = Socket::open(&server, &json!({}));
    let began = Instant::now();
    server.signal(Signal::TERM);
    let told = shell.word();
    assert_eq!((&told["type"], &told["kind"]), (&json!("error"), &json!("cancelled")), "{told}");
    assert_eq!(shell.closed(), 1001);
    eventually("nobody listens", || server.address.connect().is_err());
    command.send(BINARY, b"last\n");
    assert_eq!(command.receive(), (BINARY, b"\x01last\n".to_vec()));
    assert_eq!(command.word()["exit_code"], 0);
    drop((command, shell));
    server.finish().ok();
    assert!(began.elapsed() < DRAIN, "it took {:?}", began.elapsed());
    env.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    env.assert_nothing_left();
}
