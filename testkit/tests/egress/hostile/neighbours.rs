//! Other sandboxes: their gateways, their authorities, their secrets.

use super::{API, Scene, VALUE, World};
use crate::{Test, bench::expect};

pub(super) const fn tests() -> [Test; 2] {
    [("hostile/gateway-of-another-sandbox", gateway), ("hostile/authority-of-another-sandbox", authority)]
}

fn gateway(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let poor = world.sandbox("poor", &["--only-listed", "--allow", "nothing.test"])?;
    let script = format!(
        "ip, port = '{ip}', {port}
for request in (f'CONNECT {API}:{{port}} HTTP/1.1\\r\\nHost: {API}\\r\\n\\r\\n',
                f'CONNECT {{ip}}:{{port}} HTTP/1.1\\r\\nHost: {{ip}}\\r\\n\\r\\n',
                f'GET http://{API}:{{port}}/ HTTP/1.1\\r\\nHost: {API}\\r\\nConnection: close\\r\\n\\r\\n'):
    for host in ('192.0.2.53', '192.0.2.54', '192.0.2.1'):
        assert status(say(host, 3128, request.encode())) in ('403', 'none'), (host, request)
assert b'hello' not in tls(ip, port, '{API}', get('{API}'), verify=False)
print('held')",
        ip = scene.api.address().ip(),
        port = scene.api.address().port(),
    );
    let said = poor.python(&script, &[])?;
    expect(said == "held\n", || said.clone())?;
    expect(scene.api.record().is_empty(), || format!("{:?}", scene.api.record()))?;
    poor.refused(&[API])
}

/// Each sandbox believes an authority of its own, and no other.
fn authority(world: &World) -> Result<(), String> {
    let scene = Scene::new(world, &[])?;
    let bound = format!("KEY:{API}:X-Key");
    let other = world.strict("other", &["--secret", &bound])?;
    let read = "cat /run/agentkernel/ca.crt";
    let (mine, theirs) = (scene.guest.says(read)?, other.says(read)?);
    expect(mine != theirs && mine.contains("BEGIN CERTIFICATE"), || "one authority for two".to_owned())?;
    expect(!mine.contains("PRIVATE") && !mine.contains(VALUE), || "the key is inside".to_owned())?;
    let url = scene.api.url(API, "/");
    let script = format!("cat > /tmp/other.crt <<'END'\n{theirs}END\ncurl -sS --cacert /tmp/other.crt {url}");
    let ran = scene.guest.sh(&script);
    expect(ran.code == Some(60), || ran.to_string())?;
    scene.api_saw(0)?;
    // It is the client that hangs up, so that nothing was blocked: the connection says how it ended.
    scene.guest.told(&[&[("type", "connection"), ("name", API), ("reason", "broken off: ")]])
}
