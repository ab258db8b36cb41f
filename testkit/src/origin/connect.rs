//! A proxy of the test's own, as companies have them: it takes CONNECT, may want to know who asks, and remembers it.

use agentkernel_model::{Error, Result};
use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    runtime::Handle,
    task::AbortHandle,
};

/// The longest head of a request.
const LONGEST: usize = 16 << 10;

/// One request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Method and target, such as `CONNECT registry.test:443`.
    pub line: String,
    pub authorization: Option<String>,
    /// What it was answered.
    pub status: u16,
}

#[derive(Debug)]
struct State {
    routes: BTreeMap<String, SocketAddr>,
    wanted: Option<String>,
    asked: Mutex<Vec<Asked>>,
}

/// A running proxy. Dropping it ends it; tunnels end with their two ends.
#[derive(Debug)]
pub struct ConnectProxy {
    address: SocketAddr,
    state: Arc<State>,
    task: AbortHandle,
}

impl ConnectProxy {
    pub(super) fn start(
        handle: &Handle,
        listener: TcpListener,
        routes: &[(&str, SocketAddr)],
        wanted: Option<&str>,
    ) -> Result<Self> {
        let address = listener.local_addr().map_err(|e| Error::io("a listener has no address", e))?;
        let state = Arc::new(State {
            routes: routes.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect(),
            wanted: wanted.map(str::to_owned),
            asked: Mutex::default(),
        });
        let task = handle.spawn(accept(listener, Arc::clone(&state))).abort_handle();
        Ok(Self { address, state, task })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ConnectProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    while let Ok((stream, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        // A tunnel that breaks is its ends' affair.
        tokio::spawn(async move { drop(tunnel(stream, &state).await) });
    }
}

async fn tunnel(mut client: TcpStream, state: &State) -> io::Result<()> {
    let head = head(&mut client).await?;
    let mut lines = head.lines();
    let line = lines.next().and_then(|line| line.rsplit_once(' ')).map_or("", |(line, _)| line).to_owned();
    let authorization = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("proxy-authorization").then(|| value.trim().to_owned())
    });
    let route = line.strip_prefix("CONNECT ").and_then(|target| state.routes.get(target));
    let (status, answer) = if state.wanted.is_some() && state.wanted != authorization {
        (407, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n")
    } else if route.is_some() {
        (200, "HTTP/1.1 200 Connection established\r\n\r\n")
    } else {
        (502, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
    };
    state.asked.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { line, authorization, status });
    let server = match route.filter(|_| status == 200) {
        Some(route) => Some(TcpStream::connect(route).await?),
        None => None,
    };
    client.write_all(answer.as_bytes()).await?;
    if let Some(mut server) = server {
        copy_bidirectional(&mut client, &mut server).await?;
    }
    Ok(())
}

/// Everything up to an empty line. A client says nothing more before it is answered.
async fn head(client: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > LONGEST || client.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}
