//! A client of HTTP/1.1 that can also misbehave: each call is a connection of its own.

use serde_json::Value;
use std::{
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::PathBuf,
    time::Duration,
};

/// Whoever says nothing for so long hangs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server is.
#[derive(Debug, Clone)]
pub(super) enum Address {
    Port(u16),
    Socket(PathBuf),
}

/// Both ends of a connection.
pub(super) trait Wire: Read + Write + Send {
    fn again(&self) -> io::Result<Box<dyn Wire>>;
}

impl Wire for TcpStream {
    fn again(&self) -> io::Result<Box<dyn Wire>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl Wire for UnixStream {
    fn again(&self) -> io::Result<Box<dyn Wire>> {
        Ok(Box::new(self.try_clone()?))
    }
}

impl Address {
    pub(super) fn connect(&self) -> io::Result<Box<dyn Wire>> {
        match self {
            Self::Port(port) => {
                let stream = TcpStream::connect(("127.0.0.1", *port))?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
            Self::Socket(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// A request that is not sent yet.
#[derive(Debug, Clone)]
pub(super) struct Call {
    address: Address,
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Call {
    pub(super) fn new(address: &Address, method: &str, path: &str) -> Self {
        let call = Self {
            address: address.clone(),
            line: format!("{method} {path} HTTP/1.1"),
            headers: Vec::new(),
            body: Vec::new(),
        };
        call.header("Host", "localhost").header("Connection", "close")
    }

    /// Sets a header; one that was there is gone.
    #[must_use]
    pub(super) fn header(self, name: &str, value: &str) -> Self {
        let mut call = self.without(name);
        call.headers.push((name.to_owned(), value.to_owned()));
        call
    }

    #[must_use]
    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    #[must_use]
    pub(super) fn key(self, key: &str) -> Self {
        self.header("Authorization", &format!("Bearer {key}"))
    }

    #[must_use]
    pub(super) fn json(self, body: &Value) -> Self {
        self.header("Content-Type", "application/json").body(body.to_string())
    }

    #[must_use]
    pub(super) fn body(self, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let mut call = self.header("Content-Length", &bytes.len().to_string());
        call.body = bytes;
        call
    }

    fn head(&self) -> String {
        let lines = self.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        format!("{}\r\n{}\r\n", self.line, lines.collect::<String>())
    }

    /// What goes over the wire.
    pub(super) fn bytes(&self) -> Vec<u8> {
        [self.head().as_bytes(), &self.body].concat()
    }

    /// Sends it and reads the head of the answer.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub(super) fn open(&self) -> Answering {
        self.try_open().unwrap_or_else(|e| panic!("{}: {e}", self.line))
    }

    pub(super) fn try_open(&self) -> io::Result<Answering> {
        let mut wire = self.address.connect()?;
        wire.write_all(self.head().as_bytes())?;
        // A server that has answered already need not read the rest.
        let _ = wire.write_all(&self.body);
        Answering::read(wire)
    }

    /// Sends the head and then `piece` for as long as somebody reads.
    pub(super) fn endless(&self, piece: &[u8]) -> io::Result<Answering> {
        let mut wire = self.address.connect()?;
        let mut writer = wire.again()?;
        wire.write_all(self.head().as_bytes())?;
        let piece = piece.to_owned();
        // Ends when the server closes the connection.
        let feeding = std::thread::spawn(move || while writer.write_all(&piece).is_ok() {});
        let answer = Answering::read(wire);
        drop(feeding);
        answer
    }

    /// Sends it and reads the whole answer.
    #[track_caller]
    pub(super) fn send(&self) -> Answer {
        let line = self.line.clone();
        self.open().finish().unwrap_or_else(|e| panic!("{line}: {e}"))
    }
}

/// An answer that is still coming.
pub(super) struct Answering {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    body: Box<dyn BufRead>,
}

impl Answering {
    pub(super) fn read(wire: Box<dyn Wire>) -> io::Result<Self> {
        let mut reader = BufReader::new(wire);
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no answer but {line:?}")))?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let of = |name: &str| headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str());
        let body: Box<dyn BufRead> = if of("transfer-encoding") == Some("chunked") {
            Box::new(BufReader::new(Chunked { reader, left: 0, ended: false }))
        } else {
            let length = of("content-length").and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
            Box::new(reader.take(length))
        };
        Ok(Self { status, headers, body })
    }

    pub(super) fn finish(mut self) -> io::Result<Answer> {
        let mut body = Vec::new();
        self.body.read_to_end(&mut body)?;
        Ok(Answer { status: self.status, headers: self.headers, body })
    }

    /// The next Server-Sent Event; `None` at the end.
    pub(super) fn event(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let mut line = String::new();
            if self.body.read_line(&mut line).unwrap_or(0) == 0 {
                return None;
            }
            match line.trim_end_matches('\n').split_once(':') {
                Some(("id", id)) => event.id = id.trim().to_owned(),
                Some(("event", name)) => event.name = name.trim().to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).unwrap(),
                // A comment, which keeps the connection alive.
                Some(_) => {}
                None if event.name.is_empty() => {}
                None => return Some(event),
            }
        }
    }

    /// The next event, which has to be a `name`.
    #[track_caller]
    pub(super) fn expect(&mut self, name: &str) -> Value {
        let event = self.event().unwrap_or_else(|| panic!("the stream has ended before a '{name}'"));
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }
}

/// One Server-Sent Event.
#[derive(Debug, Default)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) data: Value,
}

struct Chunked<R> {
    reader: R,
    left: u64,
    ended: bool,
}

impl<R: BufRead> Read for Chunked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 && !self.ended {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            self.left = u64::from_str_radix(line, 16).map_err(io::Error::other)?;
            self.ended = self.left == 0;
        }
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let length = self.reader.read(&mut buffer[..wanted])?;
        self.left -= length as u64;
        Ok(length)
    }
}

/// A whole answer.
#[derive(Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(2000)]);
        write!(f, "{} {:?}\n{text}", self.status, self.headers)
    }
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    pub(super) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {self:?}"))
    }

    /// The `data` of a success.
    #[track_caller]
    pub(super) fn data(&self, status: u16) -> Value {
        let mut value = self.value();
        assert!(self.status == status && value["success"] == true, "want a success {status}: {self:?}");
        assert!(value.get("error").is_none(), "{self:?}");
        value["data"].take()
    }

    /// A failure in the form of every failure, whose words hold each of `words`.
    #[track_caller]
    pub(super) fn fails(&self, status: u16, words: &[&str]) -> Value {
        let value = self.value();
        assert!(self.status == status && value["success"] == false, "want a failure {status}: {self:?}");
        assert!(value.get("data").is_none() && value["kind"].is_string(), "{self:?}");
        let error = value["error"].as_str().unwrap_or_default();
        for word in words {
            assert!(error.contains(word), "want '{word}' in the error: {self:?}");
        }
        assert!(!error.chars().any(char::is_control), "control characters in an error: {self:?}");
        value
    }
}
