//! Rules that are changed while a sandbox runs.

use super::world::World;
use crate::{Test, bench::expect};
use agentkernel_testkit::origin::Net;
use std::time::Duration;

pub(crate) const fn tests() -> [Test; 1] {
    [("rules/others-hold-at-once", changed)]
}

/// Both ways, for connections that begin from then on: what was open is shut, what was shut is open, and a connection that
/// was made before goes on.
fn changed(world: &World) -> Result<(), String> {
    let first = world.site.http(Net::Allowed, &["first.test"]).map_err(|e| e.to_string())?;
    let second = world.site.http(Net::Forbidden, &["second.test"]).map_err(|e| e.to_string())?;
    let (before, after) = (world.site.block(Net::Allowed), world.site.block(Net::Forbidden));
    let guest = world.sandbox("box", &["--only-listed", "--allow", &before])?;
    let script = format!(
        "{}
FIRST, SECOND = ('{}', {}), ('{}', {})
assert status(say(*SECOND, get('second.test'))) == '403'
s = socket.create_connection(FIRST)
def asked():
    s.settimeout(15); s.sendall(get('first.test').replace(b'Connection: close\\r\\n', b''))
    return status(drain(s))
assert asked() == '200'
print('ready', flush=True)
sys.stdin.readline()
assert status(say(*FIRST, get('first.test'))) == '403'
assert status(say(*SECOND, get('second.test'))) == '200'
assert asked() == '200'
print('held')",
        include_str!("attack.py"),
        first.address().ip(),
        first.address().port(),
        second.address().ip(),
        second.address().port(),
    );
    let (ready, wait) = std::io::pipe().map_err(|e| e.to_string())?;
    let mut running = guest.command(&["/usr/bin/python3", "-c", &script]).stdin(ready).start();
    // The second was tried before.
    let asked = first.record().has_requests(1, Duration::from_secs(60));
    let early = second.record().connections();
    let network = ["sandbox", "network", "box", "--deny", &before, "--allow", &after];
    let changed = world.bench.must(&network);
    drop((running.stdin.take(), wait));
    let ended = running.finish();
    changed?;
    expect(asked && ended.code == Some(0) && ended.out().ends_with("held\n"), || ended.to_string())?;
    expect(early == 0, || format!("{early} connections before the rule"))?;
    let counts = (first.record().requests().len(), second.record().requests().len());
    expect(counts == (2, 1), || format!("{counts:?} requests"))?;
    let (shut, open) = (first.address().ip().to_string(), second.address().ip().to_string());
    guest.told(&[
        &[("verdict", "blocked"), ("address", &open), ("reason", "not among the hosts")],
        &[("verdict", "blocked"), ("address", &shut), ("rule", &format!("deny {before}"))],
        &[("verdict", "allowed"), ("address", &open), ("rule", &format!("allow {after}"))],
    ])
}
