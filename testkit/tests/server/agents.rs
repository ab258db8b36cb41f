//! Sandboxes of callers that suit a coding agent.

use super::world::Server;
use agentkernel_testkit::TestEnv;
use serde_json::json;

/// What the sandbox of a mode says about itself.
const LOOK: &str = "echo $IS_SANDBOX $ANTHROPIC_API_KEY $OPENAI_API_KEY; ls /root/.claude 2>/dev/null; true";

/// A server whose owner has a key for one agent in the vault, one for another in its environment, and instructions at home.
fn furnished(env: &TestEnv) -> Server {
    env.agentkernel(&["secret", "set", "ANTHROPIC_API_KEY", "--host", "api.anthropic.com"])
        .input("sk-of-the-owner")
        .run()
        .ok();
    env.directory("home/.claude");
    env.file("home/.claude/CLAUDE.md", "of the owner");
    Server::with_variables(env, &[], &[("OPENAI_API_KEY", "sk-of-the-server")])
}

#[test]
fn an_agent_gets_its_service_and_the_key_of_the_vault() {
    let env = TestEnv::new();
    let server = furnished(&env);
    server.post("/sandboxes", &json!({"name": "box", "image": "host", "agent": "claude"})).data(201);
    let spec = server.get("/sandboxes/box").data(200)["spec"].take();
    let policy = &spec["policy"];
    assert_eq!(
        policy["network"]["rules"],
        json!({"rules": ["allow api.anthropic.com:443"], "otherwise": "deny"}),
        "{spec}"
    );
    assert_eq!(policy["limits"]["memory"], json!({"default": 2048_u64 * 1024 * 1024}), "{spec}");
    assert_eq!((&policy["profile"], &policy["mounts"]), (&json!("moderate"), &json!([])), "{spec}");
    // A placeholder inside; and nothing of the owner's home.
    let look = json!({"command": ["sh", "-c", LOOK]});
    let seen = server.post("/sandboxes/box/exec", &look).data(200);
    assert_eq!(seen["stdout"], "1 ak-proxy-managed\n", "{seen}");
    // Its key is looked up again.
    server.post("/sandboxes/box/stop", &json!({})).data(200);
    server.post("/sandboxes/box/start", &json!({})).data(200);
    assert_eq!(server.post("/sandboxes/box/exec", &look).data(200)["stdout"], "1 ak-proxy-managed\n");
    server.delete("/sandboxes/box").data(200);
    server.end(&env);
}

#[test]
fn an_agent_gets_nothing_of_the_server_s_environment() {
    let env = TestEnv::new();
    let server = furnished(&env);
    let run = json!({"command": ["sh", "-c", LOOK], "image": "host", "agent": "codex"});
    let ran = server.post("/run", &run).data(200);
    assert_eq!(ran["stdout"], "\n", "{ran}");
    assert!(ran["notes"].to_string().contains("no key of Codex"), "{ran}");
    // What the caller wrote wins.
    let run = json!({"command": ["sh", "-c", LOOK], "image": "host", "agent": "claude", "env": ["IS_SANDBOX=no"], "network": false});
    let ran = server.post("/run", &run).data(200);
    assert_eq!(ran["stdout"], "no\n", "{ran}");
    assert!(ran["notes"].to_string().contains("without a network"), "{ran}");
    server.end(&env);
}

#[test]
fn a_configuration_says_which_agent() {
    let env = TestEnv::new();
    let server = furnished(&env);
    for (name, mode, seen) in [
        ("one", "compatibility_mode = \"claude\"", "1 ak-proxy-managed\n"),
        ("two", "preferred = \"claude\"", "\n"),
    ] {
        let config = format!("[sandbox]\nname = \"{name}\"\nbase_image = \"host\"\n[agent]\n{mode}\n");
        server.post("/sandboxes/import-config", &json!({"config": config, "start": true})).data(201);
        let look = json!({"command": ["sh", "-c", LOOK]});
        assert_eq!(server.post(&format!("/sandboxes/{name}/exec"), &look).data(200)["stdout"], seen);
        server.delete(&format!("/sandboxes/{name}")).data(200);
    }
    let unknown = json!({"name": "box", "image": "host", "agent": "cluade"});
    let told = server.post("/sandboxes", &unknown).fails(400, &["agent", "cluade"]);
    assert!(told["hint"].as_str().unwrap().contains("claude"), "{told}");
    server.end(&env);
}
