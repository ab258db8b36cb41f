//! Commands in sandboxes of their own: answered when they have ended, as they go, or many at once.

use crate::{
    App,
    execution::{self, CommandReport, Parts},
    fields::{self, backend, each, parsed, volumes},
    http::{
        body::{Body, Object},
        envelope::{Failure, Reply, ok},
        sse::{self, Chunks},
        trace::Trace,
    },
    running::{Begun, Prepared},
    wish::Wish,
};
use agentkernel_config::Ingredients;
use agentkernel_engine::{
    images::Silent,
    process::{ByteSource, Exit},
    request::Running,
};
use agentkernel_model::{
    Error, Result,
    agent::Agent,
    command::{Argv, EnvVar, ExecSpec, Stdio},
    egress::{EgressRule, Otherwise},
    image::ImageRef,
    mount::Workspace,
    path::GuestPath,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    secret::{SecretBinding, SecretName},
    size::{ByteSize, Cpus},
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _},
    sync::mpsc,
};
use utoipa::ToSchema;

/// How many events wait for a slow client before the command waits too.
const WAITING: usize = 16;
/// The most bytes of one event's output.
const CHUNK: usize = 32 * 1024;
/// How many commands one request may hold.
const MAX_BATCH: usize = 256;

/// One command in a sandbox of its own.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RunBody {
    command: Vec<String>,
    /// An OCI image, or `host`: this machine's own programs. Without one it is detected from the command.
    #[serde(default)]
    image: Option<String>,
    /// `restrictive`, `moderate` or `permissive`.
    #[serde(default)]
    profile: Option<String>,
    /// Whether a warm sandbox of the daemon may be used, where one is just like this one would be. `true` without it.
    #[serde(default)]
    fast: Option<bool>,
    /// Whether the built-in image may take the place of a detected one that cannot be had.
    #[serde(default)]
    host_fallback: Option<bool>,
    #[serde(default)]
    backend: Option<String>,
    #[serde(default)]
    network: Option<bool>,
    /// Rules about connections, in order, such as `allow api.example.com:443`.
    #[serde(default)]
    rules: Option<Vec<String>>,
    /// Whether nothing is let out but what rules and secrets list.
    #[serde(default)]
    only_listed: Option<bool>,
    /// `KEY=VALUE`.
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    workdir: Option<String>,
    #[serde(default)]
    vcpus: Option<u16>,
    #[serde(default)]
    memory_mb: Option<u32>,
    #[serde(default)]
    ports: Option<Vec<String>>,
    #[serde(default)]
    volumes: Option<Vec<String>>,
    /// `KEY:host`, `KEY:host:Header` or `KEY=value:host`.
    #[serde(default)]
    secrets: Option<Vec<String>>,
    #[serde(default)]
    secret_files: Option<Vec<String>>,
    /// The coding agent that it is to suit: `claude`, `gemini`, `codex` or `opencode`.
    #[serde(default)]
    agent: Option<String>,
    /// What the command reads; nothing without it.
    #[serde(default)]
    stdin: Option<String>,
    #[serde(default)]
    timeout_ms: Option<u64>,
}

impl RunBody {
    fn prepare(self) -> Result<Prepared> {
        let argv = Argv::new(self.command)?;
        let stdin = self.stdin.unwrap_or_default().into_bytes();
        let program = Some(argv.program().to_owned());
        let ingredients = Ingredients {
            image: self.image.map(|text| parsed::<ImageRef>("image", &text)).transpose()?,
            profile: self.profile.map(|text| parsed::<Profile>("profile", &text)).transpose()?,
            network: self.network.map(|on| if on { NetworkSwitch::On } else { NetworkSwitch::Off }),
            rules: each::<EgressRule>("rules", self.rules)?,
            otherwise: self.only_listed.unwrap_or_default().then_some(Otherwise::Deny),
            env: each::<EnvVar>("env", self.env)?,
            workdir: self.workdir.map(|text| parsed::<GuestPath>("workdir", &text)).transpose()?,
            cpus: self.vcpus.map(Cpus::from_whole),
            memory: self.memory_mb.map(ByteSize::from_mib),
            ports: each::<PublishedPort>("ports", self.ports)?,
            volumes: volumes(self.volumes)?,
            secrets: each::<SecretBinding>("secrets", self.secrets)?,
            secret_files: each::<SecretName>("secret_files", self.secret_files)?,
            ..Ingredients::default()
        };
        let host_fallback = self.host_fallback.unwrap_or_default();
        let agent = self.agent.map(|text| parsed::<Agent>("agent", &text)).transpose()?;
        let wish = Wish { program, host_fallback, agent, ingredients, workspace: Workspace::None };
        let stdio = if stdin.is_empty() { Stdio::NoInput } else { Stdio::Pipes };
        Ok(Prepared {
            command: ExecSpec { argv, env: Vec::new(), workdir: None, user: None, stdio },
            backend: backend(self.backend),
            timeout: fields::timeout(self.timeout_ms),
            pool: fields::pool(self.fast),
            stdin,
            wish,
        })
    }
}

