//! Files that are agentkernel's own as a whole. Their last line holds a sum of all before it, by which a file that nobody
//! has touched is told from one that somebody has changed.

use super::{Merge, State};
use sha2::{Digest as _, Sha256};

/// How a comment is written in the file.
#[derive(Debug, Clone, Copy)]
pub(super) enum Comment {
    Markdown,
    Slashes,
}

const BEGIN: &str = "written by agentkernel, sum ";

impl Comment {
    const fn around(self) -> (&'static str, &'static str) {
        match self {
            Self::Markdown => ("<!-- ", " -->"),
            Self::Slashes => ("// ", ""),
        }
    }

    fn line(self, text: &str) -> String {
        let (open, close) = self.around();
        format!("{open}{BEGIN}{}{close}\n", sum(text))
    }

    /// Whether the last line of `text` fits what stands before it.
    fn is_untouched(self, text: &str) -> bool {
        let body = text.strip_suffix('\n').unwrap_or(text);
        let start = body.rfind('\n').map_or(0, |at| at + 1);
        self.line(&text[..start]).trim_end() == &body[start..]
    }
}

pub(super) fn merge(ours: &str, comment: Comment, existing: Option<&str>) -> Merge {
    let text = format!("{ours}\n{}", comment.line(&format!("{ours}\n")));
    let state = match existing {
        None => State::Absent,
        Some(existing) => {
            // Git may have written its line ends in another way.
            let existing = existing.replace("\r\n", "\n");
            match existing.as_str() {
                _ if existing == text => State::Same,
                existing if comment.is_untouched(existing) => State::Outdated,
                _ => State::Different,
            }
        }
    };
    Merge { state, text }
}

/// Sixteen hexadecimal digits: it tells of changes, and is no protection from anybody.
fn sum(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
