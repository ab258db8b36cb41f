//! Where a path inside leads, link by link. What is mounted there from this machine must not be written to in passing, and a
//! link of an image may lead there. Whoever is inside could mislead this, and gets nothing by it: it can write there itself.

use agentkernel_backend::Files;
use agentkernel_model::{Error, Result, path::GuestPath};
use std::{
    collections::VecDeque,
    io::{self, PipeReader, Read as _},
    os::fd::OwnedFd,
};

/// As many as the kernel follows (path_resolution(7)).
const MOST_LINKS: usize = 40;
const BLOCK: usize = 512;
/// The longest extension of a header, in bytes: a path and the attributes of one file.
const LONGEST_EXTENSION: u64 = 256 << 10;

/// The path of the same file that goes through no link. `None`: nothing is there, or it cannot be told.
///
/// # Errors
/// When there is no pipe to ask through.
pub(super) async fn real(files: &dyn Files, path: &GuestPath) -> Result<Option<GuestPath>> {
    let mut to_go: VecDeque<String> = parts(path.as_str()).collect();
    let mut whole: Vec<String> = Vec::new();
    let mut links = 0;
    while let Some(part) = to_go.pop_front() {
        if part == ".." {
            whole.pop();
            continue;
        }
        whole.push(part);
        let Ok(here) = format!("/{}", whole.join("/")).parse() else { return Ok(None) };
        match look(files, &here).await? {
            Found::Nothing => return Ok(None),
            Found::Thing => {}
            Found::Link(target) => {
                links += 1;
                if links > MOST_LINKS {
                    return Ok(None);
                }
                if target.starts_with('/') {
                    whole.clear();
                } else {
                    whole.pop();
                }
                parts(&target).rev().for_each(|part| to_go.push_front(part));
            }
        }
    }
    Ok(format!("/{}", whole.join("/")).parse().ok())
}

fn parts(path: &str) -> impl DoubleEndedIterator<Item = String> {
    path.split('/').filter(|part| !part.is_empty() && *part != ".").map(str::to_owned)
}

#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Or what this does not understand.
    Nothing,
    Thing,
    Link(String),
}

/// What is at `path` itself: an archive shows a link as a link, and its first header is all that is read of it.
async fn look(files: &dyn Files, path: &GuestPath) -> Result<Found> {
    let (reading, writing) = io::pipe().map_err(|e| Error::io("cannot make a pipe", e))?;
    let first = tokio::task::spawn_blocking(move || first(reading));
    // Cut off after the header, it fails; that is no news.
    let _cut = files.pack(path, "x", OwnedFd::from(writing)).await;
    let found = first.await.map_err(|e| Error::internal("a look at a file was cut off").with_source(e))?;
    Ok(found.unwrap_or(Found::Nothing))
}

/// The first entry of the archive (ustar, POSIX.1-2001 pax(1)); closes the pipe.
fn first(mut from: PipeReader) -> io::Result<Found> {
    let mut header = [0; BLOCK];
    from.read_exact(&mut header)?;
    if header[156] == b'x' {
        let size = octal(&header[124..136]).filter(|size| *size <= LONGEST_EXTENSION);
        let Some(size) = size else { return Ok(Found::Nothing) };
        let mut extension = Vec::new();
        from.by_ref().take(size.next_multiple_of(BLOCK as u64)).read_to_end(&mut extension)?;
        // A link that is longer than a header holds.
        if extension.windows(10).any(|part| part == b" linkpath=") {
            return Ok(Found::Nothing);
        }
        from.read_exact(&mut header)?;
    }
    Ok(match header[156] {
        b'2' => text(&header[157..257]).map_or(Found::Nothing, Found::Link),
        b'0' | b'\0' | b'1' | b'3'..=b'7' => Found::Thing,
        _ => Found::Nothing,
    })
}

fn octal(field: &[u8]) -> Option<u64> {
    u64::from_str_radix(text(field)?.trim(), 8).ok()
}

/// Up to the first zero.
fn text(field: &[u8]) -> Option<String> {
    let text = field.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
#[path = "links_tests.rs"]
mod tests;
