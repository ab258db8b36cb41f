//! Every route for the OpenAPI document, in the order of the router. A test sees that none is missing.

use super::{
    activity, benchmark, config, detached, exec, files, images, meta, records, run, sandboxes, secrets,
};
use crate::{
    execution::CommandReport,
    http::openapi::{
        Operation,
        shapes::{
            self, AgentReport, BenchmarkReport, DetachedInfo, FileList, Freed, GcReport, ImageRow, LogEvent,
            SandboxInfo,
        },
    },
};
use serde_json::json;

/// See the module.
pub(super) fn operations() -> Vec<Operation> {
    let groups = [
        about_the_server(),
        commands(),
        named_sandboxes(),
        detached_commands(),
        files_inside(),
        what_it_keeps(),
    ];
    groups.into_iter().flatten().collect()
}

fn about_the_server() -> Vec<Operation> {
    const TAG: &str = "server";
    vec![
        Operation::get("/health", TAG, "Whether it serves; the only route that needs no key").open(),
        Operation::get("/openapi.json", TAG, "This document").gives_document(),
        Operation::get("/status", TAG, "Which version, and on which backend").gives::<meta::StatusData>(),
        Operation::get("/stats", TAG, "How much there is, and how busy the machine is")
            .gives::<meta::StatsData>(),
        Operation::get("/metrics", TAG, "What the server counts, in the text form of Prometheus")
            .gives_text("application/openmetrics-text"),
        Operation::post("/gc", TAG, "Removes sandboxes that have expired, and what is left of others")
            .gives::<GcReport>(),
        Operation::get("/backends", TAG, "Which backends there are, and whether they work")
            .gives::<records::BackendsData>(),
        Operation::get("/doctor", TAG, "What is wrong with this machine").gives::<records::DoctorData>(),
        Operation::get("/events", TAG, "What happens to sandboxes, as it happens")
            .asks("sandbox", shapes::sandbox_name(), "Only what happens to this one")
            .gives_events("Events such as sandbox.created; Last-Event-ID goes on where a listener was"),
        Operation::get(
            "/agents",
            TAG,
            "Which coding agents are on this machine, and whether they have a key",
        )
        .gives_many::<AgentReport>(),
        last(Operation::get("/audit", TAG, "The newest events, the oldest of them first"))
            .gives_many::<LogEvent>(),
    ]
}

fn last(operation: Operation) -> Operation {
    let schema = json!({"type": "integer", "minimum": 1, "maximum": 10_000, "default": 100});
    operation.asks("last", schema, "How many")
}

fn of_connections(operation: Operation) -> Operation {
    last(operation).asks("blocked", json!({"type": "boolean", "default": false}), "Only what was blocked")
}

fn commands() -> Vec<Operation> {
    const TAG: &str = "commands";
    let hello = || json!({"command": ["echo", "hello"], "image": "host"});
    vec![
        Operation::post("/run", TAG, "Runs a command in a sandbox of its own")
            .takes::<run::RunBody>(hello())
            .gives::<run::RunData>()
            .may_fail_with::<run::RunData>(),
        Operation::post("/run/stream", TAG, "The same, with its output as it is made")
            .takes::<run::RunBody>(hello())
            .gives_events("Events: started, output, done; error where it did not come to its end"),
        Operation::post("/batch/run", TAG, "Runs many commands, each in a sandbox of its own")
            .takes::<run::BatchBody>(json!({"commands": [hello()]}))
            .gives::<run::BatchData>(),
        Operation::post("/benchmark", TAG, "Measures the life of sandboxes on backends")
            .takes::<benchmark::BenchmarkBody>(json!({"iterations": 1, "warmup": 0}))
            .gives::<BenchmarkReport>(),
    ]
}

