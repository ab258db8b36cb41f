//! The document is that of the routes, and the one that is committed.

use super::*;
use crate::http::openapi;
use std::collections::BTreeSet;

const ROUTER: &str = include_str!("mod.rs");
const COMMITTED: &str = include_str!("../../../../../docs/openapi.json");
/// Rewrites the committed document.
const WRITE: &str = "AGENTKERNEL_WRITE_OPENAPI";

/// `METHOD path` of every `.route("path", method(…).method(…))` of the router.
fn routed() -> BTreeSet<String> {
    const METHODS: [&str; 6] = ["get", "post", "put", "patch", "delete", "any"];
    let routes = ROUTER.split(".route(").skip(1).map(|rest| {
        let mut parts = rest.splitn(3, '"');
        let path = parts.nth(1).unwrap();
        let handlers = parts.next().unwrap().split("\n        .").next().unwrap();
        let of = |method: &&&str| handlers.split(|c: char| !c.is_alphanumeric()).any(|word| word == **method);
        let methods: Vec<&&str> = METHODS.iter().filter(of).collect();
        if methods.is_empty() {
            // A service of its own, such as that of MCP.
            return vec![format!("all {path}")];
        }
        methods.into_iter().map(|method| format!("{method} {path}")).collect::<Vec<_>>()
    });
    routes.flatten().collect()
}

/// What OpenAPI has no words for. MCP describes itself, and docs/websocket.md a command over a WebSocket.
const UNDESCRIBED: [&str; 2] = ["all /mcp", "get /sandboxes/{name}/exec/ws"];

#[test]
fn every_route_is_described() {
    let routed: BTreeSet<String> =
        routed().into_iter().filter(|r| !UNDESCRIBED.contains(&r.as_str())).collect();
    let described = operations().iter().map(|o| format!("{} {}", o.method(), o.path())).collect();
    assert!(routed.contains("post /run") && routed.len() > 20, "{routed:?}");
    assert_eq!(routed, described, "describe the route in described.rs, and in docs/api.md");
}

#[test]
fn the_committed_document_is_this_one() {
    let text = format!("{:#}\n", openapi::document(operations()));
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json"), &text).unwrap();
        return;
    }
    assert!(
        text == COMMITTED,
        "docs/openapi.json is old: {WRITE}=1 cargo test -p agentkernel-server document"
    );
}

#[test]
fn every_reference_leads_to_a_schema() {
    let document = openapi::document(operations());
    let text = document.to_string();
    let names: BTreeSet<&str> =
        text.split("#/components/schemas/").skip(1).map(|t| t.split('"').next().unwrap()).collect();
    assert!(names.contains("SandboxInfo"), "{names:?}");
    for name in names {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
}
