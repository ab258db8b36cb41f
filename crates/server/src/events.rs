//! What happens to sandboxes, to whoever listens: one follower of the log of events, however many they are.

use agentkernel_engine::{
    Engine,
    audit::{AuditEntry, AuditQuery},
};
use agentkernel_model::{Result, text::printable};
use serde::Serialize;
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::broadcast;

/// How many events wait for a slow listener; one that is slower is told, and asks again from where it was.
const WAITING: usize = 1024;
/// How far back a listener that comes back can be served, in events.
const REMEMBERED: usize = 10_000;

/// Something that happened.
#[derive(Debug, Clone)]
pub(crate) struct Happening {
    /// What a listener that comes back says that it saw last.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: HappeningData,
}

/// As the reference implementation's bus has it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct HappeningData {
    event: String,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sandbox: Option<String>,
    #[serde(skip_serializing_if = "Value::is_null")]
    labels: Value,
    metadata: Map<String, Value>,
}

impl From<&AuditEntry> for Happening {
    fn from(entry: &AuditEntry) -> Self {
        let line = entry.as_json();
        let hash = Sha256::digest(line.as_bytes());
        let id = hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let mut metadata: Map<String, Value> = serde_json::from_str(line).unwrap_or_default();
        for known in ["timestamp", "type", "sandbox", "name", "user", "pid"] {
            metadata.remove(known);
        }
        let labels = metadata.remove("labels").unwrap_or_default();
        let name = event_name(entry);
        let data = HappeningData {
            event: name.clone(),
            timestamp: entry.timestamp().to_owned(),
            sandbox: entry.sandbox().map(str::to_owned),
            labels,
            metadata,
        };
        Self { id, name, data }
    }
}

/// `sandbox.created` and the like.
fn event_name(entry: &AuditEntry) -> String {
    match entry.event() {
        "sandbox_removed" => "sandbox.deleted".to_owned(),
        "command_executed" if entry.sandbox().is_some() => "sandbox.exec.completed".to_owned(),
        "command_executed" => "run.completed".to_owned(),
        "file_written" => "sandbox.file.written".to_owned(),
        "file_read" => "sandbox.file.read".to_owned(),
        "file_removed" => "sandbox.file.deleted".to_owned(),
        // The log is a file, which others may have written to; a line end would end a field of the stream.
        other => printable(&other.replacen('_', ".", 1)),
    }
}

/// Hands events out. Begins with the first listener, and ends with the last.
#[derive(Debug, Default)]
pub(crate) struct Events(Mutex<Option<broadcast::Sender<Arc<Happening>>>>);

/// Events that are on record already, and those that come. Some may be in both.
pub(crate) struct Listening {
    pub(crate) before: Vec<Arc<Happening>>,
    pub(crate) coming: broadcast::Receiver<Arc<Happening>>,
}

impl Events {
    /// Listens; `after` is the id of an event that was seen before, whose followers come first. It reads the log, which
    /// blocks.
    ///
    /// # Errors
    /// As [`Engine::follow_events`].
    pub(crate) fn listen(self: &Arc<Self>, engine: &Engine, after: Option<&str>) -> Result<Listening> {
        // First: nothing is missed between the two.
        let coming = self.join(engine)?;
        let Some(after) = after else { return Ok(Listening { before: Vec::new(), coming }) };
        let page = engine.events(&AuditQuery { sandbox: None, limit: REMEMBERED })?;
        let all: Vec<Happening> = page.entries.iter().map(Happening::from).collect();
        let seen = all.iter().rposition(|happening| happening.id == after).map_or(0, |at| at + 1);
        Ok(Listening { before: all.into_iter().skip(seen).map(Arc::new).collect(), coming })
    }

    fn join(self: &Arc<Self>, engine: &Engine) -> Result<broadcast::Receiver<Arc<Happening>>> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.as_ref() {
            return Ok(sender.subscribe());
        }
        let (_, mut following) = engine.follow_events(&AuditQuery { sandbox: None, limit: 1 })?;
        let (handing, coming) = broadcast::channel(WAITING);
        *sender = Some(handing.clone());
        let events = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    next = following.next() => match next {
                        Ok(Some(entries)) => {
                            for entry in &entries {
                                // Nobody listens now: the end is near.
                                let _ = handing.send(Arc::new(Happening::from(entry)));
                            }
                        }
                        // Whoever listens asks again.
                        Ok(None) | Err(_) => return events.forget(),
                    },
                    () = handing.closed() => if events.forget_unheard(&handing) { return },
                }
            }
        });
        Ok(coming)
    }

    fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Whether nobody has begun to listen meanwhile.
    fn forget_unheard(&self, handing: &broadcast::Sender<Arc<Happening>>) -> bool {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let unheard = handing.receiver_count() == 0;
        if unheard {
            *sender = None;
        }
        unheard
    }
}
