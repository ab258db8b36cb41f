//! Templates from GitHub: a server of that name with a certificate of the test's own, reached through a proxy, as no
//! name server here leads to it.

use agentkernel_testkit::{
    TestEnv,
    env::Invocation,
    origin::{Certificate, ConnectProxy, Files, Net, Origin, Site},
};
use hyper::StatusCode;

const HOST: &str = "raw.githubusercontent.com";
const WEB: &str = "/someone/templates/HEAD/ours/web.toml";
const TEXT: &str =
    "[template]\ndescription = 'ours'\n\n[sandbox]\nbase_image = 'host'\n\n[environment]\nWHO = 'template'\n";

struct World {
    env: TestEnv,
    site: Site,
    github: Origin,
    proxy: ConnectProxy,
}

fn world(files: Files) -> World {
    let (env, site) = (TestEnv::new(), Site::new().unwrap());
    let github = site.https_of(&[HOST], files).unwrap();
    let proxy = site.proxy(&[("raw.githubusercontent.com:443", github.address())], None).unwrap();
    World { env, site, github, proxy }
}

impl World {
    fn agentkernel(&self, words: &[&str]) -> Invocation {
        self.through(&self.proxy, words)
    }

    fn through(&self, proxy: &ConnectProxy, words: &[&str]) -> Invocation {
        let authority = self.env.file("authority.pem", self.site.authority().pem());
        let proxy = format!("http://{}", proxy.address());
        self.env.agentkernel(words).env("HTTPS_PROXY", proxy).env("SSL_CERT_FILE", authority)
    }

    fn add(&self, place: &str) -> Invocation {
        self.agentkernel(&["template", "add", place])
    }

