//! Commands that nobody waits for.

mod tale;

use super::exec::ExecBody;
use crate::{
    App,
    http::{
        body::{Body, Search, Segment},
        envelope::{Failure, Reply, ok},
        trace::Trace,
    },
};
use agentkernel_engine::request::{DetachedInfo, DetachedStream};
use agentkernel_model::{Error, Result, id::DetachedId, name::SandboxName};
use axum::{
    extract::State,
    http::HeaderMap,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use std::{io::Read as _, sync::Arc};
use utoipa::ToSchema;

/// A detached command. Clients of the reference implementation want a number for `pid`: 0 where nobody knows it.
#[derive(Debug, Serialize)]
pub(super) struct DetachedData {
    pid: u32,
    #[serde(flatten)]
    info: DetachedInfo,
}

impl From<DetachedInfo> for DetachedData {
    fn from(mut info: DetachedInfo) -> Self {
        Self { pid: info.pid.take().unwrap_or_default(), info }
    }
}

pub(super) async fn start(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    trace: Trace,
    Body(body): Body<ExecBody>,
) -> Reply<DetachedData> {
    body.refuse_waiting()?;
    ok(DetachedData::from(app.engine.exec_detached(&name, &body.command(&app, trace)?).await?))
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
) -> Reply<Vec<DetachedData>> {
    let all = app.blocking(move |engine| engine.detached_list(&name)).await?;
    ok(all.into_iter().map(DetachedData::from).collect())
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Segment((name, id)): Segment<(SandboxName, DetachedId)>,
) -> Reply<DetachedData> {
    ok(DetachedData::from(app.blocking(move |engine| engine.detached(&name, &id)).await?))
}

pub(super) async fn kill(
    State(app): State<Arc<App>>,
    Segment((name, id)): Segment<(SandboxName, DetachedId)>,
) -> Reply<&'static str> {
    app.engine.detached_kill(&name, &id).await?;
    ok("Command killed")
}

/// Which stream, and whether what comes is wanted too.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogsQuery {
    #[serde(default)]
    stream: Option<String>,
    #[serde(default)]
    follow: Option<bool>,
}

/// What was written to one stream: the newest 16 MiB.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct LogsData {
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr: Option<String>,
    /// `base64` (RFC 4648) where the bytes are no UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
}

pub(super) async fn logs(
    State(app): State<Arc<App>>,
    Segment((name, id)): Segment<(SandboxName, DetachedId)>,
    Search(query): Search<LogsQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let wanted = query.stream.as_deref().map(stream).transpose()?;
    if query.follow.unwrap_or_default() {
        return tale::follow(&app, name, id, wanted, &headers).await;
    }
    let stream = wanted.unwrap_or(DetachedStream::Stdout);
    let bytes = app.detached_log(name, id, stream).await?;
    let (text, encoding) = match String::from_utf8(bytes) {
        Ok(text) => (Some(text), None),
        Err(e) => (Some(STANDARD.encode(e.as_bytes())), Some("base64")),
    };
    let reply: Reply<LogsData> = ok(match stream {
        DetachedStream::Stdout => LogsData { stdout: text, encoding, ..LogsData::default() },
        DetachedStream::Stderr => LogsData { stderr: text, encoding, ..LogsData::default() },
    });
    reply.map(IntoResponse::into_response)
}

fn stream(text: &str) -> Result<DetachedStream> {
    match text {
        "stdout" => Ok(DetachedStream::Stdout),
        "stderr" => Ok(DetachedStream::Stderr),
        _ => Err(Error::invalid("stream is stdout or stderr")),
    }
}

impl App {
    /// The log of one stream, which the engine bounds.
    ///
    /// # Errors
    /// As [`agentkernel_engine::Engine::detached_logs`].
    pub(crate) async fn detached_log(
        &self,
        name: SandboxName,
        id: DetachedId,
        stream: DetachedStream,
    ) -> Result<Vec<u8>> {
        self.blocking(move |engine| {
            let mut bytes = Vec::new();
            let mut file = engine.detached_logs(&name, &id, stream)?;
            file.read_to_end(&mut bytes).map_err(|e| Error::io("cannot read the log of a command", e))?;
            Ok(bytes)
        })
        .await
    }
}
