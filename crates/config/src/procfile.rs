//! Procfiles: lines of `TYPE: COMMAND`.

/// The longest Procfile that is looked at, in bytes; the rest of a longer one is ignored.
pub const MAX_LEN: usize = 64 * 1024;

/// The first word of each line's command. Blank lines, comments, lines without a colon and lines whose command is
/// empty are skipped: a Procfile is only a hint about a project, never an error.
pub fn programs(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter_map(|line| {
        let line = line.trim();
        if line.starts_with('#') {
            return None;
        }
        let (_, command) = line.split_once(':')?;
        command.split_whitespace().next()
    })
}