    /// The templates that are saved.
    fn saved(&self) -> Vec<String> {
        let list = self.env.agentkernel(&["template", "list", "--json"]).run().ok().json();
        let rows = list.as_array().unwrap().iter().filter(|row| row["source"] == "saved");
        rows.map(|row| row["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_template_of_github_is_fetched_and_saved() {
    let pinned = "/someone/templates/0123456789abcdef0123456789abcdef01234567/web.toml";
    let other = TEXT.replace("'template'", "'pinned'");
    let world = world(Files::one(WEB, TEXT).and(pinned, &other));
    world.add("github:someone/templates/ours/web.toml").run().ok();
    let asked = &world.github.record().requests()[0];
    assert_eq!((asked.path.as_str(), asked.sni.as_deref()), (WEB, Some(HOST)));
    let who = ["--no-network", "--", "sh", "-c", "echo $WHO"];
    // Nobody is asked from now on.
    world.env.agentkernel(&["run", "--template", "web"]).args(who).run().ok().prints("template\n");
    // Without saving it, and of a commit.
    for (place, said) in [
        ("github:someone/templates/ours/web.toml", "template\n"),
        ("github:someone/templates/web.toml@0123456789abcdef0123456789abcdef01234567", "pinned\n"),
    ] {
        world.agentkernel(&["run", "--template", place]).args(who).run().ok().prints(said);
    }
    assert_eq!(world.saved(), ["web"]);
    world.env.assert_nothing_left();
}

#[test]
fn a_name_that_is_taken_is_not_taken_away() {
    let other = "/someone/templates/main/web.toml";
    let world = world(Files::one(WEB, TEXT).and(other, "[environment]\nWHO = 'other'\n"));
    world.add("github:someone/templates/ours/web.toml").run().ok();
    let again = "github:someone/templates/web.toml@main";
    world.add(again).run().code(125).error_with_hint(&["'web'", "already"]);
    let said = |name: &str| {
        let run = ["run", "--template", name, "-i", "host", "--no-network", "--", "sh", "-c", "echo $WHO"];
        world.env.agentkernel(&run).run().ok().out()
    };
    assert_eq!(said("web"), "template\n");
    world.agentkernel(&["template", "add", "second", again]).run().ok();
    assert_eq!((said("web"), said("second")), ("template\n".to_owned(), "other\n".to_owned()));
    world.add(again).args(["--force"]).run().ok();
    assert_eq!(said("web"), "other\n");
}

#[test]
fn what_github_refuses_is_told_in_words_of_its_own() {
    let at = |name: &str| format!("/someone/templates/HEAD/{name}.toml");
    let world = world(
        Files::default()
            .and_refusal(&at("private"), StatusCode::FORBIDDEN)
            .and_refusal(&at("often"), StatusCode::TOO_MANY_REQUESTS)
            .and_refusal(&at("broken"), StatusCode::BAD_GATEWAY),
    );
    for (name, code) in [("none", 404), ("private", 403), ("often", 429), ("broken", 502)] {
        let refused = world.add(&format!("github:someone/templates/{name}.toml")).run().code(125);
        let shown = refused.to_string();
        let url = format!("https://{HOST}{}", at(name));
        refused.error_with_hint(&[&url, &format!("HTTP {code}")]);
        for foreign in ["registry", "image", "docker"] {
            assert!(!shown.contains(foreign), "{foreign}: {shown}");
        }
    }
    // The server is not there at all.
    let nowhere = world.site.proxy(&[], None).unwrap();
    let place = "github:someone/templates/none.toml";
    let refused = world.through(&nowhere, &["template", "add", place]).run().code(125);
    assert!(!refused.err().contains("registry"), "{refused}");
    refused.error_with_hint(&[HOST, "through the proxy"]);
    assert_eq!(world.saved(), Vec::<String>::new());
}

#[test]
fn what_is_no_template_is_not_saved() {
    const LONGEST: usize = 4 << 20;
    let at = |name: &str| format!("/someone/templates/HEAD/{name}.toml");
    let comment = |size: usize| format!("#{}", "x".repeat(size - 1));
    let world = world(
        Files::one(&at("page"), "<!DOCTYPE html>\n<html><body>not found</body></html>\n")
            .and(&at("keys"), "[sandbox]\nbase_imagee = 'host'\n")
            .and(&at("escape"), "[sandbox]\n\"\\u001b]0;gone\\u0007\" = 'host'\n")
            .and(&at("long"), &comment(LONGEST + 1))
            .and(&at("full"), &comment(LONGEST)),
    );
    for (name, words) in [
        ("page", &["page.toml:1:"][..]),
        ("keys", &["keys.toml", "base_imagee"]),
        ("escape", &["escape.toml"]),
        ("long", &["long.toml", "4194304 bytes"]),
    ] {
        let place = format!("github:someone/templates/{name}.toml");
        world.add(&place).run().code(125).error_with_hint(words);
        world
            .agentkernel(&["run", "--template", &place, "--", "true"])
            .run()
            .code(125)
            .error_with_hint(words);
    }
    assert_eq!(world.saved(), Vec::<String>::new());
    world.add("github:someone/templates/full.toml").run().ok();
    // What gives no name, or is no place, has nobody asked.
    let before = world.github.record().requests().len();
    for place in ["github:someone/templates", "github:someone/../other/x.toml", "github:someone/t/-.toml"] {
        let refused = world.add(place).run().code(125);
        refused.error_with_hint(&[place]);
    }
    assert_eq!(world.github.record().requests().len(), before);
}

#[test]
fn a_template_of_others_reaches_the_host_only_when_somebody_saved_it() {
    const GREEDY: &str = "[sandbox]\nbase_image = 'host'\n[security]\nprofile = 'permissive'\nmount_cwd = true\n\
                          [network]\nports = ['8080:80']\n[[mounts]]\nsource = '/etc'\ntarget = '/data'\n";
    let world = world(Files::one("/someone/templates/HEAD/greedy.toml", GREEDY));
    let place = "github:someone/templates/greedy.toml";
    let asked = ["security.profile", "security.mount_cwd", "network.ports", "mounts"];
    let dry = ["--dry-run", "--json", "--", "true"];
    let run = world.agentkernel(&["run", "--template", place]).args(dry).run().ok().json();
    let policy = &run["spec"]["policy"];
    assert_eq!(
        (&policy["profile"], policy["mounts"].as_array().map(Vec::len)),
        (&"moderate".into(), Some(0))
    );
    assert_eq!(run["spec"]["ports"].as_array().map(Vec::len), Some(0));
    assert!(run["spec"]["workspace"]["view"].is_string(), "it is not writable: {run}");
    for key in asked {
        assert!(run["notes"].to_string().contains(key), "{key} is said to have no effect: {run}");
    }
    // A saved one is its owner's own: they are told what it asks for, in both ways of answering.
    let told = world.add(place).run().ok();
    let json = world.agentkernel(&["template", "add", "twin", place, "--json"]).run().ok().json();
    for key in asked {
        assert!(told.err().contains(key), "{key}: {told}");
        assert!(json["asks_for"].to_string().contains(key), "{key}: {json}");
    }
    let run = world.env.agentkernel(&["run", "--template", "greedy"]).args(dry).run().ok().json();
    assert_eq!(run["spec"]["policy"]["profile"], "permissive", "{run}");
}

#[test]
fn a_redirection_is_followed_on_github_alone() {
    let at = |name: &str| format!("/someone/templates/HEAD/{name}.toml");
    let (env, site) = (TestEnv::new(), Site::new().unwrap());
    let elsewhere = site.https_of(&["elsewhere.test"], Files::one("/web.toml", TEXT)).unwrap();
    let files = Files::one(WEB, TEXT)
        .and_redirect(&at("moved"), WEB)
        .and_redirect(&at("whole"), &format!("https://{HOST}{WEB}"))
        .and_redirect(&at("elsewhere"), "https://elsewhere.test/web.toml")
        .and_redirect(&at("plain"), &format!("http://{HOST}{WEB}"))
        .and_redirect(&at("other-port"), &format!("https://{HOST}:8443{WEB}"))
        .and_redirect(&at("file"), "file:///etc/passwd")
        .and_redirect(&at("round"), &at("round"));
    let github = site.https_of(&[HOST], files).unwrap();
    let routes = [
        ("raw.githubusercontent.com:443", github.address()),
        ("raw.githubusercontent.com:8443", github.address()),
        ("elsewhere.test:443", elsewhere.address()),
    ];
    let proxy = site.proxy(&routes, None).unwrap();
    let world = World { env, site, github, proxy };
    for name in ["moved", "whole"] {
        world.add(&format!("github:someone/templates/{name}.toml")).run().ok();
    }
    assert_eq!(world.saved(), ["moved", "whole"]);
    for name in ["elsewhere", "plain", "other-port", "file"] {
        let refused = world.add(&format!("github:someone/templates/{name}.toml")).run().code(125);
        refused.error_with_hint(&[HOST, "leads to another place"]);
    }
    let round = world.add("github:someone/templates/round.toml").run().code(125);
    round.error_with_hint(&[HOST, "more than 5 times"]);
    assert_eq!(world.saved(), ["moved", "whole"]);
    assert!(elsewhere.record().requests().is_empty());
    let asked = world.proxy.asked();
    assert!(asked.iter().all(|asked| asked.line == "CONNECT raw.githubusercontent.com:443"), "{asked:?}");
}

#[test]
fn who_stands_in_github_s_place_is_asked_for_nothing() {
    let world = world(Files::one(WEB, TEXT));
    let files = Files::one(WEB, TEXT);
    for certificate in [Certificate::Stranger, Certificate::Expired, Certificate::OtherName] {
        let forger = world.site.tls(Net::Allowed, &[HOST], certificate, files.clone()).unwrap();
        let routes = [("raw.githubusercontent.com:443", forger.address())];
        let proxy = world.site.proxy(&routes, None).unwrap();
        let add = ["template", "add", "github:someone/templates/ours/web.toml"];
        world.through(&proxy, &add).run().code(125).error_with_hint(&[HOST, "cannot be trusted"]);
        assert!(forger.record().requests().is_empty(), "{certificate:?}");
    }
    assert_eq!(world.saved(), Vec::<String>::new());
}
