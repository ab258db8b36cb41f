//! Every request is counted, and written down where somebody wants that. Those that are let in are spans of a trace.

use super::guard::Known;
use crate::{App, access::Access};
use agentkernel_model::text::printable;
use agentkernel_trace::{Context, adopt};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method},
    middleware::Next,
    response::Response,
};
use std::{sync::Arc, time::Instant};
use tracing::{Instrument as _, Span, field::Empty};

/// Those that are counted by name.
const METHODS: [Method; 7] =
    [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];

/// Methods and paths that callers make up would be remembered for ever.
fn counted(method: &Method) -> &str {
    if METHODS.contains(method) { method.as_str() } else { "other" }
}

fn route(request: &Request) -> Option<String> {
    request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned())
}

/// A span of the request, below that of whoever sent it. Of the path it has what is not the caller's.
fn span(method: &str, route: Option<&str>, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        "request",
        otel.name = Empty,
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        error.type = Empty,
    );
    if !span.is_disabled() {
        span.record("otel.name", format!("{method} {}", route.unwrap_or_default()).trim_end());
        let parent = headers.get("traceparent").and_then(|value| Context::parse(value.to_str().ok()?));
        if let Some(parent) = parent {
            adopt(&span, parent);
        }
    }
    span
}

pub(super) async fn watch(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let method = request.method().clone();
    let route = route(&request);
    let path = app.options.access_log.as_ref().map(|_| printable(request.uri().path()));
    let counted = counted(&method);
    let response = next.run(request).await;
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    app.metrics.answered(counted, route.as_deref().unwrap_or("none"), status, took);
    if let (Some(log), Some(path)) = (&app.options.access_log, path) {
        log.write(&Access { method: counted, path, status, took });
    }
    response
}

/// Behind the guard: whom that does not know makes no spans here, and says nothing about whose they are.
pub(super) async fn trace(request: Request, next: Next) -> Response {
    if request.extensions().get::<Known>().is_none() {
        return next.run(request).await;
    }
    let span = span(counted(request.method()), route(&request).as_deref(), request.headers());
    let response = next.run(request).instrument(span.clone()).await;
    let status = response.status().as_u16();
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("error.type", status.to_string());
    }
    response
}
