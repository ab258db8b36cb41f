//! Files of a sandbox as values: what a listing has of each, and one that was opened.

use crate::process::ByteSource;
use serde::{Deserialize, Serialize};

/// What is at a path, links followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    File,
    Directory,
    /// A device, pipe, socket, or a link that leads nowhere.
    Other,
}

/// What is in a directory, links not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EntryKind {
    File,
    Directory,
    Link,
    /// A device, pipe or socket.
    Other,
}

/// One entry of a directory. All of it was chosen by whoever is inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Without its directory. What is not UTF-8 is shown as U+FFFD; no path leads to such a file.
    pub name: String,
    pub kind: EntryKind,
    /// In bytes.
    pub size: u64,
    /// Permissions, as chmod(1) has them.
    pub mode: u32,
    /// Seconds since 1970 of the last change of the content.
    pub mtime: i64,
    /// Where a link leads, as it is written in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What is in a directory, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileList {
    pub entries: Vec<FileEntry>,
    /// There is more than these.
    pub truncated: bool,
}

impl FileList {
    /// The most entries of a listing.
    pub const MAX: usize = 10_000;
}

/// A regular file of a sandbox, open at its beginning.
#[derive(Debug)]
pub struct OpenFile {
    /// How long it was when it was opened, where that can be told; it may grow and shrink meanwhile.
    pub size: Option<u64>,
    pub content: ByteSource,
}