async fn begin(app: &Arc<App>, body: RunBody, trace: Trace) -> Result<Begun, Failure> {
    let mut prepared = body.prepare()?;
    prepared.command.env.extend(trace.beside(&prepared.wish.ingredients.env));
    let seat = app.commands.take()?;
    Ok(app.begin(prepared, seat, Silent).await?)
}

/// A finished command, and what it ran in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunData {
    #[serde(flatten)]
    report: CommandReport,
    backend: String,
    image: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Default limits that are not enforced on this machine.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unenforced: Vec<String>,
}

pub(super) async fn run(
    State(app): State<Arc<App>>,
    trace: Trace,
    Body(body): Body<RunBody>,
) -> Reply<RunData> {
    let data = complete(&app, body, trace).await?;
    match data.report.exit_code {
        0 => ok(data),
        code => Err(failed(code, &data)),
    }
}

async fn complete(app: &Arc<App>, body: RunBody, trace: Trace) -> Result<RunData, Failure> {
    let begun = begin(app, body, trace).await?;
    let Running { process, choice } = begun.running;
    let finished = execution::collect(process, begun.stdin, app.options.limits.output, begun.timeout).await?;
    drop(begun.seat);
    Ok(RunData {
        report: finished.into(),
        backend: choice.backend.to_string(),
        image: begun.image,
        notes: begun.notes,
        unenforced: choice.unenforced,
    })
}

/// Of a command that ran and failed: what it wrote stands beside the error.
pub(super) fn failed(code: u8, report: &impl Serialize) -> Failure {
    let text = format!("the command exited with code {code}");
    Failure::new(StatusCode::CONFLICT, "command_failed", text).with(report)
}

/// Many commands, each in a sandbox of its own.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchBody {
    #[schema(value_type = Vec<RunBody>)]
    commands: Vec<Object<RunBody>>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchData {
    /// In the order of the commands.
    results: Vec<BatchResult>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct BatchResult {
    output: Option<String>,
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<u8>,
}

pub(super) async fn batch(
    State(app): State<Arc<App>>,
    trace: Trace,
    Body(body): Body<BatchBody>,
) -> Reply<BatchData> {
    if body.commands.len() > MAX_BATCH {
        return Err(Error::invalid(format!("a batch has at most {MAX_BATCH} commands")).into());
    }
    let one = |Object(body): Object<RunBody>| {
        let (app, trace) = (Arc::clone(&app), trace.clone());
        async move {
            match complete(&app, body, trace).await {
                Ok(data) => {
                    let code = data.report.exit_code;
                    let error = (code != 0).then(|| format!("the command exited with code {code}"));
                    BatchResult { output: Some(data.report.output), error, exit_code: Some(code) }
                }
                Err(failure) => BatchResult { output: None, error: Some(failure.text()), exit_code: None },
            }
        }
    };
    let at_once = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) * 2;
    let results = stream::iter(body.commands.into_iter().map(one)).buffered(at_once).collect().await;
    ok(BatchData { results })
}

#[derive(Serialize)]
struct Started<'a> {
    command: &'a [String],
    fast: bool,
    timestamp: String,
    backend: &'a str,
    image: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    notes: &'a [String],
}

#[derive(Serialize)]
struct Output {
    #[serde(flatten)]
    piece: sse::Piece,
    stream: &'static str,
}

#[derive(Serialize)]
struct Done {
    exit_code: u8,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    out_of_memory: bool,
}

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    trace: Trace,
    Body(body): Body<RunBody>,
) -> Result<Response, Failure> {
    let (words, fast) = (body.command.clone(), body.fast.unwrap_or(true));
    let begun = begin(&app, body, trace).await?;
    let (sender, receiver) = mpsc::channel(WAITING);
    tokio::spawn(async move {
        let mut events = Events { sender, next: 1 };
        let started = Started {
            command: &words,
            fast,
            timestamp: agentkernel_engine::clock::rfc3339(agentkernel_engine::clock::now()),
            backend: begun.running.choice.backend.as_str(),
            image: &begun.image,
            notes: &begun.notes,
        };
        if events.send("started", &started).await.is_ok() {
            events.follow(begun).await;
        }
    });
    let events = stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|event| (Ok::<_, Infallible>(event), receiver))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// The client has left.
