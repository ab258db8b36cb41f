//! A command of a named sandbox over a WebSocket (RFC 6455), for people at a terminal and for programs. docs/websocket.md has
//! the messages.

use crate::{
    App,
    execution::Parts,
    fields::{each, parsed},
    http::{body::Segment, envelope::Failure, listen::Stay},
};
use agentkernel_engine::process::{ByteSource, Control, Exit, Process};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Argv, EnvVar, ExecSpec, Signal, Stdio, TerminalSize, User},
    name::SandboxName,
    path::GuestPath,
};
use axum::{
    Extension,
    extract::{
        State,
        ws::{
            CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code,
            rejection::WebSocketUpgradeRejection,
        },
    },
    http::StatusCode,
    response::Response,
};
use bytes::Bytes;
use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use serde::{Deserialize, Serialize};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::{Notify, OwnedSemaphorePermit, mpsc},
};

/// The name of this conversation.
const PROTOCOL: &str = "agentkernel.exec.v1";
/// The most bytes of one message of a client: a command line and its environment.
const MAX_MESSAGE: usize = 1 << 20;
/// The most bytes of one message to a client, and what may wait for it.
const CHUNK: usize = 32 * 1024;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a client is asked whether it is still there; one that did not answer by the next time is not.
const PULSE: Duration = Duration::from_secs(30);
/// How long a client may take for a message, and a command for what it is given, when no more of it can wait.
const STALL: Duration = Duration::from_secs(30);
/// How many pieces for a command's standard input wait, of at most [`CHUNK`] bytes. What a client says beside them, such as a
/// signal, does not.
const WAITING: usize = 64;
/// Which stream a message to the client is of: its first byte.
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
/// bash where there is one; whatever answers to sh is everywhere.
const SHELL: [&str; 3] =
    ["/bin/sh", "-c", "if command -v bash >/dev/null 2>&1; then exec bash; fi; exec /bin/sh"];

/// The first message.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Opening {
    /// A shell without it.
    #[serde(default)]
    command: Option<Vec<String>>,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    workdir: Option<String>,
    #[serde(default)]
    sudo: Option<bool>,
    /// Whether the command has a terminal; `true` without it.
    #[serde(default)]
    tty: Option<bool>,
    #[serde(default)]
    rows: Option<u16>,
    #[serde(default)]
    cols: Option<u16>,
    /// How many bytes of output may be under way that the client has not acknowledged. No limit but the connection's
    /// without it.
    #[serde(default)]
    window: Option<u64>,
}

/// What a client says later, beside the bytes of stdin.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Word {
    Resize {
        rows: u16,
        cols: u16,
    },
    Signal {
        signal: String,
    },
    /// The end of stdin.
    Eof,
    /// So many more bytes of output have arrived and were worked off.
    Ack {
        bytes: u64,
    },
}

/// What a client is told.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum News {
    Started,
    Exit {
        exit_code: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
        out_of_memory: bool,
    },
    Error {
        message: String,
        kind: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
}

impl News {
    fn of(error: &Error) -> Self {
        Self::Error {
            message: error.to_string(),
            kind: error.kind().as_str(),
            hint: error.hint().map(str::to_owned),
        }
    }

    fn message(&self) -> Message {
        // Only maps with keys that are no text fail, and there is none.
        Message::text(serde_json::to_string(self).unwrap_or_default())
    }
}

pub(super) async fn open(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Extension(stay): Extension<Stay>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let upgrade = upgrade.map_err(|rejection| {
        Failure::new(StatusCode::UPGRADE_REQUIRED, Kind::Invalid.as_str(), rejection.body_text())
            .with_hint("connect with a WebSocket client; POST /sandboxes/NAME/exec answers without one")
    })?;
    // What is wrong now is told with a status.
    app.engine.info(&name).await?;
    let upgrade = upgrade.protocols([PROTOCOL]).max_message_size(MAX_MESSAGE).max_frame_size(MAX_MESSAGE);
    Ok(upgrade.on_upgrade(async move |socket| serve(&app, &name, &stay, socket).await))
}

async fn serve(app: &App, name: &SandboxName, stay: &Stay, socket: WebSocket) {
    let (mut sink, mut source) = socket.split();
    let ended = match begin(app, name, &mut source).await {
        Ok(begun) => {
            let Begun { process, window, is_session, seat } = begun;
            // A command is let finish; a shell would only be waited for.
            let leaving = async {
                match is_session {
                    true => stay.ending().await,
                    false => std::future::pending().await,
                }
            };
            let ended = tokio::select! {
                ended = converse(process, window, &mut sink, &mut source) => ended,
                () = leaving => Some(Err(Error::new(Kind::Cancelled, "the server ends, and the shell with it"))),
            };
            drop(seat);
            ended
        }
        Err(error) => Some(Err(error)),
    };
    let (news, code) = match ended {
        // Nobody is there.
        None => return,
        Some(Ok(exit)) => (exited(exit), close_code::NORMAL),
        Some(Err(error)) if error.kind() == Kind::Cancelled => (News::of(&error), close_code::AWAY),
        Some(Err(error)) => (News::of(&error), close_code::ERROR),
    };
    if send(&mut sink, news.message()).await.is_some() {
        let _ = send(&mut sink, Message::Close(Some(CloseFrame { code, reason: "".into() }))).await;
    }
}

