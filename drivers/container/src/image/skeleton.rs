//! The layer with what a root has besides those of its image: directories, links, and the places where directories and
//! files of the host will be mounted.

use agentkernel_backend::Rootfs;
use agentkernel_model::{Error, Result};
use std::{collections::BTreeMap, io};
use tar::{Builder, EntryType, Header};

/// The mode of directories that nobody asked for by themselves.
const PARENT: u32 = 0o755;
/// What an archive of nothing ends with, and consists of.
const END: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Node {
    Directory(u32),
    Link(String),
    File,
}

/// By path, without the slash at the beginning; so that a directory comes before what is in it.
#[derive(Debug, Default)]
pub(super) struct Plan(BTreeMap<String, Node>);

impl Plan {
    pub(super) fn of(rootfs: &Rootfs) -> Self {
        let mut plan = Self::default();
        for (path, mode) in &rootfs.directories {
            plan.put(path.as_str(), Node::Directory(*mode));
        }
        for (path, says) in &rootfs.links {
            plan.put(path.as_str(), Node::Link(says.clone()));
        }
        for graft in &rootfs.grafts {
            let node = if graft.source.is_dir() { Node::Directory(PARENT) } else { Node::File };
            plan.put(graft.target.as_str(), node);
        }
        plan
    }

    /// What is there stays, but for the mode of a directory that is only there because something is in it. Below what is
    /// no directory nothing is put.
    fn put(&mut self, path: &str, node: Node) {
        let path = path.trim_matches('/');
        if path.is_empty() {
            return;
        }
        let slashes = path.match_indices('/').map(|(at, _)| &path[..at]);
        let above: Vec<&str> = slashes.collect();
        if above.iter().any(|path| self.0.get(*path).is_some_and(|n| !matches!(n, Node::Directory(_)))) {
            return;
        }
        for path in above {
            self.0.entry(path.to_owned()).or_insert(Node::Directory(PARENT));
        }
        match self.0.get_mut(path) {
            Some(Node::Directory(mode)) if *mode == PARENT => {
                if let Node::Directory(wanted) = node {
                    *mode = wanted;
                }
            }
            Some(_) => {}
            None => drop(self.0.insert(path.to_owned(), node)),
        }
    }

    /// All of it as an archive, the same for the same plan.
    pub(super) fn pack(&self) -> Result<Vec<u8>> {
        let mut archive = Builder::new(Vec::new());
        for (path, node) in &self.0 {
            append(&mut archive, path, node)
                .map_err(|e| Error::invalid(format!("cannot put '{path}' into an archive")).with_source(e))?;
        }
        archive.into_inner().map_err(|e| Error::internal("cannot end an archive").with_source(e))
    }
}

/// Whether an archive that [`Plan::pack`] made holds anything.
pub(super) fn is_empty(archive: &[u8]) -> bool {
    archive.len() <= END
}

fn append(archive: &mut Builder<Vec<u8>>, path: &str, node: &Node) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    match node {
        Node::Directory(mode) => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(mode & 0o7777);
            archive.append_data(&mut header, format!("{path}/"), io::empty())
        }
        Node::Link(says) => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            archive.append_link(&mut header, path, says)
        }
        Node::File => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, io::empty())
        }
    }
}

#[cfg(test)]
#[path = "skeleton_tests.rs"]
mod tests;