struct Left;

/// Events on their way to a client.
struct Events {
    sender: mpsc::Sender<Event>,
    next: u64,
}

impl Events {
    /// Waits while the client is slow.
    async fn send(&mut self, name: &str, data: &impl Serialize) -> Result<(), Left> {
        let event = sse::event(self.next, name, data);
        self.next += 1;
        self.sender.send(event).await.map_err(|_| Left)
    }

    async fn fail(&mut self, error: Error) -> Result<(), Left> {
        #[derive(Serialize)]
        struct Failed {
            message: String,
            kind: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            hint: Option<String>,
        }
        let hint = error.hint().map(str::to_owned);
        self.send("error", &Failed { message: error.to_string(), kind: error.kind().as_str(), hint }).await
    }

    /// Tells everything of the command until its end. When the client leaves, the command ends.
    async fn follow(&mut self, begun: Begun) {
        let gone = self.sender.clone();
        let Begun { running, timeout, stdin, seat, .. } = begun;
        let limit = timeout.unwrap_or(Duration::MAX);
        tokio::select! {
            // Told, or nobody listens.
            _ = self.tell(Parts::from(running.process), stdin, limit) => {}
            () = gone.closed() => {}
        }
        drop(seat);
    }

    async fn tell(&mut self, parts: Parts, input: Vec<u8>, limit: Duration) -> Result<(), Left> {
        let Parts { stdin, stdout, stderr, control: _control, exit, leash } = parts;
        let feeding = execution::feed(stdin, input);
        let work = async {
            let (fed, told) = tokio::join!(feeding, self.outputs(stdout, stderr));
            told?;
            Ok::<_, Left>(match fed {
                Ok(()) => exit.await,
                Err(error) => Err(error),
            })
        };
        let ended = match tokio::time::timeout(limit, work).await {
            Ok(ended) => ended?,
            Err(_) => Err(execution::timed_out(limit)),
        };
        match ended {
            Ok(exit) => {
                leash.loose();
                let (signal, out_of_memory) = match exit {
                    Exit::Code(_) => (None, false),
                    Exit::Signal { number, out_of_memory } => (Some(number), out_of_memory),
                };
                let exit_code = exit.code();
                self.send("done", &Done { exit_code, success: exit_code == 0, signal, out_of_memory }).await
            }
            Err(error) => self.fail(error).await,
        }
    }

    async fn outputs(&mut self, stdout: ByteSource, stderr: ByteSource) -> Result<(), Left> {
        let (Ok(mut stdout), Ok(mut stderr)) = (stdout.into_reader(), stderr.into_reader()) else {
            return self.fail(Error::internal("the output of the command cannot be read")).await;
        };
        let (mut of_stdout, mut of_stderr) = (Chunks::default(), Chunks::default());
        let (mut first, mut second) = (vec![0; CHUNK], vec![0; CHUNK]);
        while stdout.is_some() || stderr.is_some() {
            tokio::select! {
                length = next(&mut stdout, &mut first) => {
                    self.output("stdout", &mut of_stdout, &first[..length], stdout.is_none()).await?;
                }
                length = next(&mut stderr, &mut second) => {
                    self.output("stderr", &mut of_stderr, &second[..length], stderr.is_none()).await?;
                }
            }
        }
        Ok(())
    }

    async fn output(
        &mut self,
        stream: &'static str,
        chunks: &mut Chunks,
        bytes: &[u8],
        is_end: bool,
    ) -> Result<(), Left> {
        let piece = if is_end { chunks.finish() } else { chunks.push(bytes) };
        match piece {
            Some(piece) => self.send("output", &Output { piece, stream }).await,
            None => Ok(()),
        }
    }
}

type Reader = std::pin::Pin<Box<dyn AsyncRead + Send>>;

/// How many bytes came; none at the end, when the reader is gone. Never, without one.
async fn next(reader: &mut Option<Reader>, buffer: &mut [u8]) -> usize {
    let Some(open) = reader else { return std::future::pending().await };
    // What cannot be read has ended: how the command did says more.
    let length = open.read(buffer).await.unwrap_or(0);
    if length == 0 {
        *reader = None;
    }
    length
}