/// `None`: the client has left, or takes nothing.
async fn send(sink: &mut SplitSink<WebSocket, Message>, message: Message) -> Option<()> {
    tokio::time::timeout(STALL, sink.send(message)).await.ok()?.ok()
}

fn exited(exit: Exit) -> News {
    let (signal, out_of_memory) = match exit {
        Exit::Code(_) => (None, false),
        Exit::Signal { number, out_of_memory } => (Some(number), out_of_memory),
    };
    News::Exit { exit_code: exit.code(), signal, out_of_memory }
}

/// A command that runs.
struct Begun {
    process: Process,
    window: Option<u64>,
    /// Whether it is a shell for a person.
    is_session: bool,
    seat: OwnedSemaphorePermit,
}

/// Reads what is wanted, and starts it.
async fn begin(app: &App, name: &SandboxName, source: &mut SplitStream<WebSocket>) -> Result<Begun> {
    let first = tokio::time::timeout(PATIENCE, source.next()).await;
    let Ok(Some(Ok(Message::Text(text)))) = first else {
        return Err(Error::invalid("the first message is no text, or did not come")
            .with_hint("send a JSON object first, such as {\"command\":[\"sh\"],\"rows\":24,\"cols\":80}"));
    };
    let opening: Opening = serde_json::from_str(&text)
        .map_err(|e| Error::invalid(format!("the first message is not what it should be: {e}")))?;
    let seat = app.commands.take()?;
    let window = opening.window;
    let is_session = opening.command.is_none();
    let command = opening.command(app)?;
    let process = match is_session {
        true => app.engine.attach(name, &command).await?,
        false => app.engine.exec(name, &command).await?,
    };
    Ok(Begun { process, window, is_session, seat })
}

impl Opening {
    fn command(self, app: &App) -> Result<ExecSpec> {
        let sudo = self.sudo.unwrap_or_default();
        if sudo && !app.options.allow_sudo {
            return Err(Error::new(Kind::Denied, "this server runs no command as root inside on request")
                .with_hint("start it with --allow-sudo, or let the sandbox's own user be root"));
        }
        let has_terminal = self.tty.unwrap_or(true);
        let size = TerminalSize { rows: self.rows.unwrap_or(24), columns: self.cols.unwrap_or(80) };
        let mut env = each::<EnvVar>("env", self.env)?;
        if has_terminal && env.iter().all(|variable| variable.key() != "TERM") {
            env.push(EnvVar::new("TERM", "xterm-256color")?);
        }
        Ok(ExecSpec {
            argv: Argv::new(self.command.unwrap_or_else(|| SHELL.map(str::to_owned).to_vec()))?,
            env,
            workdir: self.workdir.map(|text| parsed::<GuestPath>("workdir", &text)).transpose()?,
            user: sudo.then_some(User::ROOT),
            stdio: if has_terminal { Stdio::Terminal(size) } else { Stdio::Pipes },
        })
    }
}

/// Output that is under way.
#[derive(Debug, Default)]
struct Flow {
    under_way: AtomicU64,
    acknowledged: Notify,
}

impl Flow {
    fn sent(&self, bytes: u64) {
        self.under_way.fetch_add(bytes, Ordering::AcqRel);
    }

    fn arrived(&self, bytes: u64) {
        let less = |now: u64| Some(now.saturating_sub(bytes));
        let _ = self.under_way.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
        self.acknowledged.notify_waiters();
    }

    /// Waits until there is room in the client's window.
    async fn room(&self, window: Option<u64>) {
        let Some(window) = window else { return };
        loop {
            // Before the look: nothing is acknowledged between that it does not hear of.
            let acknowledged = self.acknowledged.notified();
            if self.under_way.load(Ordering::Acquire) < window.max(1) {
                return;
            }
            acknowledged.await;
        }
    }
}

/// Carries bytes in both directions until the command has ended. `None`: the client has left, and the command was ended.
async fn converse(
    process: Process,
    window: Option<u64>,
    sink: &mut SplitSink<WebSocket, Message>,
    source: &mut SplitStream<WebSocket>,
) -> Option<Result<Exit>> {
    let Parts { stdin, stdout, stderr, control, exit, leash } = Parts::from(process);
    send(sink, News::Started.message()).await?;
    let writer = match stdin.into_writer() {
        Ok(writer) => writer,
        Err(error) => return Some(Err(error)),
    };
    let (flow, pulse) = (Flow::default(), Pulse::default());
    let (input, waiting) = mpsc::channel(WAITING);
    let feeding = async {
        feed(writer, waiting).await;
        // The command's end is another matter.
        std::future::pending().await
    };
    let output = async {
        tell(stdout, stderr, window, &flow, &pulse, sink).await?;
        Some(exit.await)
    };
    tokio::select! {
        ended = output => {
            let ended = ended?;
            leash.loose();
            Some(ended)
        }
        refused = hear(input, control.as_ref(), &flow, &pulse, source) => refused.map(Err),
        never = feeding => never,
    }
}

