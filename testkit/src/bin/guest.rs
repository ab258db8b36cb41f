//! What conformance cases run inside a sandbox where a shell is not enough.
//!
//! `serve [PORT]` listens on 127.0.0.1, on a free port unless one is given, prints its number, and sends back what each connection sends.
#![forbid(unsafe_code)]

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener},
    process::ExitCode,
};

fn main() -> ExitCode {
    let done = match std::env::args().nth(1).as_deref() {
        Some("serve") => serve(std::env::args().nth(2).and_then(|port| port.parse().ok()).unwrap_or(0)),
        _ => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: agentkernel-testkit-guest serve [PORT]"))
        }
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

fn serve(port: u16) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    let mut out = io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    for stream in listener.incoming() {
        let mut stream = stream?;
        let mut bytes = [0; 4096];
        loop {
            match stream.read(&mut bytes)? {
                0 => break,
                n => stream.write_all(&bytes[..n])?,
            }
        }
    }
    Ok(())
}
