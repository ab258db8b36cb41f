//! Published ports: listeners on 127.0.0.1 whose connections go on inside the sandbox.

use agentkernel_backend::Sandbox;
use agentkernel_model::{Error, Kind, Result, port::PublishedPort};
use std::{
    io,
    net::{Ipv4Addr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// Connections of one port at once; the next ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 256;
/// How long accepting rests when this process is out of descriptors: the kernel tells nobody when one is free again.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(100);

/// Ports that are taken and not yet served.
#[derive(Debug)]
pub(crate) struct Listeners(Vec<(TcpListener, PublishedPort)>);

impl Listeners {
    /// Takes every port, or none. A host port of 0 becomes the one that the system chose.
    ///
    /// # Errors
    /// [`Kind::Conflict`] when a port is in use, [`Kind::Denied`] when this user may not have it.
    pub(crate) async fn bind(ports: &[PublishedPort]) -> Result<Self> {
        let mut taken = Vec::with_capacity(ports.len());
        for port in ports {
            let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port.host))
                .await
                .map_err(|e| cannot_bind(*port, e))?;
            let address = listener.local_addr().map_err(|e| cannot_bind(*port, e))?;
            taken.push((listener, PublishedPort { host: address.port(), guest: port.guest }));
        }
        Ok(Self(taken))
    }

    /// The ports as they are on this machine.
    pub(crate) fn ports(&self) -> Vec<PublishedPort> {
        self.0.iter().map(|(_, port)| *port).collect()
    }

    /// Serves them until the value that this returns is dropped.
    pub(crate) fn serve(self, sandbox: &Arc<dyn Sandbox>) -> JoinSet<()> {
        let mut ports = JoinSet::new();
        for (listener, port) in self.0 {
            ports.spawn(serve(listener, port.guest, Arc::clone(sandbox)));
        }
        ports
    }
}

fn cannot_bind(port: PublishedPort, error: io::Error) -> Error {
    let host = port.host;
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            Error::new(Kind::Conflict, format!("port {host} of this machine is in use")).with_hint(format!(
                "choose another one, such as --publish {}:{}",
                host.wrapping_add(1).max(1024),
                port.guest
            ))
        }
        io::ErrorKind::PermissionDenied => {
            Error::new(Kind::Denied, format!("this user may not listen on port {host}"))
                .with_hint(format!("choose a port above 1023, such as --publish 8080:{}", port.guest))
        }
        _ => Error::io(format!("cannot listen on port {host}"), error),
    }
}

async fn serve(listener: TcpListener, guest: u16, sandbox: Arc<dyn Sandbox>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(forward(stream, guest, Arc::clone(&sandbox)));
                }
                // A connection that was reset before it was taken is not worth a pause, but looks the same on some
                // systems as one that could not be taken at all.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => tokio::time::sleep(OUT_OF_DESCRIPTORS).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// One connection. What goes wrong ends it, which is all that its two sides can be told.
async fn forward(mut outside: TcpStream, guest: u16, sandbox: Arc<dyn Sandbox>) {
    let Ok(mut inside) = sandbox.forward(guest).await else { return };
    let _ended = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
}
