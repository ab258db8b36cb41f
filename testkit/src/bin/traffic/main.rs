//! Both ends of the connections that `cargo xtask bench egress` measures.
//!
//! `serve DIR` is the other side, in a network that has the addresses of [`Site::in_own_network`]: it writes its authority
//! and what a gateway has to know into DIR, prints where its servers are, and ends with its standard input. `ask` is the
//! client, in a sandbox or outside of it: each line it reads is one thing to do, each line it prints says how long that took.
//!
//! [`Site::in_own_network`]: agentkernel_testkit::origin::Site::in_own_network
#![forbid(unsafe_code)]

mod ask;
mod serve;

use std::{
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
};

/// The name of the server of TLS.
const NAME: &str = "traffic.test";

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["serve", directory] => serve::serve(Path::new(directory)),
        ["ask"] => ask::ask(),
        _ => Err("usage: agentkernel-testkit-traffic serve DIR | ask".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            // Nobody is left to tell when stderr itself is gone.
            let _told = writeln!(io::stderr(), "error: {e}");
            ExitCode::FAILURE
        }
    }
}
