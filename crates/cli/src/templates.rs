//! Where the texts of templates come from: saved ones, files, and GitHub.

use crate::project;
use agentkernel_config::{file::MAX_LEN, template::Source};
use agentkernel_engine::Engine;
use agentkernel_model::{Result, name::TemplateName, text::printable};
use std::path::Path;

#[derive(Debug)]
pub(crate) struct Library<'a> {
    pub(crate) engine: &'a Engine,
    /// Relative paths start here.
    pub(crate) cwd: &'a Path,
}

impl Source for Library<'_> {
    fn saved(&self, name: &TemplateName) -> Result<Option<String>> {
        self.engine.saved_template(name)
    }

    fn file(&self, path: &str) -> Result<String> {
        let shown = printable(path);
        project::into_text(&shown, project::read_named(&self.cwd.join(path), &shown)?)
    }

    fn fetch(&self, url: &str) -> Result<String> {
        let content = self.engine.download(url, MAX_LEN)?;
        project::into_text(&printable(url), content)
    }
}
