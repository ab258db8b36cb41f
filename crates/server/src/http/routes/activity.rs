//! What a named sandbox does: what it uses, and what it did outside.

use crate::{
    App,
    http::{
        body::{Search, Segment},
        envelope::{Failure, Reply, ok},
        sse,
    },
};
use agentkernel_engine::{
    audit::{AuditEntry, Following},
    connections::ConnectionQuery,
};
use agentkernel_model::{Error, Result, name::SandboxName};
use axum::{
    extract::State,
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::{collections::VecDeque, convert::Infallible, sync::Arc};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::ToSchema;

/// How many connections there are without a number, and at most.
const CONNECTIONS: usize = 100;
const MAX_CONNECTIONS: usize = 10_000;

/// What it uses now; what its backend cannot tell is null.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UsageData {
    /// Page cache included.
    memory_bytes: Option<u64>,
    /// Of a processor, since its start.
    cpu_micros: Option<u64>,
    /// Processes and threads.
    pids: Option<u64>,
}

pub(super) async fn usage(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
) -> Reply<UsageData> {
    let usage = app.engine.usage(&name).await?;
    ok(UsageData { memory_bytes: usage.memory_bytes, cpu_micros: usage.cpu_micros, pids: usage.pids })
}

/// Which connections.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConnectionsQuery {
    /// The newest so many.
    #[serde(default)]
    last: Option<usize>,
    /// Only what was blocked.
    #[serde(default)]
    blocked: Option<bool>,
}

impl ConnectionsQuery {
    fn of(self, sandbox: SandboxName) -> Result<ConnectionQuery> {
        let limit = self.last.unwrap_or(CONNECTIONS);
        if !(1..=MAX_CONNECTIONS).contains(&limit) {
            return Err(Error::invalid(format!("last is a number from 1 to {MAX_CONNECTIONS}")));
        }
        let only_blocked = self.blocked.unwrap_or_default();
        Ok(ConnectionQuery { sandbox: Some(sandbox), only_blocked, limit })
    }
}

pub(super) async fn connections(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Search(query): Search<ConnectionsQuery>,
) -> Reply<Vec<Map<String, Value>>> {
    let query = query.of(name)?;
    let page = app.blocking(move |engine| engine.connections(&query)).await?;
    ok(page.entries.into_iter().map(|entry| entry.fields().clone()).collect())
}

pub(super) async fn stream(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Search(query): Search<ConnectionsQuery>,
) -> Result<Response, Failure> {
    let query = query.of(name)?;
    let seat = app.followers.take()?;
    let (page, following) = app.blocking(move |engine| engine.follow_connections(&query)).await?;
    let tale = Tale { waiting: page.entries.into(), following: Some(following), next: 1, _seat: seat };
    let events = stream::unfold(tale, async |mut tale| {
        tale.event().await.map(|event| (Ok::<_, Infallible>(event), tale))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// Connections on their way to a client: those that are there, then those that come.
struct Tale {
    waiting: VecDeque<AuditEntry>,
    /// `None` when the sandbox has ended, or the log cannot be read.
    following: Option<Following>,
    next: u64,
    /// Its place among those that follow.
    _seat: OwnedSemaphorePermit,
}

impl Tale {
    async fn event(&mut self) -> Option<Event> {
        while self.waiting.is_empty() {
            match self.following.as_mut()?.next().await {
                Ok(Some(entries)) => self.waiting.extend(entries),
                Ok(None) => self.following = None,
                Err(error) => {
                    self.following = None;
                    let message = Value::String(error.to_string());
                    return Some(self.say("error", &Map::from_iter([("message".to_owned(), message)])));
                }
            }
        }
        let entry = self.waiting.pop_front()?;
        Some(self.say("connection", entry.fields()))
    }

    fn say(&mut self, name: &str, data: &Map<String, Value>) -> Event {
        let event = sse::event(self.next, name, data);
        self.next += 1;
        event
    }
}
