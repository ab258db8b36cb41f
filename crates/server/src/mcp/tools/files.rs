//! Files of named sandboxes.

use super::{Again, Call, Effect, Entry, World, input, output};
use crate::{
    fields::parsed,
    mcp::{
        answer::Answer,
        clip::{Clip, MOST},
    },
};
use agentkernel_model::{Error, Kind, Result, name::SandboxName, path::GuestPath, text::printable};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use tokio::io::AsyncReadExt as _;

/// The longest file that is looked at.
const MAX_READ: u64 = 64 << 20;
/// The longest file that is no text, of which agents get all or nothing.
const MAX_BYTES: usize = MOST / 4 * 3;

pub(super) const ENTRIES: &[Entry] = &[
    Entry {
        names: &["sandbox_file_read"],
        title: "Read a file of a sandbox",
        description: "Reads a file of a named sandbox. Of a text longer than 16,000 bytes both ends are shown; a short file \
                      that is no text comes as base64.",
        effect: Effect::Reads,
        again: Again::Same,
        world: World::Here,
        input: input::<Read>,
        output: output::<Content>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                read(call, arguments).await
            })
        },
    },
    Entry {
        names: &["sandbox_file_write"],
        title: "Write a file of a sandbox",
        description: "Writes a file of a named sandbox, in the place of one that is there. Directories on the way are made.",
        effect: Effect::Changes,
        again: Again::Same,
        world: World::Here,
        input: input::<Write>,
        output: output::<Written>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                write(call, arguments).await
            })
        },
    },
    Entry {
        names: &["sandbox_write_files"],
        title: "Write files of a sandbox",
        description: "Writes several text files of a named sandbox, in the place of those that are there. Directories on the \
                      way are made.",
        effect: Effect::Changes,
        again: Again::Same,
        world: World::Here,
        input: input::<WriteAll>,
        output: output::<Written>,
        run: |mut call| {
            Box::pin(async move {
                let arguments = call.read()?;
                write_all(call, arguments).await
            })
        },
    },
];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Read {
    /// The sandbox's name.
    name: String,
    /// The file's absolute path inside.
    path: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Write {
    /// The sandbox's name.
    name: String,
    /// The file's absolute path inside.
    path: String,
    content: String,
    /// How content is written; utf8 without it.
    #[serde(default)]
    #[schemars(extend("enum" = ["utf8", "base64"]))]
    encoding: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct WriteAll {
    /// The sandbox's name.
    name: String,
    /// The content of each file, by its absolute path inside.
    files: BTreeMap<String, String>,
}

/// What is in a file.
#[derive(Debug, Serialize, JsonSchema)]
struct Content {
    path: String,
    /// Both ends of it, where it is longer than 16,000 bytes.
    content: String,
    /// `utf8` or `base64`.
    encoding: &'static str,
    /// How many bytes the file has.
    size: u64,
    truncated: bool,
}

/// What was written.
#[derive(Debug, Serialize, JsonSchema)]
struct Written {
    /// How many files.
    count: usize,
    bytes: u64,
}

async fn read(call: Call, arguments: Read) -> Result<Answer> {
    let name: SandboxName = parsed("name", &arguments.name)?;
    let path: GuestPath = parsed("path", &arguments.path)?;
    let mut body = call.app.engine.read_file(&name, &path).await?.body.take(MAX_READ + 1);
    let (mut clip, mut buffer) = (Clip::default(), vec![0; 64 * 1024]);
    loop {
        let read = body.read(&mut buffer).await;
        match read.map_err(|e| Error::io(format!("cannot read {path} in the sandbox"), e))? {
            0 => break,
            length => clip.push(&buffer[..length]),
        }
    }
    if clip.total() > MAX_READ {
        let what = format!("{path} is longer than {MAX_READ} bytes");
        return Err(Error::new(Kind::Exhausted, what)
            .with_hint("read a part of it with sandbox_exec: head, tail, sed"));
    }
    let (content, encoding) = match clip.is_text() {
        true => (clip.text(), "utf8"),
        false => (encoded(&clip, &path)?, "base64"),
    };
    let text = if content.is_empty() { "(the file is empty)".to_owned() } else { content.clone() };
    let shown =
        Content { path: path.to_string(), content, encoding, size: clip.total(), truncated: clip.is_cut() };
    Ok(Answer::of_command(text, &shown))
}

fn encoded(clip: &Clip, path: &GuestPath) -> Result<String> {
    let bytes = clip.whole().filter(|bytes| bytes.len() <= MAX_BYTES).ok_or_else(|| {
        let what = format!("{path} is no text, and has more than {MAX_BYTES} bytes");
        Error::new(Kind::Exhausted, what).with_hint("read a part of it with sandbox_exec: head, od, base64")
    })?;
    Ok(STANDARD.encode(bytes))
}

async fn write(call: Call, arguments: Write) -> Result<Answer> {
    let content = match arguments.encoding.as_deref() {
        None | Some("utf8") => arguments.content.into_bytes(),
        Some("base64") => STANDARD
            .decode(arguments.content.trim_ascii())
            .map_err(|e| Error::invalid(format!("content: this is no base64: {e}")))?,
        Some(other) => {
            let what = format!("encoding: '{}' is neither utf8 nor base64", printable(other));
            return Err(Error::invalid(what));
        }
    };
    let path: GuestPath = parsed("path", &arguments.path)?;
    store(call, &arguments.name, vec![(path, content)]).await
}

async fn write_all(call: Call, arguments: WriteAll) -> Result<Answer> {
    let files = arguments.files.into_iter().map(|(path, content)| {
        Ok((parsed::<GuestPath>(&format!("files: {}", printable(&path)), &path)?, content.into_bytes()))
    });
    // What is wrong is said before anything is written.
    let files = files.collect::<Result<Vec<_>>>()?;
    store(call, &arguments.name, files).await
}

async fn store(call: Call, name: &str, files: Vec<(GuestPath, Vec<u8>)>) -> Result<Answer> {
    let name: SandboxName = parsed("name", name)?;
    let (app, count) = (Arc::clone(&call.app), files.len());
    let storing = async move {
        let mut bytes = 0;
        for (index, (path, content)) in files.into_iter().enumerate() {
            let size = Some(content.len() as u64);
            bytes += app.engine.write_file(&name, &path, content.as_slice(), size).await.map_err(|e| {
                let error =
                    Error::new(e.kind(), format!("{path} was not written, {index} before it were: {e}"));
                match e.hint() {
                    Some(hint) => error.with_hint(hint),
                    None => error,
                }
            })?;
        }
        Ok(bytes)
    };
    let bytes = call.app.calls.finish(storing).await?;
    let what = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    Ok(Answer::new(format!("Wrote {bytes} bytes to {what}"), &Written { count, bytes }))
}
