//! From creation to removal, and what ends with what.

use super::site::{Site, sh, spec};
use agentkernel_backend::CreateInputs;
use agentkernel_model::{Kind, spec::Lifetime};
use serde_json::json;
use std::{fs, time::Duration};

#[tokio::test]
async fn the_disk_survives_a_stop_and_nothing_a_removal() {
    let site = Site::new();
    let wanted = spec(Lifetime::Named);
    let up = site.up(&wanted).await;
    up.prints("echo kept >/kept; echo lost >/tmp/lost").await;
    let state = site.backend.stop(up.id, &up.state, Duration::from_secs(5)).await.unwrap();
    up.sandbox.gone().await;
    assert!(site.backend.attach(up.id, &state).await.unwrap().is_none());
    // Again, and again: all of it is idempotent.
    site.backend.stop(up.id, &state, Duration::ZERO).await.unwrap();
    drop(up.sandbox);
    let inputs = CreateInputs { id: up.id, ..site.inputs(&wanted) };
    let (state, sandbox) = site.backend.start(inputs, &state, None).await.unwrap();
    let up = super::site::Up { id: up.id, state, sandbox };
    assert_eq!(up.prints("cat /kept; ls /tmp").await, "kept\n");
    let other = site.backend.attach(up.id, &up.state).await.unwrap().unwrap();
    let output = other.exec(&sh("cat /kept")).await.unwrap().output(100).await.unwrap();
    assert_eq!(output.stdout, b"kept\n");
    let id = up.id;
    site.destroy(up).await;
    other.gone().await;
    site.backend.destroy(id, None).await.unwrap();
    assert!(site.backend.list_owned().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_stop_lets_commands_finish_within_the_grace() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let script = "trap 'sleep 0.2; echo bye; exit 9' TERM; echo up >/tmp/up; while :; do sleep 0.05; done";
    let process = up.sandbox.exec(&sh(script)).await.unwrap();
    while up.prints("cat /tmp/up 2>/dev/null").await.is_empty() {}
    let (stopped, output) =
        tokio::join!(site.backend.stop(up.id, &up.state, Duration::from_secs(60)), process.output(100));
    stopped.unwrap();
    let output = output.unwrap();
    assert_eq!((output.stdout.as_slice(), output.exit.code()), (&b"bye\n"[..], 9));
    site.destroy(up).await;
}

#[tokio::test]
async fn a_sandbox_ends_with_the_handle_of_its_keeper() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let watcher = site.backend.attach(up.id, &up.state).await.unwrap().unwrap();
    drop(up.sandbox);
    watcher.gone().await;
    while site.backend.attach(up.id, &up.state).await.unwrap().is_some() {}
    site.backend.destroy(up.id, Some(&up.state)).await.unwrap();
    assert!(site.containers().is_empty());
}

#[tokio::test]
async fn who_starts_what_is_kept_gets_the_same_sandbox() {
    let site = Site::new();
    let wanted = spec(Lifetime::Named);
    let up = site.up(&wanted).await;
    let inputs = CreateInputs { id: up.id, ..site.inputs(&wanted) };
    let (_, second) = site.backend.start(inputs, &up.state, None).await.unwrap();
    drop(second);
    assert_eq!(up.prints("echo here").await, "here\n");
    assert_eq!(site.calls("start").len(), 1);
    site.destroy(up).await;
}

#[tokio::test]
async fn a_run_leaves_nothing() {
    let site = Site::new();
    let run = async |script: &str| {
        let inputs = site.inputs(&spec(Lifetime::Ephemeral));
        site.backend.run_once(inputs, &sh(script), None).await
    };
    let output = run("echo once; exit 4").await.unwrap().output(100).await.unwrap();
    assert_eq!((output.stdout.as_slice(), output.exit.code()), (&b"once\n"[..], 4));
    assert!(site.containers().is_empty());
    assert_eq!(fs::read_dir(site.path("data/containers")).unwrap().count(), 0);
    let dropped = run("exec sleep 1000").await.unwrap();
    assert_eq!(site.containers().len(), 1);
    drop(dropped);
    // The task that clears it is not awaited by anybody.
    while !site.containers().is_empty() || fs::read_dir(site.path("data/containers")).unwrap().count() > 0 {
        tokio::task::yield_now().await;
    }
    let inputs = site.inputs(&spec(Lifetime::Ephemeral));
    let missing = super::site::command(&["nosuch"], agentkernel_model::command::Stdio::NoInput);
    let error = site.backend.run_once(inputs, &missing, None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::CommandNotFound);
    assert!(site.containers().is_empty());
    assert_eq!(site.calls("image").iter().filter(|call| call[1] == "load").count(), 1, "the image is kept");
    assert!(site.backend.prune().await.unwrap() > 0);
    assert_eq!(site.backend.prune().await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_not_ours_is_neither_listed_nor_touched() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    let other = agentkernel_model::id::SandboxId::new();
    let owner = "sh.agentkernel.owner";
    site.foreign("web", &json!({}));
    site.foreign(
        &format!("agentkernel-{other}"),
        &json!({ "sh.agentkernel.sandbox": other.to_string(), owner: "else" }),
    );
    // Made from one of ours by somebody, with its labels.
    let list = site.calls("create");
    let mine = list[0].iter().find_map(|word| word.strip_prefix("sh.agentkernel.owner=")).unwrap();
    site.foreign("copy", &json!({ "sh.agentkernel.sandbox": up.id.to_string(), owner: mine }));
    let owned: Vec<_> = site.backend.list_owned().await.unwrap().into_iter().map(|owned| owned.id).collect();
    assert_eq!(owned, [up.id]);
    drop(up.sandbox);
    site.backend.destroy(up.id, None).await.unwrap();
    let mut left = site.containers();
    left.sort();
    assert_eq!(left, [format!("agentkernel-{other}"), "copy".to_owned(), "web".to_owned()]);
}