/// Whether the client was heard of since it was last asked.
#[derive(Debug, Default)]
struct Pulse(AtomicU64);

impl Pulse {
    fn beat(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// `None`: it was asked before, and did not answer.
    fn ask(&self) -> Option<Message> {
        (self.0.fetch_add(1, Ordering::AcqRel) < 2).then(|| Message::Ping(Bytes::new()))
    }
}

type Reader = std::pin::Pin<Box<dyn AsyncRead + Send>>;

/// Both streams of the command until their ends. `None`: the client has left.
async fn tell(
    stdout: ByteSource,
    stderr: ByteSource,
    window: Option<u64>,
    flow: &Flow,
    pulse: &Pulse,
    sink: &mut SplitSink<WebSocket, Message>,
) -> Option<()> {
    let (mut stdout, mut stderr) = (stdout.into_reader().ok()?, stderr.into_reader().ok()?);
    let mut pulses = tokio::time::interval(PULSE);
    pulses.reset();
    let (mut first, mut second) = (vec![STDOUT; 1 + CHUNK], vec![STDERR; 1 + CHUNK]);
    while stdout.is_some() || stderr.is_some() {
        let message = tokio::select! {
            length = next(&mut stdout, &mut first[1..], window, flow) => piece(&first, length),
            length = next(&mut stderr, &mut second[1..], window, flow) => piece(&second, length),
            _ = pulses.tick() => Some(pulse.ask()?),
        };
        if let Some(message) = message {
            send(sink, message).await?;
        }
    }
    Some(())
}

fn piece(buffer: &[u8], length: usize) -> Option<Message> {
    (length > 0).then(|| Message::Binary(Bytes::copy_from_slice(&buffer[..=length])))
}

/// How many bytes came; none at the end, when the reader is gone. Never, without one.
async fn next(reader: &mut Option<Reader>, buffer: &mut [u8], window: Option<u64>, flow: &Flow) -> usize {
    let Some(open) = reader else { return std::future::pending().await };
    flow.room(window).await;
    // What cannot be read has ended: how the command did says more.
    let length = open.read(buffer).await.unwrap_or(0);
    if length == 0 {
        *reader = None;
    }
    flow.sent(length as u64);
    length
}

/// What the client says, until it leaves, which is `None`, or says what nobody understands.
async fn hear(
    input: mpsc::Sender<Bytes>,
    control: &dyn Control,
    flow: &Flow,
    pulse: &Pulse,
    source: &mut SplitStream<WebSocket>,
) -> Option<Error> {
    let mut input = Some(input);
    while let Some(Ok(message)) = source.next().await {
        pulse.beat();
        let understood = match message {
            Message::Binary(bytes) => queue(input.as_ref(), bytes).await,
            Message::Text(text) => obey(&text, control, flow, &mut input),
            Message::Ping(_) | Message::Pong(_) => Ok(()),
            Message::Close(_) => return None,
        };
        if let Err(error) = understood {
            return Some(error);
        }
    }
    None
}

type Writer = std::pin::Pin<Box<dyn AsyncWrite + Send>>;

/// Puts `bytes` behind what waits for the command; after the end of its input they go nowhere.
async fn queue(input: Option<&mpsc::Sender<Bytes>>, mut bytes: Bytes) -> Result<()> {
    let Some(input) = input else { return Ok(()) };
    while !bytes.is_empty() {
        let piece = bytes.split_to(bytes.len().min(CHUNK));
        if input.send_timeout(piece, STALL).await.is_err() {
            let why = format!("the command has read nothing of its standard input for {} s", STALL.as_secs());
            return Err(Error::new(Kind::Exhausted, why).with_hint("send less before it asks for more"));
        }
    }
    Ok(())
}

/// Gives the command what waits for it, and then the end. A command need not read what it is given; what nobody reads is no
/// fault of the client's.
async fn feed(mut writer: Option<Writer>, mut waiting: mpsc::Receiver<Bytes>) {
    while let Some(bytes) = waiting.recv().await {
        if let Some(open) = &mut writer
            && open.write_all(&bytes).await.is_err()
        {
            writer = None;
        }
    }
    if let Some(mut open) = writer {
        let _ = open.shutdown().await;
    }
}

fn obey(
    text: &str,
    control: &dyn Control,
    flow: &Flow,
    input: &mut Option<mpsc::Sender<Bytes>>,
) -> Result<()> {
    let word: Word = serde_json::from_str(text)
        .map_err(|e| Error::invalid(format!("a message is not what it should be: {e}")))?;
    match word {
        Word::Resize { rows, cols } => control.resize(TerminalSize { rows, columns: cols }),
        Word::Signal { signal } => control.signal(parsed::<Signal>("signal", &signal)?),
        Word::Eof => {
            *input = None;
            Ok(())
        }
        Word::Ack { bytes } => {
            flow.arrived(bytes);
            Ok(())
        }
    }
}
