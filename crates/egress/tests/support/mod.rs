//! A sandbox in memory: its connections and datagrams are put in by the test.

use agentkernel_backend::{ByteStream, Datagram, Ends, Flow, Packet, Uplink};
use agentkernel_egress::{Connection, HostGateway, Limits, Observer, Request, Resolvers, Setup, Shortage};
use agentkernel_model::egress::{EgressRules, Otherwise};
use async_trait::async_trait;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex as StdMutex},
    time::Duration,
};
use tokio::{
    io::DuplexStream,
    sync::{Mutex, mpsc},
    time::timeout,
};

/// The gateway's end.
pub(crate) struct MemoryUplink {
    flows: Mutex<mpsc::Receiver<io::Result<Flow>>>,
    datagrams: Mutex<mpsc::Receiver<Datagram>>,
    replies: mpsc::Sender<(SocketAddr, Vec<u8>)>,
    packets: Mutex<mpsc::Receiver<Packet>>,
    rejected: mpsc::UnboundedSender<Ends>,
    most: usize,
}

/// The test's end. Dropping it is the end of the sandbox.
pub(crate) struct Inside {
    pub(crate) flows: mpsc::Sender<io::Result<Flow>>,
    pub(crate) datagrams: mpsc::Sender<Datagram>,
    pub(crate) replies: mpsc::Receiver<(SocketAddr, Vec<u8>)>,
    pub(crate) packets: mpsc::Sender<Packet>,
    pub(crate) rejected: mpsc::UnboundedReceiver<Ends>,
}

pub(crate) fn uplink() -> (Box<MemoryUplink>, Inside) {
    uplink_of(usize::MAX)
}

/// With room for `most` connections at once.
pub(crate) fn uplink_of(most: usize) -> (Box<MemoryUplink>, Inside) {
    // Flows wait for the gateway one at a time, as in a backlog of one, so that back-pressure is visible.
    let (flows, flows_out) = mpsc::channel(1);
    let (datagrams, datagrams_out) = mpsc::channel(64);
    let (replies, replies_out) = mpsc::channel(1024);
    let (packets, packets_out) = mpsc::channel(64);
    let (rejected, rejected_out) = mpsc::unbounded_channel();
    let uplink = MemoryUplink {
        flows: Mutex::new(flows_out),
        datagrams: Mutex::new(datagrams_out),
        replies,
        packets: Mutex::new(packets_out),
        rejected,
        most,
    };
    (Box::new(uplink), Inside { flows, datagrams, replies: replies_out, packets, rejected: rejected_out })
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the sandbox is gone")
}

#[async_trait]
impl Uplink for MemoryUplink {
    async fn accept(&self) -> io::Result<Flow> {
        self.flows.lock().await.recv().await.ok_or_else(gone)?
    }

    fn most_connections(&self) -> usize {
        self.most
    }

    async fn receive(&self) -> io::Result<Datagram> {
        self.datagrams.lock().await.recv().await.ok_or_else(gone)
    }

    async fn reply(&self, peer: SocketAddr, payload: &[u8]) -> io::Result<()> {
        self.replies.send((peer, payload.to_vec())).await.map_err(|_| gone())
    }

    async fn packet(&self) -> io::Result<Packet> {
        self.packets.lock().await.recv().await.ok_or_else(gone)
    }

    /// Answers are tried from inside real sandboxes.
    fn deliver(&self, _: Ends, _: &[u8]) {}

    fn reject(&self, ends: Ends) {
        let _closed = self.rejected.send(ends);
    }
}

impl Inside {
    /// Connects to `target`; returns once the gateway's backlog has room for it.
    pub(crate) async fn connect(&self, target: SocketAddr) -> DuplexStream {
        let (inside, outside) = tokio::io::duplex(16 * 1024);
        self.offer(target, Box::new(outside)).await;
        inside
    }

    pub(crate) async fn offer(&self, target: SocketAddr, io: Box<dyn ByteStream>) {
        self.flows.send(Ok(Flow { original_dst: target, io })).await.unwrap();
    }

    /// Sends a DNS datagram and waits for the answer.
    pub(crate) async fn ask(&mut self, payload: &[u8]) -> Vec<u8> {
        let peer = "127.0.0.1:4000".parse().unwrap();
        self.datagrams.send(Datagram { peer, payload: payload.to_vec() }).await.unwrap();
        let (to, answer) = soon(self.replies.recv()).await.unwrap();
        assert_eq!(to, peer);
        answer
    }
}

#[derive(Debug, Default)]
pub(crate) struct Recorder {
    connections: StdMutex<Vec<Connection>>,
    requests: StdMutex<Vec<Request>>,
    names: StdMutex<Vec<String>>,
    shortages: StdMutex<Vec<Shortage>>,
}

impl Recorder {
    pub(crate) fn all(&self) -> Vec<Connection> {
        self.connections.lock().unwrap().clone()
    }

    /// That were asked about outside.
    pub(crate) fn names(&self) -> Vec<String> {
        self.names.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn shortages(&self) -> Vec<Shortage> {
        self.shortages.lock().unwrap().clone()
    }
}

impl Observer for Recorder {
    fn connection(&self, connection: &Connection) {
        self.connections.lock().unwrap().push(connection.clone());
    }

    fn asked_name(&self, name: &str) {
        self.names.lock().unwrap().push(name.to_owned());
    }

    fn refused_name(&self, _name: &str, _rule: Option<&str>) {}

    fn request(&self, request: &Request) {
        self.requests.lock().unwrap().push(request.clone());
    }

    fn shortage(&self, shortage: Shortage) {
        self.shortages.lock().unwrap().push(shortage);
    }
}

pub(crate) struct Lab {
    pub(crate) gateway: Arc<HostGateway>,
    pub(crate) inside: Inside,
    pub(crate) seen: Arc<Recorder>,
}

impl Lab {
    pub(crate) fn new(
        rules: EgressRules,
        resolvers: Vec<SocketAddr>,
        change: impl FnOnce(&mut Limits),
    ) -> Self {
        let mut limits = Limits::of_process();
        // Whoever says nothing to a refused connection should not make a test wait.
        limits.last_words = Duration::from_millis(200);
        change(&mut limits);
        let seen = Arc::new(Recorder::default());
        let resolvers = Resolvers::new(resolvers).with_timeout(Duration::from_millis(300));
        let setup = Setup {
            rules,
            secrets: Vec::new(),
            resolvers,
            own_addresses: Vec::new(),
            roots: Vec::new(),
            observer: Some(seen.clone()),
        };
        let gateway = HostGateway::new(setup, limits).unwrap();
        let (uplink, inside) = uplink();
        agentkernel_backend::Gateway::serve(gateway.as_ref(), uplink);
        Self { gateway, inside, seen }
    }

    /// A gateway that lets the test's servers be reached.
    pub(crate) fn loopback() -> Self {
        Self::new(loopback(), Vec::new(), |_| {})
    }

    /// Ends the sandbox and the gateway, and returns what was observed.
    pub(crate) async fn end(self) -> Vec<Connection> {
        drop(self.inside);
        soon(self.gateway.finish()).await;
        self.seen.all()
    }
}

pub(crate) fn loopback() -> EgressRules {
    rules(&["allow 127.0.0.0/8", "allow ::1"], Otherwise::Deny)
}

pub(crate) fn rules(rules: &[&str], otherwise: Otherwise) -> EgressRules {
    EgressRules { rules: rules.iter().map(|text| text.parse().unwrap()).collect(), otherwise }
}

/// A test that hangs fails.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("nothing happened for 20 seconds")
}
