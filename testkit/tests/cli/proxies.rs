//! Registries through the proxy that the environment names.

use super::images::bench;
use agentkernel_testkit::{
    TestEnv,
    env::Invocation,
    origin::{Certificate, ConnectProxy, Site},
    registry::{Registry, Secured},
};

/// `user:hunter2`, as it is sent.
const BASIC: &str = "Basic dXNlcjpodW50ZXIy";
const IMAGE: &str = "registry.test/library/tools:1";

/// A registry of a name that no name server knows: only the proxy finds it.
struct World {
    env: TestEnv,
    site: Site,
    _registry: Registry,
    _secured: Secured,
    proxy: ConnectProxy,
}

fn world(wanted: Option<&str>) -> World {
    let ((env, registry), site) = (bench("tools:1"), Site::new().unwrap());
    let secured = registry.secured(site.authority(), &["registry.test"], Certificate::Right).unwrap();
    let proxy = site.proxy(&[("registry.test:443", secured.address())], wanted).unwrap();
    World { env, site, _registry: registry, _secured: secured, proxy }
}

impl World {
    fn pull(&self) -> Invocation {
        let authority = self.env.file("authority.pem", self.site.authority().pem());
        self.env.agentkernel(&["images", "pull", IMAGE]).env("SSL_CERT_FILE", authority)
    }

    fn proxy_with(&self, credentials: &str) -> String {
        format!("http://{credentials}{}", self.proxy.address())
    }
}

#[test]
fn a_registry_is_reached_through_the_proxy() {
    let world = world(None);
    let address = world.proxy.address().to_string();
    for (variable, value) in [
        ("HTTPS_PROXY", format!("http://{address}")),
        ("https_proxy", address.clone()),
        ("ALL_PROXY", format!("http://{address}/")),
        ("all_proxy", format!("http://{address}")),
    ] {
        let before = world.proxy.asked().len();
        world.pull().env(variable, value).run().ok();
        let asked = world.proxy.asked();
        assert!(asked.len() > before, "{variable}: the proxy was not asked");
        for one in &asked {
            assert_eq!((one.line.as_str(), one.status), ("CONNECT registry.test:443", 200), "{variable}");
            assert_eq!(one.authorization, None, "{variable}");
        }
    }
    let run = ["run", "-i", IMAGE, "--no-network", "--", "cat", "/etc/shown"];
    world.env.agentkernel(&run).run().ok().prints("shown\n");
    world.env.assert_nothing_left();
}

#[test]
fn credentials_go_to_the_proxy_and_into_no_error() {
    let world = world(Some(BASIC));
    for credentials in ["", "user:wrong-hunter3@"] {
        let refused = world.pull().env("HTTPS_PROXY", world.proxy_with(credentials)).run().code(125);
        let shown = refused.to_string();
        let address = world.proxy.address().to_string();
        let refused = refused.error_with_hint(&["through the proxy", &address]);
        assert!(refused.err().contains("HTTPS_PROXY"), "{shown}");
        assert!(!shown.contains("hunter3") && !shown.contains("user:"), "{shown}");
    }
    assert!(world.proxy.asked().iter().all(|asked| asked.status == 407), "{:?}", world.proxy.asked());
    world.pull().env("HTTPS_PROXY", world.proxy_with("user:hunter2@")).run().ok();
    let last = world.proxy.asked().pop().unwrap();
    assert_eq!((last.status, last.authorization.as_deref()), (200, Some(BASIC)));
    // What is no proxy is told, and what it holds is not.
    for value in ["socks5://user:hunter2@127.0.0.1:1", "http://user:hunter2@:x"] {
        let refused = world.pull().env("https_proxy", value).run().code(125);
        let shown = refused.to_string();
        let refused = refused.error_with_hint(&["https_proxy"]);
        assert!(!refused.err().contains("hunter2"), "{shown}");
    }
}

/// In a network namespace with nothing in it, so that whoever is asked cannot be reached, and is named.
#[test]
fn hosts_of_no_proxy_are_asked_themselves() {
    let world = world(None);
    let alone = if world.env.is_root() { "-n" } else { "-Urn" };
    let binary = world.env.binary().to_string_lossy().into_owned();
    let pull = || {
        let words = [alone, "--", &binary, "images", "pull", IMAGE];
        let pull = world.env.program("/usr/bin/unshare".as_ref(), &words);
        pull.env("HTTPS_PROXY", world.proxy_with(""))
    };
    let through = "through the proxy";
    let asked = pull().run().code(125);
    assert!(asked.err().contains(through), "{asked}");
    for (variable, value) in [
        ("NO_PROXY", "registry.test"),
        ("no_proxy", "other.test, .test"),
        ("NO_PROXY", "registry.test:443"),
        ("no_proxy", "*"),
    ] {
        let direct = pull().env(variable, value).run().code(125);
        assert!(!direct.err().contains(through), "{variable}={value}: {direct}");
    }
    for value in ["registry.test:5000", "y.test", "sub.registry.test"] {
        let asked = pull().env("NO_PROXY", value).run().code(125);
        assert!(asked.err().contains(through), "{value}: {asked}");
    }
}

#[test]
fn this_machine_s_own_registry_is_never_asked_through_a_proxy() {
    let ((env, registry), site) = (bench("tools:1"), Site::new().unwrap());
    let proxy = site.proxy(&[], None).unwrap();
    let secured = registry.secured(site.authority(), &["127.0.0.1"], Certificate::Right).unwrap();
    let authority = env.file("authority.pem", site.authority().pem());
    for host in [registry.url().replace("http://", ""), secured.address().to_string()] {
        let image = format!("{host}/library/tools:1");
        let mut pull = env.agentkernel(&["images", "pull", &image]).env("SSL_CERT_FILE", &authority);
        for variable in ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
            pull = pull.env(variable, format!("http://{}", proxy.address()));
        }
        pull.run().ok();
    }
    assert_eq!(proxy.asked(), []);
}