fn named_sandboxes() -> Vec<Operation> {
    const TAG: &str = "sandboxes";
    let labels = json!({"type": "array", "items": {"type": "string", "pattern": "^[A-Za-z0-9._-]+:[A-Za-z0-9._/-]+$"}});
    vec![
        Operation::get("/sandboxes", TAG, "All sandboxes, or those that a condition holds for")
            .asks("label", labels, "KEY:VALUE; all that are given must hold")
            .asks(
                "project",
                json!({"type": "string"}),
                "Names that are this one, or begin with it and a dash",
            )
            .gives_many::<SandboxInfo>(),
        Operation::post("/sandboxes", TAG, "Makes a sandbox and starts it")
            .takes::<sandboxes::CreateBody>(
                json!({"name": "my-sandbox", "image": "host", "labels": {"env": "prod"}}),
            )
            .gives::<SandboxInfo>()
            .creates(),
        Operation::post("/sandboxes/import-config", TAG, "Makes a sandbox from an agentkernel.toml")
            .takes::<config::ImportBody>(
                json!({"config": "[sandbox]\nname = \"imported\"\nbase_image = \"host\"\n"}),
            )
            .gives::<SandboxInfo>()
            .creates(),
        Operation::get("/sandboxes/{name}", TAG, "One sandbox").gives::<SandboxInfo>(),
        Operation::get("/sandboxes/by-uuid/{uuid}", TAG, "One sandbox by its id").gives::<SandboxInfo>(),
        Operation::patch("/sandboxes/{name}", TAG, "Changes labels and description")
            .takes::<sandboxes::UpdateBody>(json!({"labels": {"env": "test"}, "description": null}))
            .gives::<SandboxInfo>(),
        Operation::post("/sandboxes/{name}/extend", TAG, "Lets it live longer")
            .takes::<sandboxes::ExtendBody>(json!({"by": "1h"}))
            .gives::<sandboxes::ExtendData>(),
        Operation::post("/sandboxes/{name}/resize", TAG, "Gives it other limits, also while it runs")
            .takes::<sandboxes::ResizeBody>(json!({"vcpus": 2, "memory_mb": 1024}))
            .gives::<SandboxInfo>(),
        Operation::post("/sandboxes/{name}/recover", TAG, "Starts it again when it was lost")
            .gives::<SandboxInfo>(),
        Operation::delete("/sandboxes/{name}", TAG, "Stops and removes it"),
        Operation::get("/sandboxes/{name}/config", TAG, "An agentkernel.toml that makes it again")
            .gives::<config::ConfigData>(),
        Operation::post("/sandboxes/{name}/config", TAG, "Makes it from an agentkernel.toml")
            .takes::<config::NamedImportBody>(json!({"config": "[sandbox]\nbase_image = \"host\"\n"}))
            .gives::<SandboxInfo>()
            .creates(),
        last(Operation::get("/sandboxes/{name}/logs", TAG, "The newest events of it"))
            .gives_many::<LogEvent>(),
        Operation::get("/sandboxes/{name}/stats", TAG, "What it uses now; conflict when it does not run")
            .gives::<activity::UsageData>(),
        of_connections(Operation::get(
            "/sandboxes/{name}/connections",
            TAG,
            "The newest of what it did outside, the oldest of them first",
        ))
        .gives_many::<LogEvent>(),
        of_connections(Operation::get(
            "/sandboxes/{name}/connections/stream",
            TAG,
            "The same, and what it does until it ends, as it happens",
        ))
        .gives_events("Events: connection; error when the log cannot be read any more"),
        Operation::post("/sandboxes/{name}/start", TAG, "Starts it; one that runs goes on")
            .gives::<SandboxInfo>(),
        Operation::post("/sandboxes/{name}/stop", TAG, "Stops it; its disk stays").gives::<SandboxInfo>(),
        Operation::post("/sandboxes/{name}/exec", TAG, "Runs a command in it")
            .takes::<exec::ExecBody>(json!({"command": ["echo", "hello"]}))
            .gives::<CommandReport>()
            .may_fail_with::<CommandReport>(),
    ]
}

fn detached_commands() -> Vec<Operation> {
    const TAG: &str = "detached commands";
    let stream = json!({"type": "string", "enum": ["stdout", "stderr"]});
    vec![
        Operation::post("/sandboxes/{name}/exec/detach", TAG, "Begins a command that goes on by itself")
            .takes::<exec::ExecBody>(json!({"command": ["sleep", "1"]}))
            .gives::<DetachedInfo>(),
        Operation::get("/sandboxes/{name}/exec/detached", TAG, "All of them").gives_many::<DetachedInfo>(),
        Operation::get("/sandboxes/{name}/exec/detached/{id}", TAG, "How one fares").gives::<DetachedInfo>(),
        Operation::delete("/sandboxes/{name}/exec/detached/{id}", TAG, "Kills it"),
        Operation::get(
            "/sandboxes/{name}/exec/detached/{id}/logs",
            TAG,
            "What it wrote, and with follow what it writes",
        )
        .asks("stream", stream, "Which; stdout without it, and both where it is followed")
        .asks(
            "follow",
            json!({"type": "boolean", "default": false}),
            "Whether it is told as events, until the end of the command",
        )
        .gives::<detached::LogsData>()
        .or_gives_events(),
    ]
}

fn files_inside() -> Vec<Operation> {
    const TAG: &str = "files";
    vec![
        Operation::get("/sandboxes/{name}/files", TAG, "What is in a directory")
            .asks("path", json!({"type": "string", "default": "/"}), "The directory")
            .gives::<FileList>(),
        Operation::post("/sandboxes/{name}/files", TAG, "Writes several files of text")
            .takes::<files::FilesBody>(json!({"files": {"/tmp/a.txt": "text"}}))
            .gives::<files::FilesData>(),
        Operation::get("/sandboxes/{name}/files/{*path}", TAG, "A small file").gives::<files::FileData>(),
        Operation::put("/sandboxes/{name}/files/{*path}", TAG, "Writes a small file")
            .takes::<files::FileBody>(json!({"content": "text", "encoding": "utf8"})),
        Operation::delete("/sandboxes/{name}/files/{*path}", TAG, "Removes a file or a link"),
        Operation::get("/sandboxes/{name}/raw/{*path}", TAG, "A file as it is, however long").gives_bytes(),
        Operation::put("/sandboxes/{name}/raw/{*path}", TAG, "Writes a file, however long")
            .takes_bytes()
            .gives::<files::UploadData>(),
    ]
}

fn what_it_keeps() -> Vec<Operation> {
    const TAG: &str = "images and secrets";
    vec![
        Operation::get("/images", TAG, "The images on this machine").gives_many::<ImageRow>(),
        Operation::get("/images/usage", TAG, "How much they take, and what a prune would free")
            .gives::<images::UsageData>(),
        Operation::post("/images/pull", TAG, "Pulls an image from its registry")
            .takes::<images::PullBody>(json!({"image": "alpine:3.20"}))
            .gives::<images::PullData>(),
        Operation::post("/images/prune", TAG, "Removes images that nothing needs")
            .takes::<images::PruneBody>(json!({"dry_run": true}))
            .gives::<Freed>(),
        Operation::get("/secrets", TAG, "The secrets of the vault, without their values")
            .gives_many::<secrets::SecretData>(),
        Operation::post("/secrets", TAG, "Keeps a secret")
            .takes::<secrets::SecretBody>(
                json!({"name": "MY_KEY", "value": "v", "hosts": ["api.example.com"]}),
            )
            .creates(),
        Operation::delete("/secrets/{name}", TAG, "Forgets a secret"),
    ]
}

#[cfg(test)]
#[path = "described_tests.rs"]
mod tests;
