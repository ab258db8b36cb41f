//! The certificate of the gateway in the image's own bundle, and never in a file of this machine.

use super::world::{Guest, World};
use crate::{Test, bench::expect};
use std::fs;

pub(crate) const fn tests() -> [Test; 2] {
    [("bundle/of-a-mount-stays", mounted), ("bundle/behind-a-link-into-a-mount-stays", linked)]
}

const OURS: &str = "agentkernel: begin";
const BOUND: &str = "OPENAI_API_KEY:api.openai.com";
const BUNDLE: &str = "/etc/ssl/certs/ca-certificates.crt";
const OTHER: &str = "/etc/pki/tls/certs/ca-bundle.crt";
/// This machine's.
const TEXT: &str = "-----BEGIN CERTIFICATE-----\nMIIBdGhpcyBtYWNoaW5l\n-----END CERTIFICATE-----\n";

fn mounted(world: &World) -> Result<(), String> {
    let here = world.bench.env.directory("ssl/certs").join("ca-certificates.crt");
    fs::write(&here, TEXT).map_err(|e| e.to_string())?;
    let volume = format!("{}:/etc/ssl", world.bench.env.directory("ssl").display());
    let guest = guest(world, &[&volume])?;
    let said = guest.says(&format!("cat {BUNDLE} $SSL_CERT_FILE"))?;
    expect(said.starts_with(&format!("{TEXT}{TEXT}# {OURS}")), || said.clone())?;
    stays(&here)
}

fn linked(world: &World) -> Result<(), String> {
    let env = &world.bench.env;
    let here = env.directory("data").join("bundle.crt");
    fs::write(&here, TEXT).map_err(|e| e.to_string())?;
    // Another place for bundles counts where the first has none.
    let none = format!("{}:/etc/ssl/certs", env.directory("none").display());
    let volume = format!("{}:/data", env.directory("data").display());
    let guest = guest(world, &[&none, &volume])?;
    guest.says(&format!("mkdir -p /etc/pki/tls/certs && echo own >{OTHER}"))?;
    let again = || {
        world.bench.must(&["sandbox", "stop", "box"])?;
        world.bench.must(&["sandbox", "start", "box"])
    };
    let known = || guest.says("grep -c 'BEGIN CERTIFICATE' $SSL_CERT_FILE");
    let first = known()?;
    again()?;
    again()?;
    expect(known()? == first, || "the certificate of an earlier start is believed".to_owned())?;
    let said = guest.says(&format!("cat {OTHER}"))?;
    expect(said.starts_with(&format!("own\n# {OURS}")), || format!("the image's own has none: {said}"))?;
    guest.says(&format!("rm {OTHER} && ln -s /data/bundle.crt {OTHER}"))?;
    again()?;
    let said =
        guest.says(&format!("cat {OTHER}; grep -e '{OURS}' -e MIIBdGhpcyBtYWNoaW5l $SSL_CERT_FILE"))?;
    expect(said == format!("{TEXT}# {OURS}\n"), || said.clone())?;
    stays(&here)
}

fn guest<'a>(world: &'a World, volumes: &[&str]) -> Result<Guest<'a>, String> {
    world.keep("OPENAI_API_KEY", "sk-any")?;
    let volumes = volumes.iter().flat_map(|volume| ["--volume", volume]);
    world.sandbox("box", &["--secret", BOUND].into_iter().chain(volumes).collect::<Vec<_>>())
}

fn stays(file: &std::path::Path) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|e| e.to_string())?;
    expect(text == TEXT, || format!("{} was written to: {text}", file.display()))
}
