//! A listener that nothing should reach: it records whatever arrives, and answers nothing.

use agentkernel_model::{Error, Result};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, UdpSocket},
    runtime::Handle,
    task::AbortHandle,
};

/// The most of one connection that is kept.
const KEPT: usize = 1 << 20;

/// Takes TCP and UDP at one address.
#[derive(Debug)]
pub struct Trap {
    address: SocketAddr,
    caught: Arc<Mutex<Vec<Vec<u8>>>>,
    tasks: [AbortHandle; 2],
}

impl Trap {
    pub(super) fn start(handle: &Handle, listener: TcpListener) -> Result<Self> {
        let _inside = handle.enter();
        let address = listener.local_addr().map_err(|e| Error::io("a listener has no address", e))?;
        let socket = std::net::UdpSocket::bind(address)
            .and_then(|socket| socket.set_nonblocking(true).map(|()| socket))
            .and_then(UdpSocket::from_std)
            .map_err(|e| Error::io(format!("cannot listen on UDP {address}"), e))?;
        let caught = Arc::default();
        let streams = handle.spawn(streams(listener, Arc::clone(&caught))).abort_handle();
        let datagrams = handle.spawn(datagrams(socket, Arc::clone(&caught))).abort_handle();
        Ok(Self { address, caught, tasks: [streams, datagrams] })
    }

    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What each connection and each datagram said so far.
    #[must_use]
    pub fn caught(&self) -> Vec<Vec<u8>> {
        self.caught.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.caught().is_empty()
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

type Caught = Arc<Mutex<Vec<Vec<u8>>>>;

async fn streams(listener: TcpListener, caught: Caught) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let caught = Arc::clone(&caught);
        let place = {
            let mut all = caught.lock().unwrap_or_else(PoisonError::into_inner);
            all.push(Vec::new());
            all.len() - 1
        };
        tokio::spawn(async move {
            let mut buffer = [0; 8192];
            while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                let mut all = caught.lock().unwrap_or_else(PoisonError::into_inner);
                if all[place].len() < KEPT {
                    all[place].extend_from_slice(&buffer[..count]);
                }
            }
        });
    }
}

async fn datagrams(socket: UdpSocket, caught: Caught) {
    let mut buffer = [0; 8192];
    while let Ok((count, _)) = socket.recv_from(&mut buffer).await {
        caught.lock().unwrap_or_else(PoisonError::into_inner).push(buffer[..count].to_vec());
    }
}
