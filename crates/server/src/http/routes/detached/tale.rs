//! The output of a detached command as Server-Sent Events. The id of an event is where its reader is then: whoever comes
//! back with it, to this server or to the next one, misses nothing and is told nothing twice.

use super::DetachedData;
use crate::{
    App,
    http::{
        envelope::Failure,
        sse::{Chunks, Piece},
    },
};
use agentkernel_engine::{
    detached::{CommandEvent, FollowingCommand},
    request::{DetachedInfo, DetachedStream},
};
use agentkernel_model::{Error, Result, id::DetachedId, name::SandboxName, position::LogPosition};
use axum::{
    http::HeaderMap,
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use serde::Serialize;
use std::{collections::VecDeque, convert::Infallible, sync::Arc};
use tokio::sync::OwnedSemaphorePermit;

pub(super) async fn follow(
    app: &Arc<App>,
    name: SandboxName,
    id: DetachedId,
    stream: Option<DetachedStream>,
    headers: &HeaderMap,
) -> Result<Response, Failure> {
    let from = position(headers)?;
    let seat = app.followers.take()?;
    let following = app.blocking(move |engine| engine.follow_detached(&name, &id, stream, from)).await?;
    let tale = Tale {
        following: Some(following),
        waiting: VecDeque::new(),
        stdout: Chunks::default(),
        stderr: Chunks::default(),
        _seat: seat,
    };
    let events = stream::unfold(tale, async |mut tale| {
        tale.event().await.map(|event| (Ok::<_, Infallible>(event), tale))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// Where the client was; at the beginning where it does not say.
fn position(headers: &HeaderMap) -> Result<LogPosition> {
    let Some(id) = headers.get("last-event-id") else { return Ok(LogPosition::default()) };
    let text = String::from_utf8_lossy(id.as_bytes());
    text.parse().map_err(|e: Error| {
        let hint = e.hint().unwrap_or_default().to_owned();
        Error::invalid(format!("Last-Event-ID: {e}")).with_hint(hint)
    })
}

#[derive(Serialize)]
struct Output {
    #[serde(flatten)]
    piece: Piece,
    stream: &'static str,
}

#[derive(Serialize)]
struct Gap {
    stream: &'static str,
    bytes: u64,
}

#[derive(Serialize)]
struct Failed {
    message: String,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

/// Output on its way to a client.
struct Tale {
    /// `None` when everything was told.
    following: Option<FollowingCommand>,
    waiting: VecDeque<Event>,
    stdout: Chunks,
    stderr: Chunks,
    /// Its place among those that follow.
    _seat: OwnedSemaphorePermit,
}

impl Tale {
    async fn event(&mut self) -> Option<Event> {
        while self.waiting.is_empty() {
            match self.following.as_mut()?.next().await {
                Ok(Some(CommandEvent::Output { stream, bytes })) => {
                    let piece = self.chunks(stream).push(&bytes);
                    self.output(stream, piece);
                }
                Ok(Some(CommandEvent::Gap { stream, bytes })) => {
                    self.finish(stream);
                    self.say("gap", &Gap { stream: stream.as_str(), bytes });
                }
                Ok(Some(CommandEvent::Ended(info))) => self.end(info),
                Ok(None) => self.following = None,
                Err(error) => {
                    let hint = error.hint().map(str::to_owned);
                    let kind = error.kind().as_str();
                    self.say("error", &Failed { message: error.to_string(), kind, hint });
                    self.following = None;
                }
            }
        }
        self.waiting.pop_front()
    }

    const fn chunks(&mut self, stream: DetachedStream) -> &mut Chunks {
        match stream {
            DetachedStream::Stdout => &mut self.stdout,
            DetachedStream::Stderr => &mut self.stderr,
        }
    }

    /// The beginning of a character whose rest does not come.
    fn finish(&mut self, stream: DetachedStream) {
        let piece = self.chunks(stream).finish();
        self.output(stream, piece);
    }

    fn output(&mut self, stream: DetachedStream, piece: Option<Piece>) {
        if let Some(piece) = piece {
            self.say("output", &Output { piece, stream: stream.as_str() });
        }
    }

    fn end(&mut self, info: DetachedInfo) {
        self.finish(DetachedStream::Stdout);
        self.finish(DetachedStream::Stderr);
        self.say("done", &DetachedData::from(info));
    }

    fn say(&mut self, name: &str, data: &impl Serialize) {
        let read = self.following.as_ref().map(FollowingCommand::position).unwrap_or_default();
        // What waits for its rest was not told yet.
        let told = LogPosition {
            stdout: read.stdout.saturating_sub(self.stdout.waiting()),
            stderr: read.stderr.saturating_sub(self.stderr.waiting()),
        };
        let event = Event::default().id(told.to_string()).event(name);
        // Only maps with keys that are no text fail, and we have none.
        self.waiting.push_back(event.json_data(data).unwrap_or_default());
    }
}
