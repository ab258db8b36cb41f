//! The other side: HTTP in clear and over TLS, and an echo.

use crate::{NAME, Outcome};
use agentkernel_testkit::origin::{Net, Site};
use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    thread,
};

pub(crate) fn serve(directory: &Path) -> Outcome<()> {
    let site = Site::in_own_network()?;
    let https = site.https(&[NAME])?;
    let http = site.http(Net::Allowed, &["clear.test"])?;
    let echo = TcpListener::bind((http.address().ip(), 0))?;
    let authority = directory.join("authority.pem");
    fs::write(&authority, site.authority().pem())?;
    let settings = format!(
        "ca_bundle = {:?}\nresolvers = [\"{}\"]\n",
        authority.display().to_string(),
        site.dns().address()
    );
    fs::write(directory.join("gateway.toml"), settings)?;
    let mut out = io::stdout();
    writeln!(
        out,
        "{} {} {} {NAME} {}",
        echo.local_addr()?,
        http.address(),
        https.address(),
        site.block(Net::Allowed)
    )?;
    out.flush()?;
    thread::spawn(move || {
        for stream in echo.incoming().flatten() {
            // Thousands of them wait: a thread each, which costs the one who is measured nothing.
            let _running = thread::Builder::new().stack_size(64 * 1024).spawn(move || back(stream));
        }
    });
    io::copy(&mut io::stdin(), &mut io::sink())?;
    Ok(())
}

/// Sends back what comes, until the client is done.
fn back(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes)? {
            0 => return Ok(()),
            n => stream.write_all(&bytes[..n])?,
        }
    }
}
