//! Directories of this machine that agents may see.

use crate::App;
use agentkernel_model::{Error, Kind, Result, mount::Workspace, text::printable};
use std::path::{Path, PathBuf};

/// A view of `cwd` as `/workspace`: of a directory below those that the server was told of. A relative path is taken from
/// the first of them.
///
/// # Errors
/// [`Kind::Denied`] for any other, and for one that is not there: what there is elsewhere is nobody's business.
pub(super) fn view(app: &App, cwd: Option<&str>) -> Result<Workspace> {
    let Some(text) = cwd else { return Ok(Workspace::None) };
    let roots = &app.options.allow_paths;
    let base = roots.first().map_or(Path::new("/"), PathBuf::as_path);
    // Without links, so that none leads out.
    let found = base.join(text).canonicalize().ok().filter(|path| path.is_dir());
    let allowed = found.filter(|path| roots.iter().any(|root| path.starts_with(root)));
    allowed.map(Workspace::View).ok_or_else(|| {
        let hint = match roots.first() {
            None => "leave cwd out, or start the server with --allow-path DIRECTORY".to_owned(),
            Some(first) => {
                let shown = printable(&first.to_string_lossy());
                format!("name one below {shown}, or start the server with --allow-path DIRECTORY")
            }
        };
        Error::new(Kind::Denied, "cwd is no directory that this server shows to callers").with_hint(hint)
    })
}
