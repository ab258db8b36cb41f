//! One client of the MCP server: what it is told about the server, and what becomes of its calls.

use super::{
    answer,
    progress::{Reporter, Teller},
    tools::{self, Call},
};
use crate::App;
use agentkernel_model::{Result, text::printable};
use agentkernel_trace::{Context, adopt};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest, CustomResult, ErrorCode,
        Implementation, ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool,
    },
    service::RequestContext,
};
use std::{pin::pin, sync::Arc, time::Duration};
use tracing::{Instrument as _, Span, field::Empty};

/// What an agent reads before it sees the tools.
const INSTRUCTIONS: &str = "\
agentkernel runs commands in isolated sandboxes on this machine. Use sandbox_run for code or commands that are not trusted \
or should not touch this machine: each call has a fresh sandbox that is gone afterwards. To keep files and processes between \
commands, make a sandbox with sandbox_create, use sandbox_exec in it as often as needed, and remove it with sandbox_remove. \
With cwd a sandbox has a view of a project at /workspace; what is written there never reaches the project. Commands are \
lists of words; for a shell line write [\"sh\", \"-c\", \"LINE\"].";

/// The methods that the protocol has and this server does not need; their parameters are rmcp's to read.
const KNOWN_METHODS: [&str; 4] = ["initialize", "ping", "tools/call", "tools/list"];

/// How long an answer waits for news that a client is being told: it comes behind them.
const LAST_WORD: Duration = Duration::from_millis(500);

#[derive(Debug, Clone)]
pub(super) struct Handler {
    app: Arc<App>,
}

impl Handler {
    pub(super) const fn new(app: Arc<App>) -> Self {
        Self { app }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let about = Implementation::new("agentkernel", env!("CARGO_PKG_VERSION"))
            .with_title("agentkernel")
            .with_description("Runs commands and coding agents in isolated sandboxes");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(about)
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all().to_vec()))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all().iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        params: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = tools::find(&params.name) else {
            let what =
                format!("unknown tool '{}': tools/list has those that there are", printable(&params.name));
            return Err(ErrorData::invalid_params(what, None));
        };
        let (reporter, teller) = Reporter::new(context.meta.get_progress_token(), &context.peer);
        let call =
            Call { app: Arc::clone(&self.app), arguments: params.arguments.unwrap_or_default(), reporter };
        let work = self.app.calls.track(tool.call(call).instrument(span(&params.name, &context)));
        tokio::select! {
            result = told(work, teller) => Ok(result.into()),
            // Dropping the work ends its command. The client reads no answer any more.
            () = context.ct.cancelled() => {
                Err(ErrorData::internal_error("the call was cancelled", None))
            }
        }
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        let method = printable(&request.method);
        if KNOWN_METHODS.contains(&request.method.as_str()) {
            let what = format!("the parameters of {method} are not those that the protocol has");
            return Err(ErrorData::invalid_params(what, None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("there is no method {method}"), None))
    }
}

/// A span of the call, below that of whoever made it. A client's connection carries many calls, so the request that this one
/// came with need not be around it.
fn span(tool: &str, context: &RequestContext<RoleServer>) -> Span {
    let span = tracing::info_span!("call", otel.name = Empty, otel.kind = "server");
    if !span.is_disabled() {
        // A known one: names that callers make up are refused before.
        span.record("otel.name", format!("tools/call {tool}"));
        let parent = context.meta.get("traceparent").and_then(|value| Context::parse(value.as_str()?));
        if let Some(parent) = parent {
            adopt(&span, parent);
        }
    }
    span
}

/// The result of `work`, behind everything that the client is told of its progress.
async fn told(
    work: impl Future<Output = Result<answer::Answer>>,
    mut teller: Option<Teller>,
) -> CallToolResult {
    let mut work = pin!(work);
    let answer = loop {
        let Some(teller) = &mut teller else { break work.await };
        tokio::select! {
            answer = &mut work => break answer,
            () = teller.ready() => {}
        }
        let mut telling = pin!(teller.tell());
        tokio::select! {
            () = &mut telling => {}
            answer = &mut work => {
                // Nothing is written any more for a client whose last word was read.
                let _ = tokio::time::timeout(LAST_WORD, telling).await;
                break answer;
            }
        }
    };
    match answer {
        Ok(answer) => answer.into(),
        Err(error) => answer::of_error(&error),
    }
}
