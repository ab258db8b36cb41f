//! The protocol over HTTP: `/mcp`, "streamable HTTP" of the specification.

use super::handler::Handler;
use crate::{App, http::envelope::Failure};
use axum::{
    body::Body,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, any},
};
use rmcp::transport::streamable_http_server::{
    StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
};
use std::sync::Arc;

/// How many clients may have a session at the same time. One that says nothing for five minutes has none any more.
const MAX_SESSIONS: usize = 1024;
/// Names the session of a request.
const SESSION_HEADER: &str = "mcp-session-id";

/// All clients over HTTP.
#[derive(Clone)]
pub(crate) struct Sessions {
    service: StreamableHttpService<Handler, LocalSessionManager>,
    manager: Arc<LocalSessionManager>,
}

impl Sessions {
    pub(crate) fn new(app: &Arc<App>) -> Self {
        let manager = Arc::new(LocalSessionManager::default());
        // Whom Host and Origin name, the guard of all routes has looked at.
        let mut config = StreamableHttpServerConfig::default().disable_allowed_hosts();
        config.cancellation_token = app.calls.ending();
        config.max_request_body_bytes = app.options.limits.body;
        let handler = Handler::new(Arc::clone(app));
        let service = StreamableHttpService::new(move || Ok(handler.clone()), Arc::clone(&manager), config);
        Self { service, manager }
    }

    async fn is_full(&self) -> bool {
        self.manager.sessions.read().await.len() >= MAX_SESSIONS
    }
}

/// What answers `/mcp`.
pub(crate) fn route<S: Clone + Send + Sync + 'static>(app: &Arc<App>) -> MethodRouter<S> {
    any(answer).with_state(Sessions::new(app))
}

async fn answer(State(sessions): State<Sessions>, request: Request) -> Response {
    if !request.headers().contains_key(SESSION_HEADER) && sessions.is_full().await {
        let failure = Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "busy",
            "as many MCP clients have a session as this server lets have one",
        );
        return failure.with_hint("try again in a few minutes").into_response();
    }
    sessions.service.handle(request).await.map(Body::new)
}
