//! A client of HTTP/1.1, no more than the benchmark needs: one connection, one request after the other (RFC 9112).

use serde_json::Value;
use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Nothing that is asked for takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// Where the server is, and what it wants to see.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) at: SocketAddr,
    pub(super) key: String,
}

/// One connection, which is kept.
#[derive(Debug)]
pub(super) struct Client {
    to: TcpStream,
    from: BufReader<TcpStream>,
    key: String,
}

/// What comes behind the head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Bytes(u64),
    Chunks,
}

impl Client {
    pub(super) fn connect(address: &Address) -> io::Result<Self> {
        let to = TcpStream::connect(address.at)?;
        to.set_nodelay(true)?;
        to.set_read_timeout(Some(LIMIT))?;
        Ok(Self { from: BufReader::new(to.try_clone()?), to, key: address.key.clone() })
    }

    /// The answer to a request, when it is a success.
    pub(super) fn call(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<u8>, String> {
        let asked = self.ask(method, path, body).and_then(|(status, rest)| {
            let mut answer = Vec::new();
            match rest {
                Rest::Bytes(length) => {
                    (&mut self.from).take(length).read_to_end(&mut answer)?;
                }
                Rest::Chunks => while self.chunk(&mut answer)? {},
            }
            Ok((status, answer))
        });
        let (status, answer) = asked.map_err(|error| format!("{method} {path}: {error}"))?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(format!("{method} {path}: {status} {}", String::from_utf8_lossy(&answer)))
    }

    /// Asks for a stream of events, of which [`Client::piece`] has the next.
    pub(super) fn open(&mut self, method: &str, path: &str, body: Option<&Value>) -> Result<(), String> {
        match self.ask(method, path, body) {
            Ok((200, Rest::Chunks)) => Ok(()),
            Ok((status, _)) => Err(format!("{method} {path}: {status}, which is no stream")),
            Err(error) => Err(format!("{method} {path}: {error}")),
        }
    }

    /// The next piece of a stream, as it was sent; `None` at its end.
    pub(super) fn piece(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        match self.chunk(&mut bytes) {
            Ok(true) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
            Ok(false) => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }

    fn ask(&mut self, method: &str, path: &str, body: Option<&Value>) -> io::Result<(u16, Rest)> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let key = &self.key;
        let mut request =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n");
        if !body.is_empty() {
            request.push_str("Content-Type: application/json\r\n");
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.to.write_all(request.as_bytes())?;
        self.head()
    }

    fn head(&mut self) -> io::Result<(u16, Rest)> {
        let status = self.line()?;
        let status = status.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(strange)?;
        let mut rest = Rest::Bytes(0);
        loop {
            let line = self.line()?.to_ascii_lowercase();
            match line.split_once(':').map(|(name, value)| (name, value.trim())) {
                None if line.is_empty() => return Ok((status, rest)),
                None => return Err(strange()),
                Some(("content-length", length)) => {
                    rest = Rest::Bytes(length.parse().map_err(|_| strange())?)
                }
                Some(("transfer-encoding", "chunked")) => rest = Rest::Chunks,
                Some(_) => {}
            }
        }
    }

    /// Appends the next chunk; `false` for the last one.
    fn chunk(&mut self, to: &mut Vec<u8>) -> io::Result<bool> {
        let length = u64::from_str_radix(&self.line()?, 16).map_err(|_| strange())?;
        (&mut self.from).take(length).read_to_end(to)?;
        self.line()?;
        Ok(length > 0)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

fn strange() -> io::Error {
    io::Error::other("the server does not speak HTTP/1.1 as expected")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A connection to a server that says `answer`, and the server's end of it.
    fn said(answer: &'static str) -> (Client, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address { at: listener.local_addr().unwrap(), key: "k".to_owned() };
        let client = Client::connect(&address).unwrap();
        let (mut theirs, _) = listener.accept().unwrap();
        theirs.write_all(answer.as_bytes()).unwrap();
        (client, theirs)
    }

    #[test]
    fn answers_of_both_kinds_are_read_one_after_the_other() {
        let two = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n";
        let (mut client, theirs) = said(two);
        assert_eq!(client.call("GET", "/a", None).unwrap(), b"ok");
        assert_eq!(client.call("GET", "/b", None).unwrap(), b"abcd");
        drop(theirs);
        assert!(client.call("GET", "/c", None).is_err());
    }

    #[test]
    fn a_refusal_is_an_error_with_what_was_said() {
        let (mut client, _theirs) = said("HTTP/1.1 429 Too Many\r\nContent-Length: 4\r\n\r\nbusy");
        assert_eq!(client.call("GET", "/", None).unwrap_err(), "GET /: 429 busy");
    }

    #[test]
    fn a_stream_comes_in_pieces() {
        let (mut client, _theirs) =
            said("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\ndata:\r\n0\r\n\r\n");
        client.open("POST", "/s", None).unwrap();
        assert_eq!(client.piece().unwrap().as_deref(), Some("data:"));
        assert_eq!(client.piece().unwrap(), None);
    }
}
