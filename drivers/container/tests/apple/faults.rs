//! A `container` that is missing, fails, hangs or talks nonsense.

use super::site::{Site, sh, spec};
use agentkernel_backend::{Health, Host, Surroundings};
use agentkernel_model::{Kind, spec::Lifetime};

#[tokio::test]
async fn one_that_works_is_healthy() {
    let site = Site::new();
    let Health::Healthy { attributes } = site.backend.probe().await else { panic!("not healthy") };
    assert!(attributes["version"].contains("1.2.2"), "{attributes:?}");
    site.backend.reach().await.unwrap();
    assert_eq!(site.calls("run"), Vec::<Vec<String>>::new(), "a probe starts nothing");
}

#[tokio::test]
async fn a_service_that_is_not_started_says_how_to_start_it() {
    let site = Site::new();
    for how in ["not running", "unregistered", "garbage", "fail:XPC connection error"] {
        site.fault("system status", how);
        let Health::Unhealthy { reason, hint } = site.backend.probe().await else { panic!("{how}") };
        assert!(!reason.contains('\u{1b}'), "{reason}");
        assert!(hint.contains("container system"), "{hint}");
        assert_eq!(site.backend.reach().await.unwrap_err().kind(), Kind::Unavailable);
    }
}

#[tokio::test]
async fn one_that_is_not_there_is_not_detected() {
    let place = tempfile::tempdir().unwrap();
    let host = Host {
        data: place.path().to_owned(),
        exe: "/nowhere".into(),
        uid: 0,
        gid: 0,
        login: String::new(),
        surroundings: Surroundings::default(),
    };
    let backend = (agentkernel_container::APPLE.build)(&host).unwrap();
    assert!(matches!(backend.probe().await, Health::Undetected { .. }));
    assert_eq!(backend.reach().await.unwrap_err().kind(), Kind::NotFound);
    // Nobody need ask it where nothing was ever made.
    assert!(backend.list_owned().await.unwrap().is_empty());
    assert_eq!(backend.prune().await.unwrap(), 0);
    backend.destroy(agentkernel_model::id::SandboxId::new(), None).await.unwrap();
}

#[tokio::test]
async fn whatever_fails_leaves_nothing() {
    let site = Site::new();
    for (command, how, kind) in [
        ("image load", "fail:no space left", Kind::Internal),
        ("image list", "garbage", Kind::Unavailable),
        ("create", "fail:\u{1b}[2Jno kernel", Kind::Internal),
    ] {
        site.fault(command, how);
        let inputs = site.inputs(&spec(Lifetime::Named));
        let place = site.path("data/sandboxes").join(inputs.id.to_string()).join("container");
        let error = site.backend.create(inputs).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{command}: {error}");
        assert!(!error.to_string().contains('\u{1b}'), "{error}");
        assert!(site.containers().is_empty() && !place.exists(), "{command}");
    }
    for (command, how) in
        [("run", "fail:no kernel"), ("run", "garbage"), ("exec", "fail:no such"), ("exec", "garbage")]
    {
        site.fault(command, how);
        let inputs = site.inputs(&spec(Lifetime::Ephemeral));
        let error = site.backend.run_once(inputs, &sh("true"), None).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Internal, "{command} {how}: {error}");
        assert!(error.message().contains(&format!("container {command}")), "{error}");
        assert!(site.containers().is_empty(), "{command}");
        assert_eq!(std::fs::read_dir(site.path("data/containers")).unwrap().count(), 0, "{command}");
    }
}

#[tokio::test]
async fn a_start_that_fails_leaves_it_stopped_and_as_it_was() {
    let site = Site::new();
    let wanted = spec(Lifetime::Named);
    let inputs = site.inputs(&wanted);
    let id = inputs.id;
    let state = site.backend.create(inputs).await.unwrap();
    let again = || agentkernel_backend::CreateInputs { id, ..site.inputs(&wanted) };
    site.fault("start", "fail:no memory for a machine");
    let error = site.backend.start(again(), &state, None).await.unwrap_err();
    assert!(error.message().contains("no memory for a machine"), "{error}");
    assert!(site.backend.attach(id, &state).await.unwrap().is_none());
    site.fault("start", "");
    let (state, sandbox) = site.backend.start(again(), &state, None).await.unwrap();
    drop(sandbox);
    site.backend.destroy(id, Some(&state)).await.unwrap();
    assert!(site.containers().is_empty());
}

#[tokio::test]
async fn a_removal_that_fails_says_so_and_can_be_repeated() {
    let site = Site::new();
    let up = site.up(&spec(Lifetime::Named)).await;
    site.fault("delete", "fail:busy");
    let error = site.backend.destroy(up.id, Some(&up.state)).await.unwrap_err();
    assert!(error.message().contains("busy"), "{error}");
    site.fault("delete", "");
    site.destroy(up).await;
}

#[tokio::test]
async fn a_foreign_image_of_the_same_name_is_not_taken() {
    let site = Site::new();
    let run = async || {
        let inputs = site.inputs(&spec(Lifetime::Ephemeral));
        let process = site.backend.run_once(inputs, &sh("true"), None).await.unwrap();
        assert_eq!(process.output(10).await.unwrap().exit.code(), 0);
    };
    run().await;
    let images = site.path("state/images");
    let image = std::fs::read_dir(images).unwrap().next().unwrap().unwrap().path().join("image.json");
    let text = std::fs::read_to_string(&image).unwrap();
    assert!(text.contains("sh.agentkernel.rootfs"));
    std::fs::write(&image, text.replace("sh.agentkernel.rootfs", "something.else")).unwrap();
    run().await;
    let loads = site.calls("image").into_iter().filter(|call| call[1] == "load").count();
    assert_eq!(loads, 2, "it was loaded again");
}
