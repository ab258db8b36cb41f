//! The client. Times are nanoseconds.
//!
//! | line | answer |
//! |---|---|
//! | `resolve NAME` | the addresses |
//! | `echo ADDRESS COUNT` | the time of each connection until its first byte is back |
//! | `clear ADDRESS BYTES` | the time from the request to the last of so many bytes |
//! | `tls ADDRESS BYTES` | the same over TLS that is there |
//! | `hold-echo ADDRESS COUNT`, `hold-tls ADDRESS COUNT` | how many connections answered, and stay |
//! | `drop` | how many ended |

use crate::{NAME, Outcome};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    io::{self, BufRead as _, Read, Write},
    net::{TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::Instant,
};

/// The longest head of an answer that is expected, in bytes.
const HEAD: usize = 16 * 1024;
const CHUNK: usize = 256 * 1024;

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connections that are open.
#[derive(Default)]
struct Held {
    clear: Vec<TcpStream>,
    tls: Vec<Tls>,
}

pub(crate) fn ask() -> Outcome<()> {
    let mut held = Held::default();
    let mut out = io::stdout();
    for line in io::stdin().lock().lines() {
        let line = line?;
        let answer = one(&line, &mut held).map_err(|e| format!("{line}: {e}"))?;
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

fn one(line: &str, held: &mut Held) -> Outcome<String> {
    let words: Vec<&str> = line.split_whitespace().collect();
    Ok(match words.as_slice() {
        ["resolve", name] => {
            let found = (*name, 443).to_socket_addrs()?.map(|address| address.ip().to_string());
            found.collect::<Vec<_>>().join(" ")
        }
        ["echo", address, count] => {
            let times = (0..count.parse()?).map(|_| {
                let begun = Instant::now();
                echo(address)?;
                Ok(begun.elapsed().as_nanos().to_string())
            });
            times.collect::<io::Result<Vec<_>>>()?.join(" ")
        }
        ["clear", address, bytes] => fetch(&mut connect(address)?, bytes.parse()?)?,
        ["tls", address, bytes] => fetch(&mut secure(address, &config()?)?, bytes.parse()?)?,
        ["hold-echo", address, count] => {
            for _ in 0..count.parse()? {
                held.clear.push(echo(address)?);
            }
            held.clear.len().to_string()
        }
        ["hold-tls", address, count] => {
            let config = config()?;
            for _ in 0..count.parse()? {
                let mut stream = secure(address, &config)?;
                greet(&mut stream)?;
                held.tls.push(stream);
            }
            held.tls.len().to_string()
        }
        ["drop"] => {
            let count = held.clear.len() + held.tls.len();
            *held = Held::default();
            count.to_string()
        }
        _ => return Err("not a thing to do".into()),
    })
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn echo(address: &str) -> io::Result<TcpStream> {
    let mut stream = connect(address)?;
    stream.write_all(b"x")?;
    stream.read_exact(&mut [0])?;
    Ok(stream)
}

/// Believes whom the environment says, as clients do.
fn config() -> Outcome<Arc<ClientConfig>> {
    let bundle = std::env::var_os("SSL_CERT_FILE").ok_or("SSL_CERT_FILE is not set")?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(bundle)? {
        // A bundle of this machine may hold some that rustls does not understand.
        let _added = roots.add(certificate?);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn secure(address: &str, config: &Arc<ClientConfig>) -> Outcome<Tls> {
    let session = ClientConnection::new(Arc::clone(config), ServerName::try_from(NAME)?)?;
    let mut stream = StreamOwned::new(session, connect(address)?);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// How long one body of so many bytes takes, on a connection that ends with it. Where a gateway looks for secrets it does not
/// know the length before, and the body comes in chunks: their frames are not taken out here.
fn fetch(stream: &mut (impl Read + Write), bytes: u64) -> Outcome<String> {
    let begun = Instant::now();
    let (mut buffer, got, head) = begin(stream, bytes, "close")?;
    let is_chunked = String::from_utf8_lossy(&buffer[..head]).to_ascii_lowercase().contains("chunked");
    let mut body = (got - head) as u64;
    let mut end = *buffer[..got].last_chunk::<5>().unwrap_or(&[0; 5]);
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        body += count as u64;
        for byte in &buffer[count.saturating_sub(end.len())..count] {
            end.rotate_left(1);
            end[4] = *byte;
        }
    }
    let is_whole = if is_chunked { body > bytes && &end == b"0\r\n\r\n" } else { body == bytes };
    if !is_whole {
        return Err(format!("{body} bytes came").into());
    }
    Ok(begun.elapsed().as_nanos().to_string())
}

/// A small answer, after which the connection stays.
fn greet(stream: &mut (impl Read + Write)) -> Outcome<()> {
    let (mut buffer, got, head) = begin(stream, 1, "keep-alive")?;
    if got == head {
        stream.read_exact(&mut buffer[..1])?;
    }
    Ok(())
}

/// Asks, and reads to the end of the head or further: the buffer, how much is in it, and how much of that is the head.
fn begin(stream: &mut (impl Read + Write), bytes: u64, connection: &str) -> Outcome<(Vec<u8>, usize, usize)> {
    write!(stream, "GET /bytes/{bytes} HTTP/1.1\r\nHost: {NAME}\r\nConnection: {connection}\r\n\r\n")?;
    stream.flush()?;
    let (mut buffer, mut got) = (vec![0; CHUNK], 0);
    let head = loop {
        let count = stream.read(&mut buffer[got..HEAD])?;
        got += count;
        if let Some(at) = buffer[..got].windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if count == 0 || got == HEAD {
            return Err("no answer".into());
        }
    };
    if !buffer.starts_with(b"HTTP/1.1 200 ") {
        return Err(String::from_utf8_lossy(&buffer[..got]).into());
    }
    Ok((buffer, got, head))
}
