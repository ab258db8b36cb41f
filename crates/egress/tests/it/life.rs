//! What ends when.

use crate::support::{Lab, loopback, soon, uplink_of};
use agentkernel_backend::Gateway as _;
use agentkernel_egress::{HostGateway, Limits, Outcome, Setup, Shortage};
use agentkernel_model::egress::EgressRules;
use std::{io, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

#[tokio::test]
async fn dropping_the_gateway_closes_every_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab::loopback();
    let mut client = lab.inside.connect(listener.local_addr().unwrap()).await;
    let (mut peer, _) = soon(listener.accept()).await.unwrap();
    client.write_all(b"hello").await.unwrap();
    let mut hello = [0; 5];
    soon(peer.read_exact(&mut hello)).await.unwrap();
    drop(lab.gateway);
    assert_eq!(soon(peer.read(&mut hello)).await.unwrap(), 0);
    assert_eq!(soon(client.read(&mut hello)).await.unwrap(), 0);
    let seen = lab.seen.all();
    assert_eq!((seen[0].outcome, seen[0].sent), (Outcome::Cut, 5), "a connection that was cut is told too");
}

#[tokio::test]
async fn last_bytes_are_delivered_after_the_sandbox_has_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab::loopback();
    let mut client = lab.inside.connect(listener.local_addr().unwrap()).await;
    let (mut peer, _) = soon(listener.accept()).await.unwrap();
    client.write_all(&[9; 10_000]).await.unwrap();
    drop(client);
    let received = tokio::spawn(async move {
        let mut all = Vec::new();
        peer.read_to_end(&mut all).await.unwrap();
        all.len()
    });
    lab.end().await;
    assert_eq!(soon(received).await.unwrap(), 10_000);
}

#[tokio::test]
async fn finishing_delivers_and_lets_go_of_an_uplink_that_does_not_end_by_itself() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab::loopback();
    let mut client = lab.inside.connect(listener.local_addr().unwrap()).await;
    let (mut peer, _) = soon(listener.accept()).await.unwrap();
    client.write_all(&[9; 10_000]).await.unwrap();
    drop(client);
    let start = std::time::Instant::now();
    let finish = async {
        lab.gateway.finish().await;
        assert!(lab.inside.flows.is_closed(), "the uplink is let go");
        // The peer is still open, and there is nobody for it to talk to.
        assert!(start.elapsed() < Duration::from_secs(1), "waited {:?}", start.elapsed());
    };
    let mut all = Vec::new();
    let (read, ()) = soon(async { tokio::join!(peer.read_to_end(&mut all), finish) }).await;
    assert_eq!(read.unwrap(), 10_000);
    let (uplink, late) = crate::support::uplink();
    lab.gateway.serve(uplink);
    soon(late.flows.closed()).await;
}

#[tokio::test]
async fn a_connection_that_does_not_end_is_cut_after_the_sandbox() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab::new(loopback(), Vec::new(), |limits| limits.drain = Duration::from_millis(50));
    let client = lab.inside.connect(listener.local_addr().unwrap()).await;
    let _peer = soon(listener.accept()).await.unwrap();
    assert_eq!(lab.end().await[0].outcome, Outcome::Cut);
    drop(client);
}

#[tokio::test]
async fn a_shortage_of_descriptors_and_lost_connections_pass() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab::loopback();
    for code in [24, 24, 103, 104, 71] {
        lab.inside.flows.send(Err(io::Error::from_raw_os_error(code))).await.unwrap();
    }
    let _client = lab.inside.connect(listener.local_addr().unwrap()).await;
    soon(listener.accept()).await.unwrap();
    assert_eq!(
        lab.seen.shortages(),
        [Shortage::Descriptors],
        "it is told once, and lost connections are none"
    );
}

#[tokio::test]
async fn a_sandbox_that_has_all_its_connections_is_told_about_and_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab::new(loopback(), Vec::new(), |limits| limits.flows = 2);
    let first = lab.inside.connect(listener.local_addr().unwrap()).await;
    let (outside, _) = soon(listener.accept()).await.unwrap();
    assert!(lab.seen.shortages().is_empty(), "there is one left");
    let _second = lab.inside.connect(listener.local_addr().unwrap()).await;
    soon(listener.accept()).await.unwrap();
    assert_eq!(lab.seen.shortages(), [Shortage::Connections(2)]);
    let _third = lab.inside.connect(listener.local_addr().unwrap()).await;
    drop((first, outside));
    soon(listener.accept()).await.unwrap();
    assert_eq!(lab.seen.shortages().len(), 1, "it is told once in a while");
}

#[tokio::test]
async fn a_way_with_fewer_places_is_told_about_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lab = Lab::loopback();
    let (uplink, inside) = uplink_of(1);
    lab.gateway.serve(uplink);
    let _only = inside.connect(listener.local_addr().unwrap()).await;
    soon(listener.accept()).await.unwrap();
    assert_eq!(lab.seen.shortages(), [Shortage::Connections(1)]);
}

#[tokio::test]
async fn any_other_error_is_the_end_of_the_uplink() {
    let lab = Lab::loopback();
    lab.inside.flows.send(Err(io::Error::from_raw_os_error(5))).await.unwrap();
    soon(lab.inside.flows.closed()).await;
}

#[tokio::test]
async fn one_gateway_serves_many_uplinks_each_with_its_own_limits() {
    let lab = Lab::new(loopback(), Vec::new(), |limits| limits.flows = 1);
    let (uplink, second) = crate::support::uplink();
    lab.gateway.serve(uplink);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let _first = lab.inside.connect(listener.local_addr().unwrap()).await;
    soon(listener.accept()).await.unwrap();
    let _second = second.connect(listener.local_addr().unwrap()).await;
    soon(listener.accept()).await.unwrap();
}

#[tokio::test]
async fn the_gateway_of_this_machine_refuses_this_machine() {
    let gateway = {
        let setup = Setup::of_host(EgressRules::default(), "nameserver 127.0.0.53\n").unwrap();
        HostGateway::new(setup, Limits::of_process()).unwrap()
    };
    let (uplink, inside) = crate::support::uplink();
    gateway.serve(uplink);
    for ip in agentkernel_egress::own_addresses().unwrap() {
        let listener = TcpListener::bind((ip, 0)).await;
        // Link-local addresses need their interface to be listened on; they are refused all the same.
        let port = listener.as_ref().map_or(80, |l| l.local_addr().unwrap().port());
        let mut client = inside.connect((ip, port).into()).await;
        let mut nothing = Vec::new();
        soon(client.read_to_end(&mut nothing)).await.unwrap();
        if let Ok(listener) = listener {
            let reached = tokio::time::timeout(Duration::from_millis(20), listener.accept()).await;
            assert!(reached.is_err(), "{ip} was reached");
        }
    }
}
