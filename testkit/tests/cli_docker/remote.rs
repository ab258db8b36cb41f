//! An engine that cannot be shown this machine's files: what is the same there, what is refused, and who may be one.

use super::site::{DEADLINE, IMAGE, LABEL, Site};
use agentkernel_testkit::sshd::Sshd;
use std::{
    fs,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    time::Instant,
};

/// The label of what brings the agent there.
const AGENT: &str = "sh.agentkernel.agent";

/// The volumes with the agent's files.
fn agents(site: &Site) -> Vec<String> {
    let volumes = site.api().volumes().unwrap();
    volumes.into_iter().filter(|name| name.starts_with("agentkernel-agent-")).collect()
}

/// Removes what is kept for the next time, and ends the site.
fn end(site: Site) {
    site.agentkernel(&["clean", "--all", "--force"]).run().ok();
    site.end();
}

#[test]
fn the_project_goes_there_and_nothing_comes_back() {
    let Some(site) = Site::over_tls() else { return };
    let project = site.env.project();
    fs::write(project.join("file"), "of the project").unwrap();
    let script = "cat file; cat >new; touch file; echo e >&2; exit 3";
    let words = ["run", "-B", "docker", "-i", IMAGE, "--", "sh", "-c", script];
    let ran = site.agentkernel(&words).input("typed").run().code(3);
    ran.prints("of the project");
    assert!(!project.join("new").exists(), "it is a copy");
    // Everything is gone but what the next run needs.
    site.await_no_containers();
    assert_eq!(agents(&site).len(), 1);
    site.agentkernel(&["gc"]).run().ok();
    assert_eq!(agents(&site).len(), 1, "this build's agent is kept");
    site.agentkernel(&["clean", "--all", "--force"]).run().ok();
    assert_eq!(agents(&site), Vec::<String>::new());
    site.end();
}

#[test]
fn what_another_machine_loaded_there_is_not_cleaned() {
    let Some(site) = Site::over_tls() else { return };
    site.run(&["--", "true"]).run().ok();
    site.await_no_containers();
    let theirs = site.copies();
    assert_eq!(theirs.len(), 1, "{:?}", site.images());
    // Another machine's data directory, which has used the engine too.
    let other = site.env.directory("other");
    let known = other.join("agentkernel/engines");
    fs::create_dir_all(&known).unwrap();
    fs::write(known.join("docker.used"), "").unwrap();
    site.agentkernel(&["clean", "--all", "--force"]).env("XDG_DATA_HOME", &other).run().ok();
    assert_eq!((site.copies(), agents(&site).len()), (theirs, 1));
    site.agentkernel(&["clean", "--all", "--force"]).run().ok();
    assert_eq!((site.copies(), agents(&site).len()), (Vec::new(), 0));
    site.end();
}

