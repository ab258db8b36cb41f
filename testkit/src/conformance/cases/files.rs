//! Files in and out, and that paths are the sandbox's.

use crate::conformance::{
    bench::Bench,
    case::{Failure, Verdict, check, same},
    subject::{at, plain_spec, sh},
};
use agentkernel_model::{Error, Kind, path::GuestPath};
use std::{fmt::Debug, fs};

fn path(text: &str) -> Result<GuestPath, Failure> {
    Ok(text.parse()?)
}

fn kind_of<T: Debug>(result: Result<T, Error>) -> Result<Kind, Failure> {
    match result {
        Err(error) => Ok(error.kind()),
        Ok(value) => Err(Failure(format!("it worked: {value:?}"))),
    }
}

pub(super) async fn what_is_written_is_read(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    let files = running.sandbox.files();
    let content: Vec<u8> = (0..300_000_u32).map(|n| u8::try_from(n % 256).unwrap_or(0)).collect();
    files.write(&path("/tmp/of host")?, 0o640, &content).await?;
    same!(files.read(&path("/tmp/of host")?, 1 << 20).await? == content, true, "the content");
    let seen = running.run(&at("/tmp", sh("stat -c '%s %a' 'of host'; printf inside >of-guest"))).await?;
    same!(String::from_utf8_lossy(&seen.stdout), "300000 640\n", "size and mode inside");
    same!(files.read(&path("/tmp/of-guest")?, 100).await?, b"inside", "a file of the guest");
    files.write(&path("/tmp/of host")?, 0o777, b"short").await?;
    let seen = running.run(&at("/tmp", sh("cat 'of host'; stat -c ' %a' 'of host'"))).await?;
    same!(String::from_utf8_lossy(&seen.stdout), "short 640\n", "after it was replaced");
    files.write(&path("/tmp/empty")?, 0o600, b"").await?;
    same!(files.read(&path("/tmp/empty")?, 0).await?, b"", "an empty file, with no room");
    Ok(())
}

pub(super) async fn a_written_program_runs(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    running.sandbox.files().write(&path("/program")?, 0o755, b"#!/bin/sh\necho ran $1\n").await?;
    let output = running.run(&at("/", crate::conformance::subject::command(&["./program", "well"]))).await?;
    same!(String::from_utf8_lossy(&output.stdout), "ran well\n", "its output");
    Ok(())
}

pub(super) async fn faults_have_their_kinds(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    running.run(&at("/", sh("mkdir directory; echo 0123456789 >file"))).await?;
    let files = running.sandbox.files();
    same!(kind_of(files.read(&path("/none")?, 100).await)?, Kind::NotFound, "reading what does not exist");
    same!(kind_of(files.read(&path("/file/below")?, 100).await)?, Kind::NotFound, "reading below a file");
    same!(kind_of(files.read(&path("/directory")?, 100).await)?, Kind::Invalid, "reading a directory");
    same!(kind_of(files.read(&path("/file")?, 10).await)?, Kind::Exhausted, "reading more than the limit");
    same!(files.read(&path("/file")?, 11).await?.len(), 11, "reading exactly the limit");
    same!(
        kind_of(files.write(&path("/none/file")?, 0o600, b"x").await)?,
        Kind::NotFound,
        "writing below nothing"
    );
    same!(
        kind_of(files.write(&path("/directory")?, 0o600, b"x").await)?,
        Kind::Invalid,
        "writing a directory"
    );
    Ok(())
}

/// Opening a FIFO waits for its other end, which may never come.
pub(super) async fn special_files_are_refused_at_once(b: Bench) -> Verdict {
    let running = b.start(&plain_spec()).await?;
    running.run(&at("/", sh("mkfifo fifo"))).await?;
    let files = running.sandbox.files();
    same!(kind_of(files.read(&path("/fifo")?, 100).await)?, Kind::Invalid, "reading a FIFO");
    same!(kind_of(files.write(&path("/fifo")?, 0o600, b"x").await)?, Kind::Invalid, "writing a FIFO");
    Ok(())
}

pub(super) async fn links_to_the_outside_stay_inside(b: Bench) -> Verdict {
    let secret = b.scratch().join("secret");
    fs::write(&secret, "host secret")?;
    let target = secret.display().to_string();
    let running = b.start(&plain_spec()).await?;
    let script = format!(
        "ln -s '{target}' absolute; ln -s '../../../../../../../..{target}' relative; ln -s / root; ln -s ../../../../.. up; \
         ln -s /proc/self/root magic; ln -s inner chain; ln -s '{target}' inner"
    );
    running.run(&at("/", sh(&script))).await?;
    let below: Vec<String> = ["/root", "/up", "/magic"].iter().map(|d| format!("{d}{target}")).collect();
    let places = ["/absolute", "/relative", "/chain"].into_iter().chain(below.iter().map(String::as_str));
    let files = running.sandbox.files();
    for place in places {
        let read = files.read(&path(place)?, 100).await;
        check!(
            !matches!(&read, Ok(content) if content == b"host secret"),
            "{place} leads to a file of the host"
        );
        // May work inside or fail; it must not arrive outside.
        let _worked_inside = files.write(&path(place)?, 0o600, b"changed").await;
        same!(fs::read(&secret)?, b"host secret", format!("the host's file after a write to {place}"));
    }
    // The name in the root itself, by a path that only the host has.
    let direct = files.read(&path(&target)?, 100).await;
    check!(!matches!(&direct, Ok(content) if content == b"host secret"), "a path of the host is read");
    Ok(())
}
