//! Answers that are lost: the engine did what it was asked, and nobody heard.

use super::site::{IMAGE, Site};
use crate::ENGINE;
use agentkernel_testkit::engines::Proxy;
use serde_json::json;

/// Loses the answer to the first request with `marked` in it, to `words`; nothing is left once gc has looked.
fn lose(marked: &'static str, words: &[&str]) {
    let Some(mut site) = Site::start() else { return };
    // The engine has the image.
    site.run(&["--", "true"]).run().ok();
    let proxy = Proxy::losing(site.place(), site.socket(), marked).unwrap();
    site.speak_through(proxy.path());
    let failed = site.agentkernel(words).run().code(125);
    assert!(proxy.has_struck(), "{failed}");
    failed.error_with_hint(&["cannot"]);
    assert_eq!(site.list().json(), json!([]));
    site.agentkernel(&["gc"]).run().ok();
    site.await_no_containers();
    site.sandbox("work");
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    site.end();
}

#[test]
fn of_a_creation_for_a_run() {
    lose("containers/create", &["run", "-B", ENGINE.name, "-i", IMAGE, "--no-workspace", "--", "true"]);
}

#[test]
fn of_a_creation_for_a_sandbox() {
    lose("containers/create", &["sandbox", "create", "work", "-B", ENGINE.name, "-i", IMAGE]);
}
