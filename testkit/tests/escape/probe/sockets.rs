//! Connections out of the sandbox. Who is reached greets with [`GREETING`].

use super::{Seen, outcome_of_io};
use std::{
    fs,
    io::{self, BufRead as _, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::{linux::net::SocketAddrExt as _, unix::net::UnixStream},
    time::Duration,
};

pub(crate) const GREETING: &[u8] = b"reached";
const PATIENCE: Duration = Duration::from_secs(8);

pub(super) fn connect_abstract(name: &str) -> Seen {
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).map_err(|e| e.to_string())?;
    Ok(outcome_of_io(UnixStream::connect_addr(&address)))
}

/// A socket in the file system: `closed` when whoever listens hangs up at once, `open` when it waits for what is said.
pub(super) fn connect_path(path: &str) -> Seen {
    let mut stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(e) => return Ok(outcome_of_io::<()>(Err(e))),
    };
    stream.set_read_timeout(Some(Duration::from_secs(1))).map_err(|e| e.to_string())?;
    match stream.read(&mut [0]) {
        Ok(0) => Ok("closed".to_owned()),
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok("closed".to_owned()),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok("open".to_owned()),
        other => Err(format!("{other:?}")),
    }
}

/// `reached`, `closed` by somebody who did not greet, or the error.
pub(super) fn connect(address: &str) -> Seen {
    let address: SocketAddr = address.parse().map_err(|e| format!("'{address}': {e}"))?;
    let mut stream = match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(stream) => stream,
        Err(e) => return Ok(outcome_of_io::<()>(Err(e))),
    };
    stream.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard) {
        _ if heard == GREETING => Ok("reached".to_owned()),
        Ok(_) if heard.is_empty() => Ok("closed".to_owned()),
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => Ok("closed".to_owned()),
        other => Err(format!("heard {heard:?}, {other:?}")),
    }
}

/// Finds the port of the listener that all connections are redirected to, tells the host and waits for its word, then
/// connects to that port directly.
pub(super) fn connect_redirect() -> Seen {
    let table = fs::read_to_string("/proc/net/tcp").map_err(|e| e.to_string())?;
    // Local address, remote address, state; 0A is LISTEN.
    let listening = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(1)?.rsplit_once(':')?.1;
        (*fields.get(3)? == "0A").then(|| u16::from_str_radix(port, 16).ok())?
    });
    let port = listening.into_iter().next().ok_or("nobody listens inside")?;
    let mut out = io::stdout();
    writeln!(out, "{port}").and_then(|()| out.flush()).map_err(|e| e.to_string())?;
    let mut go = String::new();
    io::stdin().lock().read_line(&mut go).map_err(|e| e.to_string())?;
    connect(&format!("127.0.0.1:{port}"))
}
