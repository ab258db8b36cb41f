//! How much of anything a file may hold. Files come from anywhere: what is compared with all others must be few, and what
//! is shown must be short.

use agentkernel_model::{Error, Result, text::printable};

/// The most entries of one list or table.
pub(crate) const MOST_ENTRIES: usize = 1024;

/// The longest word, name or path, in bytes: as much as a path of Linux.
pub(crate) const LONGEST_WORD: usize = 4095;

/// The longest script or value of an environment variable: the kernel takes no more as one word of a command
/// (`MAX_ARG_STRLEN`).
pub(crate) const LONGEST_SCRIPT: usize = 128 * 1024 - 1;

/// `text`, when it has no NUL byte and at most `most` bytes.
pub(crate) fn text(text: &str, most: usize) -> Result<&str> {
    let what = match () {
        () if text.len() > most => "is too long",
        () if text.contains('\0') => "holds a NUL byte",
        () => return Ok(text),
    };
    Err(Error::invalid(format!("'{}' {what}", printable(&shortened(text))))
        .with_hint(format!("write at most {most} bytes, none of them NUL")))
}

/// Sees that a list or table is not too long.
pub(crate) fn entries(count: usize) -> Result<()> {
    if count > MOST_ENTRIES {
        return Err(Error::invalid(format!("it has {count} entries"))
            .with_hint(format!("write at most {MOST_ENTRIES}")));
    }
    Ok(())
}

/// The beginning of a text that may be far too long to be shown.
pub(crate) fn shortened(text: &str) -> String {
    const SHOWN: usize = 60;
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
