use super::*;
use std::net::{TcpListener, TcpStream};

fn connected(address: &str) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind(address).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    (client, server)
}

#[test]
fn the_kernel_says_whose_a_connection_is() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let (_client, server) = connected(address);
        let peer = Peer::of(server.peer_addr().unwrap(), server.local_addr().unwrap());
        assert_eq!(peer, Peer::Own, "{address}");
    }
}

#[test]
fn a_connection_that_is_gone_is_nobodys() {
    let (client, server) = connected("127.0.0.1:0");
    let (theirs, ours) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
    // Its own socket is there for a while, and the kernel says that it is root's.
    drop(client);
    assert_eq!(Peer::of(theirs, ours), Peer::Unknown);
    drop(server);
    assert_eq!(Peer::of(theirs, ours), Peer::Unknown);
    let port = SocketAddr::new(theirs.ip(), 1);
    assert_eq!(Peer::of(port, ours), Peer::Unknown);
}

#[test]
fn another_machine_is_remote() {
    let (theirs, ours) = ("192.0.2.7:4000".parse().unwrap(), "192.0.2.1:80".parse().unwrap());
    assert_eq!(Peer::of(theirs, ours), Peer::Remote);
}

#[test]
fn an_answer_that_is_none_has_no_owner() {
    assert_eq!(uid(&[]), None);
    assert_eq!(uid(&[0; 120]), None);
}
