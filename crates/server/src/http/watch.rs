//! Every request is counted, and written down where somebody wants that.

use crate::{App, access::Access};
use agentkernel_model::text::printable;
use axum::{
    extract::{MatchedPath, Request, State},
    http::Method,
    middleware::Next,
    response::Response,
};
use std::{sync::Arc, time::Instant};

/// Those that are counted by name.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

pub(super) async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = app.options.access_log.as_ref().map(|_| printable(request.uri().path()));
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    // Methods and paths that callers make up would be remembered for ever.
    let known = METHODS.contains(&method);
    let counted = if known { method.as_str() } else { "other" };
    app.metrics.answered(counted, route.as_deref().unwrap_or("none"), status, took);
    if let (Some(log), Some(path)) = (&app.options.access_log, path) {
        log.write(&Access { method: counted, path, status, took });
    }
    response
}
