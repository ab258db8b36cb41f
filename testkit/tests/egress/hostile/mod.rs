//! Programs in a sandbox that want out. Each must find nobody, and most must stand in the log.

mod addresses;
mod exhaustion;
mod names;
mod neighbours;
mod requests;
mod smuggling;

use super::world::{Guest, World};
use crate::{Test, bench::expect};
use agentkernel_testkit::origin::{Certificate, Files, Net, Origin, Trap};

pub(crate) fn tests() -> Vec<Test> {
    let groups: [&[Test]; 6] = [
        // First, as the others are done before its clients are given up.
        &exhaustion::tests(),
        &addresses::tests(),
        &names::tests(),
        &requests::tests(),
        &smuggling::tests(),
        &neighbours::tests(),
    ];
    groups.concat()
}

/// Those about what is caught of it at all, and whose it is, where it comes over a container's streams.
pub(crate) fn of_the_stream() -> Vec<Test> {
    let mut tests = addresses::tests().to_vec();
    tests.extend(neighbours::tests());
    tests
}

/// Of the secret in every sandbox here.
const VALUE: &str = "hidden-secret-93ad41f07be2";
/// Where it goes.
const API: &str = "api.test";
const EVIL: &str = "evil.test";

/// A sandbox with a secret for [`API`], that server, and one that is never to be reached.
struct Scene<'a> {
    guest: Guest<'a>,
    api: Origin,
    evil: Origin,
}

impl<'a> Scene<'a> {
    fn new(world: &'a World, flags: &[&str]) -> Result<Self, String> {
        let api = world.https(&[API])?;
        let evil = world.site.tls(Net::Forbidden, &[EVIL], Certificate::Right, Files::default());
        world.keep("KEY", VALUE)?;
        let bound = format!("KEY:{API}:X-Key");
        let mut all = vec!["--secret", &bound];
        all.extend(flags);
        let guest = world.strict("box", &all)?;
        Ok(Self { guest, api, evil: evil.map_err(|e| e.to_string())? })
    }

    /// Runs an attack, which says `held` or what got through. It has the addresses and ports of both servers.
    fn attack(&self, script: &str) -> Result<(), String> {
        let (api, evil) = (self.api.address(), self.evil.address());
        // A rule about a name counts for addresses that the sandbox was told for it, so it has to ask.
        let head = format!(
            "API, API_IP, API_PORT = {API:?}, '{}', {}\nEVIL, EVIL_IP, EVIL_PORT = {EVIL:?}, '{}', {}\n\
             socket.getaddrinfo(API, API_PORT)\n",
            api.ip(),
            api.port(),
            evil.ip(),
            evil.port(),
        );
        let said = self.guest.python(&format!("{head}{script}\nprint('held')"), &[])?;
        expect(said == "held\n", || format!("something got through: {said}"))?;
        expect(self.evil.record().is_empty(), || format!("{EVIL} was reached: {:?}", self.evil.record()))
    }

    /// No request of these went further than the gateway.
    fn api_saw(&self, count: usize) -> Result<(), String> {
        let seen = self.api.record().requests();
        expect(seen.len() == count, || format!("{API} saw {} requests, not {count}: {seen:?}", seen.len()))
    }
}

fn empty(trap: &Trap) -> Result<(), String> {
    expect(trap.is_empty(), || {
        let caught: Vec<String> =
            trap.caught().iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        format!("{} was reached: {caught:?}", trap.address())
    })
}
