//! Past the gateway: addresses that it must not connect to, and its listeners themselves.

use super::boundaries::serve;
use crate::escape::{
    arena::{Arena, word},
    attempt::{Attempt, Observation},
};
use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
};

/// On the loopback of a network of the test's own: nothing is sent to anybody who has these addresses elsewhere.
const ADDRESSES: &str = "169.254.169.254,10.9.8.7,192.168.9.8,100.64.9.8,8.8.4.4";

pub(super) fn attempts() -> Vec<Attempt> {
    let to = |name: &str, address: &'static str| {
        Attempt::new(name, "closed", &["reached"], move |arena| through_gateway(arena, address))
    };
    vec![
        to("gateway/metadata", "169.254.169.254:8080"),
        to("gateway/private-10", "10.9.8.7:8080"),
        to("gateway/private-192", "192.168.9.8:8080"),
        to("gateway/shared", "100.64.9.8:8080"),
        to("gateway/mapped", "[::ffff:10.9.8.7]:8080"),
        to("gateway/public-address-of-this-machine", "8.8.4.4:8080"),
        Attempt::new("gateway/its-listener", "closed", &["reached"], listener),
    ]
}

fn through_gateway(arena: &Arena, address: &str) -> Observation {
    let world = |program: &str, arguments: &[&str]| {
        let words = ["probe", "with-addresses", ADDRESSES, program];
        word(&arena.program(&arena.probe, &words).args(arguments).run())
    };
    let probe = arena.probe.display().to_string();
    if world(&probe, &["probe", "connect", address])? != "reached" {
        return Err(format!("set-up: {address} cannot be reached from outside"));
    }
    let volume = format!("{probe}:/probe:ro");
    let run =
        ["run", "-i", "host", "--no-workspace", "-v", &volume, "--", "/probe", "probe", "connect", address];
    world(&arena.binary().display().to_string(), &run)
}

/// Somebody inside finds the port that everything is redirected to, and connects to it directly. A service of the host
/// has the same number.
fn listener(arena: &Arena) -> Observation {
    let (from, to) = std::io::pipe().map_err(|e| e.to_string())?;
    let (held, mut hold) = std::io::pipe().map_err(|e| e.to_string())?;
    let live = arena.run(&[], &["/probe", "probe", "connect-redirect"]).stdin(held).stdout(to).start();
    let mut from = BufReader::new(from);
    let mut line = String::new();
    from.read_line(&mut line).map_err(|e| e.to_string())?;
    let bound = TcpListener::bind(format!("127.0.0.1:{}", line.trim()));
    bound.map(serve).map_err(|e| format!("set-up: port {}: {e}", line.trim()))?;
    hold.write_all(b"go\n").map_err(|e| e.to_string())?;
    line.clear();
    from.read_line(&mut line).map_err(|e| e.to_string())?;
    let finished = live.finish();
    if finished.code == Some(0) { Ok(line.trim().to_owned()) } else { Err(format!("the probe: {finished}")) }
}
