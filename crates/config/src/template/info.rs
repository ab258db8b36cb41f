//! `[template]`: what a template says about itself.

use crate::section::Section;
use agentkernel_model::{Result, name::TemplateName};

/// Every field is for people, but `extends`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateInfo {
    /// One line.
    pub description: Option<String>,
    pub category: Option<String>,
    /// What to do with a sandbox of it.
    pub help_text: Option<String>,
    /// The template that this one changes. Only [`super::resolve`] obeys it.
    pub extends: Option<TemplateName>,
}

impl TemplateInfo {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self> {
        Ok(Self {
            description: section.text_within("description", 1024)?,
            category: section.text_within("category", 64)?,
            help_text: section.text_within("help_text", 16 * 1024)?,
            extends: section.parsed("extends")?,
        })
    }
}
