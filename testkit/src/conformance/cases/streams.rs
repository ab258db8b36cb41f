//! Bytes in and out: apart, exact, streaming, bounded.

use crate::conformance::{
    bench::{Bench, OUTPUT_LIMIT, shown},
    case::{Failure, Verdict, check, same},
    subject::{plain_spec, sh, with_input},
};
use agentkernel_backend::{ByteSink, ByteSource, Exit, Process};
use std::{fmt::Write as _, pin::Pin, time::Duration};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

type Reader = Pin<Box<dyn AsyncRead + Send>>;
type Writer = Pin<Box<dyn AsyncWrite + Send>>;

/// Whoever hears of the end may take what is there for everything: less than a pipe holds, and nobody read it before.
pub(super) async fn what_was_written_is_there_at_the_end(b: Bench) -> Verdict {
    for _ in 0..5 {
        let mut process =
            b.open(&plain_spec(), &sh("head -c 60000 /dev/zero | tr '\\0' x; exit 3")).await??;
        let source = std::mem::replace(&mut process.stdout, ByteSource::Empty);
        same!(process.exit.await?, Exit::Code(3), "the exit");
        let mut got = Vec::new();
        match source {
            ByteSource::Fd(fd) => {
                rustix::io::ioctl_fionbio(&fd, true).map_err(std::io::Error::from)?;
                let mut pipe = std::fs::File::from(fd);
                let _until_nothing_is_there = std::io::Read::read_to_end(&mut pipe, &mut got);
            }
            source => {
                let Some(mut reader) = source.into_reader()? else { continue };
                reader.read_to_end(&mut got).await?;
            }
        }
        same!(got.len(), 60_000, "bytes that are there when the command has ended");
    }
    Ok(())
}

/// Takes the reading end of stdout.
pub(super) fn stdout_of(process: &mut Process) -> Result<Reader, Failure> {
    let source = std::mem::replace(&mut process.stdout, ByteSource::Empty);
    source.into_reader()?.ok_or_else(|| Failure("there is no stdout".to_owned()))
}

/// Takes the writing end of stdin.
pub(super) fn stdin_of(process: &mut Process) -> Result<Writer, Failure> {
    let sink = std::mem::replace(&mut process.stdin, ByteSink::Closed);
    sink.into_writer()?.ok_or_else(|| Failure("there is no stdin".to_owned()))
}

/// Reads until `text` has come, so that the command is known to be where it prints it.
pub(super) async fn read_until(reader: &mut Reader, text: &str) -> Result<Vec<u8>, Failure> {
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains(text) {
        let mut chunk = [0; 512];
        match reader.read(&mut chunk).await? {
            0 => {
                return Err(Failure(format!(
                    "the output ended without '{text}': {}",
                    String::from_utf8_lossy(&got)
                )));
            }
            n => got.extend_from_slice(&chunk[..n]),
        }
    }
    Ok(got)
}

pub(super) async fn stdout_and_stderr_are_apart(b: Bench) -> Verdict {
    let output = b.run(&plain_spec(), &sh("printf out; printf err >&2")).await?;
    check!(output.stdout == b"out" && output.stderr == b"err", "{}", shown(&output));
    Ok(())
}

pub(super) async fn every_byte_value_passes(b: Bench) -> Verdict {
    let mut octal = String::new();
    for byte in 0..=255_u8 {
        write!(octal, "\\{byte:03o}").map_err(|e| Failure(e.to_string()))?;
    }
    let output = b.run(&plain_spec(), &sh(&format!("printf '{octal}'; printf '{octal}' >&2"))).await?;
    let all: Vec<u8> = (0..=255).collect();
    same!(output.stdout, all, "stdout");
    same!(output.stderr, all, "stderr");
    Ok(())
}

pub(super) async fn a_mebibyte_on_both_streams(b: Bench) -> Verdict {
    let script = "head -c 1048576 /dev/zero | tr '\\0' o & head -c 1048576 /dev/zero | tr '\\0' e >&2; wait";
    let output = b.run(&plain_spec(), &sh(script)).await?;
    check!(output.stdout == vec![b'o'; 1 << 20], "stdout differs, {} bytes", output.stdout.len());
    check!(output.stderr == vec![b'e'; 1 << 20], "stderr differs, {} bytes", output.stderr.len());
    Ok(())
}

pub(super) async fn stdin_passes_and_closes(b: Bench) -> Verdict {
    let mut process = b.open(&plain_spec(), &with_input(sh("cat; echo end >&2; exit 5"))).await??;
    let mut input = stdin_of(&mut process)?;
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap_or(0)).collect();
    let write = async {
        input.write_all(&sent).await?;
        input.shutdown().await?;
        drop(input);
        Ok::<(), Failure>(())
    };
    let (written, output) = tokio::join!(write, process.output(OUTPUT_LIMIT));
    written?;
    let output = output?;
    check!(output.stdout == sent, "{} of {} bytes came back, or others", output.stdout.len(), sent.len());
    same!(output.stderr, b"end\n", "stderr");
    same!(output.exit, Exit::Code(5), "the exit");
    Ok(())
}

pub(super) async fn no_input_is_at_its_end(b: Bench) -> Verdict {
    let process = b.open(&plain_spec(), &sh("cat; echo over")).await??;
    check!(matches!(process.stdin, ByteSink::Closed), "there is a stdin to write to");
    let output = process.output(OUTPUT_LIMIT).await?;
    check!(output.stdout == b"over\n" && output.exit == Exit::Code(0), "{}", shown(&output));
    Ok(())
}

pub(super) async fn output_comes_before_the_end(b: Bench) -> Verdict {
    let script = "echo first; read line; echo got $line; cat >/dev/null";
    let mut process = b.open(&plain_spec(), &with_input(sh(script))).await??;
    let (mut input, mut output) = (stdin_of(&mut process)?, stdout_of(&mut process)?);
    same!(read_until(&mut output, "\n").await?, b"first\n", "the first line");
    input.write_all(b"answer\n").await?;
    input.flush().await?;
    same!(read_until(&mut output, "\n").await?, b"got answer\n", "the second line");
    drop(input);
    same!(process.exit.await?, Exit::Code(0), "the exit");
    Ok(())
}

pub(super) async fn a_reader_that_leaves_breaks_the_pipe(b: Bench) -> Verdict {
    let mut process = b.open(&plain_spec(), &sh("exec yes")).await??;
    let mut output = stdout_of(&mut process)?;
    read_until(&mut output, "y").await?;
    drop(output);
    let exit = process.exit.await?;
    check!(matches!(exit, Exit::Signal { number: 13, .. }), "want SIGPIPE, got {exit:?}");
    Ok(())
}

/// A command that is not read from waits in its pipe and is not ended for it; nothing is lost once it is read.
pub(super) async fn an_unread_command_waits(b: Bench) -> Verdict {
    let mut process = b.open(&plain_spec(), &sh("head -c 4194304 /dev/zero; echo end >&2")).await??;
    let early = tokio::time::timeout(Duration::from_millis(300), &mut process.exit).await;
    check!(early.is_err(), "it ended although nobody read: {early:?}");
    let output = process.output(OUTPUT_LIMIT).await?;
    same!(output.stdout.len(), 4 << 20, "the length of stdout");
    same!(output.exit, Exit::Code(0), "the exit");
    Ok(())
}
