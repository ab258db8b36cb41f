//! git over ssh, which has no secret of ours: a name, a port, and what is said is nobody's business.

use super::world::World;
use crate::{Test, bench::expect};
use agentkernel_testkit::{origin::packages, sshd::Sshd};
use std::{fs, net::IpAddr, process::Command};

pub(crate) const fn tests() -> [Test; 1] {
    [("client/git-over-ssh", git)]
}

const ADDRESS: [u8; 4] = [10, 77, 0, 22];

fn git(world: &World) -> Result<(), String> {
    let place = world.bench.env.directory("ssh");
    packages::repository(&place).map_err(|e| e.to_string())?;
    let server = Sshd::start(&place, IpAddr::from(ADDRESS)).map_err(|e| e.to_string())?;
    let port = server.port();
    world.site.dns().set("git.test", &[IpAddr::from(ADDRESS)]);
    let key = fs::read_to_string(place.join("client")).map_err(|e| e.to_string())?;
    let script = format!(
        "umask 077; printf '%s' '{key}' > /tmp/key
        export GIT_SSH_COMMAND='ssh -F none -i /tmp/key -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null'
        git clone --quiet ssh://{}@git.test:{port}{}/repo.git /tmp/clone && cat /tmp/clone/README",
        login()?,
        place.display(),
    );
    let allowed = world.sandbox(
        "box",
        &["--only-listed", "--allow", &format!("git.test:{port}"), "--allow", &format!("10.77.0.22:{port}")],
    )?;
    let ran = allowed.sh(&script);
    expect(ran.code == Some(0) && ran.out() == "hello\n", || format!("{ran}\nsshd: {}", server.log()))?;
    let refused = world.sandbox("other", &["--only-listed", "--allow", "git.test:443"])?;
    let ran = refused.sh(&script);
    expect(ran.code != Some(0) && !ran.out().contains("hello"), || ran.to_string())?;
    refused.refused(&["10.77.0.22"])
}

fn login() -> Result<String, String> {
    let said = Command::new("id").arg("-un").output().map_err(|e| e.to_string())?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
