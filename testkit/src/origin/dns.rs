//! A DNS server that says what the test wants, and remembers what it was asked.

use agentkernel_model::{Error, Result};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    runtime::Handle,
    task::AbortHandle,
};

const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 77, 53);
const HEADER: usize = 12;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const NXDOMAIN: u16 = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// In lower case, without a dot at its end.
    pub name: String,
    /// The number of its type, such as 1 for A.
    pub kind: u16,
}

#[derive(Debug, Default)]
struct State {
    /// For each name the answers that are still to come; the last one stays.
    names: BTreeMap<String, Vec<Vec<IpAddr>>>,
    asked: Vec<Question>,
    time_to_live: u32,
}

/// A running server. Names that it does not know do not exist.
#[derive(Debug)]
pub struct Dns {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    tasks: [AbortHandle; 2],
}

impl Dns {
    /// On a port that UDP and TCP both have free.
    pub(super) fn start(handle: &Handle) -> Result<Self> {
        let _inside = handle.enter();
        let failed = |e| Error::io("cannot start the DNS of the test", e);
        let mut last = None;
        for _ in 0..20 {
            let listener = std::net::TcpListener::bind((HOST, 0)).map_err(failed)?;
            let address = listener.local_addr().map_err(failed)?;
            match std::net::UdpSocket::bind(address) {
                Ok(socket) => {
                    listener.set_nonblocking(true).map_err(failed)?;
                    socket.set_nonblocking(true).map_err(failed)?;
                    let listener = TcpListener::from_std(listener).map_err(failed)?;
                    let socket = UdpSocket::from_std(socket).map_err(failed)?;
                    let state = Arc::default();
                    let tasks = [
                        handle.spawn(datagrams(socket, Arc::clone(&state))).abort_handle(),
                        handle.spawn(streams(listener, Arc::clone(&state))).abort_handle(),
                    ];
                    return Ok(Self { address, state, tasks });
                }
                Err(e) => last = Some(e),
            }
        }
        Err(failed(last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into())))
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// `name` is at `addresses`.
    pub fn set(&self, name: &str, addresses: &[IpAddr]) {
        self.script(name, &[addresses]);
    }

    /// Questions for `name` get these answers one after another; the last one stays, and only questions for
    /// A move on. Answers may be kept for 0 seconds, unless [`Self::set_time_to_live`] says more.
    pub fn script(&self, name: &str, answers: &[&[IpAddr]]) {
        let answers = answers.iter().map(|addresses| addresses.to_vec()).collect();
        self.state().names.insert(name.to_ascii_lowercase(), answers);
    }

    /// How long answers may be kept from now on, in seconds.
    pub fn set_time_to_live(&self, seconds: u32) {
        self.state().time_to_live = seconds;
    }

    /// Every question so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Question> {
        self.state().asked.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn datagrams(socket: UdpSocket, state: Arc<Mutex<State>>) {
    let mut buffer = [0; 4096];
    while let Ok((count, peer)) = socket.recv_from(&mut buffer).await {
        if let Some(answer) = answer(&buffer[..count], &state) {
            // Who asked may have gone.
            let _sent = socket.send_to(&answer, peer).await;
        }
    }
}

async fn streams(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(stream_of(stream, Arc::clone(&state)));
    }
}

/// `None` is the end, whoever wanted it.
async fn stream_of(mut stream: TcpStream, state: Arc<Mutex<State>>) -> Option<()> {
    loop {
        let length = stream.read_u16().await.ok()?;
        let mut question = vec![0; length.into()];
        stream.read_exact(&mut question).await.ok()?;
        let answer = answer(&question, &state)?;
        stream.write_u16(u16::try_from(answer.len()).ok()?).await.ok()?;
        stream.write_all(&answer).await.ok()?;
    }
}

/// `None` for what is no question.
fn answer(message: &[u8], state: &Mutex<State>) -> Option<Vec<u8>> {
    let (question, end) = question(message)?;
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.asked.push(question.clone());
    let time_to_live = state.time_to_live;
    let known = state.names.get_mut(&question.name);
    let is_known = known.is_some();
    let addresses = match known {
        Some(answers) if question.kind == TYPE_A && answers.len() > 1 => answers.remove(0),
        Some(answers) => answers.first().cloned().unwrap_or_default(),
        None => Vec::new(),
    };
    let records: Vec<Vec<u8>> =
        addresses.iter().filter_map(|ip| record(*ip, question.kind, time_to_live)).collect();
    let mut out = message.get(..2)?.to_vec();
    let code = if is_known { 0 } else { NXDOMAIN };
    // An answer, recursion wanted and to be had.
    out.extend((0x8180 | code).to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(u16::try_from(records.len()).ok()?.to_be_bytes());
    out.extend([0; 4]);
    out.extend(message.get(HEADER..end)?);
    records.iter().for_each(|record| out.extend(record));
    Some(out)
}

fn record(ip: IpAddr, kind: u16, time_to_live: u32) -> Option<Vec<u8>> {
    let data = match ip {
        IpAddr::V4(ip) if kind == TYPE_A => ip.octets().to_vec(),
        IpAddr::V6(ip) if kind == TYPE_AAAA => ip.octets().to_vec(),
        _ => return None,
    };
    // Its name is that of the question.
    let mut out = vec![0xc0, 0x0c];
    out.extend(kind.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(time_to_live.to_be_bytes());
    out.extend(u16::try_from(data.len()).ok()?.to_be_bytes());
    out.extend(data);
    Some(out)
}

/// The first question, and where it ends.
fn question(message: &[u8]) -> Option<(Question, usize)> {
    let (mut at, mut labels) = (HEADER, Vec::new());
    loop {
        let length = usize::from(*message.get(at)?);
        at += 1;
        match length {
            0 => break,
            1..=63 => {
                labels.push(String::from_utf8_lossy(message.get(at..at + length)?).to_ascii_lowercase())
            }
            _ => return None,
        }
        at += length;
    }
    let kind = u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?);
    Some((Question { name: labels.join("."), kind }, at + 4))
}