#[test]
fn a_sandbox_there_keeps_its_disk_and_has_ports() {
    let Some(site) = Site::over_tls() else { return };
    let create = ["sandbox", "create", "work", "-B", "docker", "-i", IMAGE, "--publish", "0:80"];
    site.agentkernel(&create).run().ok();
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    let serve = "echo kept >/root/mark; cat /proc/1/cmdline | tr '\\0' ' '; httpd -p 80 -h /root";
    let said = site.agentkernel(&["exec", "work", "--", "sh", "-c", serve]).run().ok().out();
    assert!(said.contains("sandbox-agent streams"), "{said}");
    // Its root, and no file of this machine's.
    let write = "echo x >/.agentkernel/bin/agentkernel";
    site.agentkernel(&["exec", "work", "--", "sh", "-c", write]).run().code(1);
    let listed = site.list().json();
    let port: u16 = listed[0]["ports"][0]["host"].as_u64().unwrap_or_default().try_into().unwrap();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.write_all(b"GET /mark HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("kept\n"), "{answer}");
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    site.agentkernel(&["exec", "work", "--", "cat", "/root/mark"]).run().ok().prints("kept\n");
    // While a container has it, it stays.
    site.agentkernel(&["clean", "--all", "--force"]).run();
    site.agentkernel(&["sandbox", "remove", "work"]).run();
    end(site);
}

#[test]
fn what_would_take_this_machines_files_is_refused() {
    let Some(site) = Site::over_tls() else { return };
    let data = site.env.directory("mine");
    let mount = format!("{}:/data", data.display());
    let refused = |words: &[&str], said: &[&str]| {
        let all = [&["run", "-B", "docker"], words, &["--", "true"]].concat();
        site.agentkernel(&all).run().code(125).error_with_hint(said);
    };
    refused(&["-i", IMAGE, "--volume", &mount], &["mounts of host directories"]);
    refused(&["-i", IMAGE, "--allow", "udp:192.0.2.1:123"], &["UDP", "tcp://"]);
    refused(&["--image", "host"], &["'host'", "tcp://"]);
    let dir = ["sandbox", "create", "w", "-B", "docker", "-i", IMAGE, "--dir", data.to_str().unwrap()];
    site.agentkernel(&dir).run().code(125).error_with_hint(&["/workspace"]);
    assert_eq!(site.containers(), Vec::<String>::new());
    end(site);
}

#[test]
fn two_that_bring_the_agent_at_once_bring_one() {
    let Some(site) = Site::over_tls() else { return };
    let live: Vec<_> = (0..3).map(|_| site.run(&["--", "echo", "x"]).start()).collect();
    for live in live {
        live.finish().ok().prints("x\n");
    }
    assert_eq!(agents(&site).len(), 1);
    end(site);
}

#[test]
fn an_agent_that_was_brought_by_half_is_nobodys() {
    let Some(site) = Site::over_tls() else { return };
    let live = site.run(&["--", "true"]).start();
    let deadline = Instant::now() + DEADLINE;
    // Whatever has come of it by then.
    while !site.api().containers().unwrap().iter().any(|c| c.labels.contains_key(AGENT)) {
        assert!(
            Instant::now() < deadline && !live.ends_within(std::time::Duration::ZERO),
            "it was never seen"
        );
    }
    live.signal(rustix::process::Signal::KILL);
    live.finish();
    let half = agents(&site);
    assert_eq!(half.len(), 1);
    assert!(!notes(&site), "it says that it is whole");
    site.run(&["--", "echo", "x"]).run().ok().prints("x\n");
    let whole = agents(&site);
    assert_eq!(whole.len(), 1, "{whole:?}");
    assert_ne!(whole, half);
    assert!(notes(&site));
    end(site);
}

/// Whether the data directory knows of an agent in an engine.
fn notes(site: &Site) -> bool {
    let entries =
        fs::read_dir(site.env.data().join("engines")).unwrap().map(|entry| entry.unwrap().file_name());
    entries.filter_map(|name| name.into_string().ok()).any(|name| name.ends_with(".agent"))
}

#[test]
fn an_agent_that_somebody_removed_is_brought_again() {
    let Some(site) = Site::over_tls() else { return };
    site.run(&["--", "true"]).run().ok();
    site.await_no_containers();
    let [agent] = &agents(&site)[..] else { panic!("{:?}", agents(&site)) };
    site.api().json("DELETE", &format!("/volumes/{agent}"), None).unwrap();
    site.run(&["--", "echo", "x"]).run().ok().prints("x\n");
    end(site);
}

#[test]
fn who_is_not_vouched_for_is_no_engine() {
    let Some(site) = Site::over_tls() else { return };
    let tls = site.tls.clone().unwrap();
    let other = agentkernel_testkit::engines::Tls::make(&site.place().join("other")).unwrap();
    let list = |command: agentkernel_testkit::env::Invocation| command.run().code(125);
    // Another authority's engine, and another authority's caller.
    let command = site.run(&["--", "true"]).env("DOCKER_CERT_PATH", other.client());
    list(command).error_with_hint(&["no engine answers", "certificate"]);
    let mixed = site.env.directory("mixed");
    for (from, name) in [(&tls, "ca.pem"), (&other, "cert.pem"), (&other, "key.pem")] {
        fs::copy(from.client().join(name), mixed.join(name)).unwrap();
    }
    let command = site.run(&["--", "true"]).env("DOCKER_CERT_PATH", &mixed);
    list(command).error_with_hint(&["no engine answers"]);
    fs::write(mixed.join("key.pem"), "-----BEGIN PRIVATE KEY-----\nSECRETVALUE\n").unwrap();
    let failed = list(site.run(&["--", "true"]).env("DOCKER_CERT_PATH", &mixed));
    assert!(!failed.err().contains("SECRETVALUE"), "{failed}");
    failed.error_with_hint(&["key.pem"]);
    fs::remove_file(mixed.join("ca.pem")).unwrap();
    list(site.run(&["--", "true"]).env("DOCKER_CERT_PATH", &mixed)).error_with_hint(&["ca.pem"]);
    // Without TLS nobody but this machine itself.
    for address in ["tcp://10.0.0.1:2375", "tcp://engine.example:2375"] {
        let plain = site.run(&["--", "true"]).env("DOCKER_HOST", address).without_env("DOCKER_CERT_PATH");
        list(plain).error_with_hint(&["no TLS"]);
    }
    for address in ["ssh://-oProxyCommand=touch$IFS/tmp/x", "ssh://h/a;id"] {
        list(site.run(&["--", "true"]).env("DOCKER_HOST", address))
            .error_with_hint(&["address of the engine"]);
    }
    end(site);
}

#[test]
fn an_engine_elsewhere_that_ends_or_hangs() {
    let Some(mut site) = Site::over_tls() else { return };
    site.sandbox("work");
    site.agentkernel(&["exec", "work", "--", "sh", "-c", "echo kept >/root/mark"]).run().ok();
    site.engine.freeze();
    let (status, reason) = site.status("work");
    assert_eq!(status, "unknown");
    assert!(reason.contains("does not answer"), "{reason}");
    let hangs = site.run(&["--", "true"]).run().code(125);
    hangs.error_with_hint(&["docker"]);
    site.engine.revive().unwrap();
    assert_eq!(site.status("work").0, "running");
    site.engine.kill().unwrap();
    let (status, reason) = site.status("work");
    assert_eq!(status, "unknown");
    assert!(reason.contains(&site.tls.as_ref().unwrap().address()), "{reason}");
    let refused = site.agentkernel(&["sandbox", "remove", "work"]).run().code(125);
    refused.error_with_hint(&["work", "does not answer"]);
    site.engine.revive().unwrap();
    site.await_status("work", "stopped");
    site.agentkernel(&["sandbox", "start", "work"]).run().ok();
    site.agentkernel(&["exec", "work", "--", "cat", "/root/mark"]).run().ok().prints("kept\n");
    // Another engine has no say in it.
    let here = |words: &[&str]| {
        let command = site.agentkernel(words).env("DOCKER_HOST", site.api().address());
        command.without_env("DOCKER_CERT_PATH").run().code(125)
    };
    site.agentkernel(&["sandbox", "stop", "work"]).run().ok();
    here(&["sandbox", "start", "work"]).error_with_hint(&["tcp://"]);
    here(&["sandbox", "remove", "work"]).error_with_hint(&["tcp://"]);
    // A removal that has begun is brought to its end.
    site.agentkernel(&["sandbox", "remove", "work"]).run().ok();
    assert_eq!(site.list().json(), serde_json::json!([]));
    end(site);
}

#[test]
fn over_ssh() {
    let Some(mut site) = Site::start() else { return };
    let (place, address) = (site.env.directory("ssh"), IpAddr::from(Ipv4Addr::LOCALHOST));
    let server = Sshd::start(&place, address).unwrap();
    let file = |name: &str, text: String| {
        fs::write(place.join(name), text).unwrap();
        place.join(name)
    };
    // ssh's own settings are those of the machine's user, which are nobody's business here.
    let known = place.join("known");
    let config = file(
        "config",
        format!("IdentityFile {}/client\nUserKnownHostsFile {}\n", place.display(), known.display()),
    );
    let bin = site.env.directory("bin");
    fs::write(bin.join("ssh"), format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", config.display()))
        .unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", bin.display());
    site.speak_to(format!("ssh://root@127.0.0.1:{}{}", server.port(), site.socket().display()));
    let stranger = site.run(&["--", "true"]).env("PATH", &path).run().code(125);
    stranger.error_with_hint(&["Host key verification failed"]);
    file("known", server.known_as(address).unwrap());
    let ran = site.run(&["--", "sh", "-c", "cat; exit 3"]).env("PATH", &path).input("typed").run().code(3);
    ran.prints("typed");
    let command = |words: &[&str]| site.agentkernel(words).env("PATH", &path).run();
    command(&["sandbox", "create", "work", "-B", "docker", "-i", IMAGE]).ok();
    command(&["sandbox", "start", "work"]).ok();
    command(&["exec", "work", "--", "echo", "x"]).ok().prints("x\n");
    command(&["sandbox", "stop", "work"]).ok();
    command(&["sandbox", "remove", "work"]).ok();
    command(&["clean", "--all", "--force"]).ok();
    assert_eq!(site.api().containers().unwrap().iter().filter(|c| c.labels.contains_key(LABEL)).count(), 0);
    drop(server);
    site.end();
}
