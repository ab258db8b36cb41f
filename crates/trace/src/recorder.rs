//! From spans of the library `tracing` to spans of a trace.

use crate::{Context, Finished, Kind, Outbox, Sampler, Value};
use std::{
    borrow::Cow,
    cell::RefCell,
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};
use tracing::{
    Dispatch, Event, Level, Metadata, Span, Subscriber, dispatcher,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
};
use tracing_core::span::Current;

/// Spans of whom are recorded: libraries have some of their own, with what they were given in them.
const OURS: &str = "agentkernel";
/// A field with the name of the span, where that is not known when it is compiled.
const NAME: &str = "otel.name";
/// A field that says `server` of a span that answers a request.
const KIND: &str = "otel.kind";
/// A field with the kind of the error that ended it.
const ERROR: &str = "error.type";
/// The most attributes of one span.
const MAX_ATTRIBUTES: usize = 16;

thread_local! {
    /// The spans that this thread is in, the innermost last.
    static ENTERED: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

/// Records spans until they end, and then puts those of sampled traces into an [`Outbox`].
#[derive(Debug)]
pub struct Recorder {
    sampler: Sampler,
    outbox: Arc<Outbox>,
    next: AtomicU64,
    open: Mutex<HashMap<u64, Open>>,
}

#[derive(Debug)]
struct Open {
    handles: usize,
    begun: Instant,
    metadata: &'static Metadata<'static>,
    span: Finished,
}

impl Recorder {
    #[must_use]
    pub fn new(sampler: Sampler, outbox: Arc<Outbox>) -> Self {
        Self { sampler, outbox, next: AtomicU64::new(1), open: Mutex::default() }
    }

    /// Has every span of this process from now on recorded; the first of a process stays.
    pub fn install(self) {
        // A second one is a fault of ours, and no reason to fail whatever was to be traced.
        let _ = dispatcher::set_global_default(Dispatch::new(self));
    }

    /// As [`Recorder::install`], in a process that does something for the one with the span `parent`, which
    /// [takes out](take_out) what there is then. What is done is below the span that is returned.
    #[must_use]
    pub fn install_for(parent: Context, span: impl FnOnce() -> Span) -> Span {
        Self::new(Sampler::DEFAULT, Arc::new(Outbox::new(Outbox::SMALL))).install();
        let span = span();
        adopt(&span, parent);
        span
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn context(&self, id: u64) -> Option<Context> {
        self.open().get(&id).map(|open| open.span.context)
    }

    fn adopt(&self, id: u64, parent: Context) {
        if let Some(open) = self.open().get_mut(&id) {
            open.span.context = self.sampler.begin(Some(parent));
            open.span.parent = Some(parent.span);
        }
    }
}

/// Makes `span` one below `parent`, which is another process's. Before anything is below `span` itself.
pub fn adopt(span: &Span, parent: Context) {
    span.with_subscriber(|(id, dispatch)| {
        if let Some(recorder) = dispatch.downcast_ref::<Recorder>() {
            recorder.adopt(id.into_u64(), parent);
        }
    });
}

/// How others name `span`; `None` where nothing is recorded.
#[must_use]
pub fn context(span: &Span) -> Option<Context> {
    let of_recorder = |(id, dispatch): (&Id, &Dispatch)| {
        dispatch.downcast_ref::<Recorder>().and_then(|recorder| recorder.context(id.into_u64()))
    };
    span.with_subscriber(of_recorder).flatten()
}

/// As [`context`], of the span that the caller is in.
#[must_use]
pub fn current() -> Option<Context> {
    let id = ENTERED.with_borrow(|entered| entered.last().copied())?;
    dispatcher::get_default(|dispatch| dispatch.downcast_ref::<Recorder>()?.context(id))
}

/// All that has ended in this process and was not sent, for the one that has its work done by this one.
#[must_use]
pub fn take_out() -> Vec<Finished> {
    dispatcher::get_default(|dispatch| {
        dispatch
            .downcast_ref::<Recorder>()
            .map(|recorder| recorder.outbox.take(Outbox::SMALL))
            .unwrap_or_default()
    })
}

/// Puts `spans`, which another process did for this one, to this one's own.
pub fn take_in(spans: &[Finished]) {
    dispatcher::get_default(|dispatch| {
        if let Some(recorder) = dispatch.downcast_ref::<Recorder>() {
            spans.iter().for_each(|span| recorder.outbox.put(span.clone()));
        }
    });
}

impl Subscriber for Recorder {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && *metadata.level() <= Level::INFO && metadata.target().starts_with(OURS)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::INFO)
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let above = match attributes.parent() {
            Some(id) => Some(id.into_u64()),
            None if attributes.is_root() => None,
            None => ENTERED.with_borrow(|entered| entered.last().copied()),
        };
        let above = above.and_then(|id| self.context(id));
        let context = above.map_or_else(|| self.sampler.begin(None), Context::child);
        let mut span = Finished {
            name: Cow::Borrowed(attributes.metadata().name()),
            kind: Kind::Internal,
            context,
            parent: above.map(|above| above.span),
            start: now(),
            end: 0,
            attributes: Vec::new(),
            is_failed: false,
        };
        attributes.record(&mut Fields(&mut span));
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.open()
            .insert(id, Open { handles: 1, begun: Instant::now(), metadata: attributes.metadata(), span });
        Id::from_u64(id)
    }

    fn record(&self, id: &Id, values: &Record<'_>) {
        if let Some(open) = self.open().get_mut(&id.into_u64()) {
            values.record(&mut Fields(&mut open.span));
        }
    }

    fn record_follows_from(&self, _id: &Id, _follows: &Id) {}

    fn event(&self, _event: &Event<'_>) {}

    fn enter(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| entered.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        ENTERED.with_borrow_mut(|entered| {
            // Guards may be dropped in another order than they were made.
            if let Some(at) = entered.iter().rposition(|entered| *entered == id.into_u64()) {
                entered.remove(at);
            }
        });
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(open) = self.open().get_mut(&id.into_u64()) {
            open.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut all = self.open();
        let Some(open) = all.get_mut(&id.into_u64()) else { return false };
        open.handles -= 1;
        if open.handles > 0 {
            return false;
        }
        let ended = all.remove(&id.into_u64());
        drop(all);
        if let Some(Open { begun, mut span, .. }) = ended
            && span.context.is_sampled
        {
            span.end = span.start.saturating_add(nanoseconds(begun.elapsed()));
            self.outbox.put(span);
        }
        true
    }

    fn current_span(&self) -> Current {
        let Some(id) = ENTERED.with_borrow(|entered| entered.last().copied()) else { return Current::none() };
        let metadata = self.open().get(&id).map(|open| open.metadata);
        metadata.map_or_else(Current::none, |metadata| Current::new(Id::from_u64(id), metadata))
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, nanoseconds)
}

fn nanoseconds(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Writes fields down as attributes.
struct Fields<'a>(&'a mut Finished);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        let attributes = &mut self.0.attributes;
        attributes.retain(|(key, _)| key != field.name());
        if attributes.len() < MAX_ATTRIBUTES {
            attributes.push((Cow::Borrowed(field.name()), value));
        }
    }
}

impl Visit for Fields<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, Value::Int(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, Value::Int(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            NAME => self.0.name = Cow::Owned(value.to_owned()),
            KIND if value == "server" => self.0.kind = Kind::Server,
            KIND => {}
            name => {
                self.0.is_failed |= name == ERROR;
                self.put(field, Value::text(value));
            }
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
#[path = "recorder_tests.rs"]
mod tests;
