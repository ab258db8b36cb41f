//! Secrets of sandboxes on an engine: the same inside as elsewhere, and nothing in the engine.

use super::site::{IMAGE, Site};
use crate::ENGINE;
use std::process::Command;

const VALUE: &str = "sk-hidden-0123456789";

/// What of the engine has the value: its description of containers, and files on its disk, its logs among them.
fn held_by_engine(site: &Site) -> String {
    for id in site.containers() {
        let described = site.api().json("GET", &format!("/containers/{id}/json"), None).unwrap().to_string();
        assert!(described.contains("agentkernel") && !described.contains(VALUE), "{described}");
    }
    let found = Command::new("grep").args(["-rlF", "-D", "skip", VALUE]).arg(site.place()).output().unwrap();
    // A file system of a container may go while it is looked at.
    String::from_utf8(found.stdout).unwrap().lines().filter(|path| !path.contains("/merged/run/")).collect()
}

#[test]
fn placeholders_and_files_are_inside_and_no_value_is_in_the_engine() {
    let Some(site) = Site::start() else { return };
    let set = ["secret", "set", "MY_KEY", "--host", "api.example.com"];
    site.agentkernel(&set).input(VALUE).run().ok();
    let flags = ["-S", "MY_KEY:api.example.com", "--secret-file", "MY_KEY"];
    let look = "echo $MY_KEY; cd $AGENTKERNEL_SECRETS_PATH && stat -c '%a %u' MY_KEY && cat MY_KEY && grep -c ' /run/agentkernel tmpfs ' /proc/mounts && test -s $SSL_CERT_FILE";
    let expected = format!("ak-proxy-managed\n400 0\n{VALUE}1\n");
    let words = [&flags[..], &["--", "sh", "-c", look]].concat();
    site.run(&words).run().ok().prints(&expected);
    let other = [&flags[..], &["-u", "1000:1000", "-p", "moderate", "--", "sh", "-c", look]].concat();
    site.run(&other).run().ok().prints(expected.replace("400 0", "400 1000"));

    let create = [&["sandbox", "create", "box", "-B", ENGINE.name, "-i", IMAGE], &flags[..]].concat();
    site.agentkernel(&create).run().ok();
    for _ in 0..2 {
        site.agentkernel(&["sandbox", "start", "box"]).run().ok();
        site.agentkernel(&["exec", "box", "--", "sh", "-c", look]).run().ok().prints(&expected);
        let blocked = ["exec", "box", "--", "wget", "-q", "-O-", "http://evil.example/"];
        let blocked = site.agentkernel(&blocked).run();
        assert!(blocked.err().contains("403"), "{blocked}");
        assert_eq!(held_by_engine(&site), "", "while it runs");
        site.agentkernel(&["sandbox", "stop", "box"]).run().ok();
        assert_eq!(held_by_engine(&site), "", "when it is stopped");
    }
    site.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    site.end();
}

#[test]
fn rules_that_come_later_bring_what_they_need() {
    let Some(site) = Site::start() else { return };
    site.sandbox("box");
    site.agentkernel(&["sandbox", "stop", "box"]).run().ok();
    site.agentkernel(&["sandbox", "network", "box", "--deny", "POST api.example.com"]).run().ok();
    site.agentkernel(&["sandbox", "start", "box"]).run().ok();
    let look =
        ["exec", "box", "--", "sh", "-c", "echo $https_proxy; test -s $SSL_CERT_FILE && echo believed"];
    site.agentkernel(&look).run().ok().prints("http://192.0.2.53:3128\nbelieved\n");
    site.agentkernel(&["sandbox", "remove", "box"]).run().ok();
    site.end();
}
