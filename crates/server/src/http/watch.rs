//! Every request is counted, and written down where somebody wants that.

use crate::{App, access::Access};
use agentkernel_model::text::printable;
use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use std::{sync::Arc, time::Instant};

pub(super) async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = app.options.access_log.as_ref().map(|_| printable(request.uri().path()));
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    // Methods and paths that there are none of would be counted without end.
    let method = if route.is_some() { method.as_str() } else { "other" };
    app.metrics.answered(method, route.as_deref().unwrap_or("none"), status, took);
    if let (Some(log), Some(path)) = (&app.options.access_log, path) {
        log.write(&Access { method, path, status, took });
    }
    response
}
