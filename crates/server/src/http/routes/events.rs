//! `GET /events`: what happens to sandboxes, as it happens.

use crate::{
    App,
    events::{Happening, Listening},
    http::{body::Search, envelope::Failure},
};
use agentkernel_model::name::SandboxName;
use axum::{
    extract::State,
    http::HeaderMap,
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::{StreamExt as _, future, stream};
use serde::Deserialize;
use std::{collections::HashSet, convert::Infallible, sync::Arc};
use tokio::sync::broadcast::Receiver;

/// Which events.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EventsQuery {
    #[serde(default)]
    sandbox: Option<SandboxName>,
}

/// The stream ends when a listener is too slow; with `Last-Event-ID` it goes on where it was.
pub(super) async fn events(
    State(app): State<Arc<App>>,
    Search(query): Search<EventsQuery>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let after = headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    let events = Arc::clone(&app.events);
    let Listening { before, coming } =
        app.blocking(move |engine| events.listen(engine, after.as_deref())).await?;
    let told: HashSet<String> = before.iter().map(|happening| happening.id.clone()).collect();
    let new = stream::unfold(coming, next).filter(move |one| future::ready(!told.contains(&one.id)));
    let wanted = move |one: &Arc<Happening>| {
        let of = one.data.sandbox.as_deref();
        query.sandbox.as_ref().is_none_or(|name| of == Some(name.as_str()))
    };
    let all = stream::iter(before).chain(new).filter(move |one| future::ready(wanted(one)));
    let events = all.map(|one| {
        let event = Event::default().id(&one.id).event(&one.name);
        Ok::<_, Infallible>(event.json_data(&one.data).unwrap_or_default())
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

async fn next(mut coming: Receiver<Arc<Happening>>) -> Option<(Arc<Happening>, Receiver<Arc<Happening>>)> {
    coming.recv().await.ok().map(|happening| (happening, coming))
}
