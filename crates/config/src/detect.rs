//! Which image fits: by the command, by the files of the project, by its Procfile, by its configuration.

use crate::{
    languages::{self, DEFAULT_IMAGE, LANGUAGES, Language},
    procfile,
};
use agentkernel_model::{Result, image::ImageRef, text::printable};
use std::{cell::OnceCell, fmt};

/// What detection asks of a project's directory; only as much is read as is needed.
pub trait ProjectFiles {
    /// Whether the directory has a direct child called `name` that is no directory.
    ///
    /// # Errors
    /// When the directory cannot be looked into.
    fn has(&self, name: &str) -> Result<bool>;

    /// The names of the directory's direct children that are no directories, in any order; `None` when there are more than
    /// [`MOST_CHILDREN`] children.
    ///
    /// # Errors
    /// When the directory cannot be read.
    fn names(&self) -> Result<Option<Vec<String>>>;

    /// The text of its `Procfile`; `None` without one.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    fn procfile(&self) -> Result<Option<String>>;
}

/// More children than this are not listed: a project says what it is by the name of one file, or with fewer.
pub const MOST_CHILDREN: usize = 4096;

/// An image and what led to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detected {
    pub image: ImageRef,
    pub why: Why,
}

/// What an image was detected from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The base name of the command.
    Command(String),
    /// A file of the project.
    File(String),
    /// The program of a line of the Procfile.
    Procfile(String),
    /// `sandbox.base_image` or `sandbox.runtime` of a configuration that was found.
    Config,
    /// Nothing was recognised.
    Default,
}

/// For people, after "from": text of the project is made fit for a terminal.
impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(name) => write!(f, "the command '{}'", printable(name)),
            Self::File(name) => write!(f, "the file {}", printable(name)),
            Self::Procfile(name) => write!(f, "the Procfile's '{}'", printable(name)),
            Self::Config => f.write_str("agentkernel.toml"),
            Self::Default => f.write_str("the default"),
        }
    }
}

/// The image for `program` (the first word of a command, a path or a name) run in a project.
///
/// # Errors
/// When the project cannot be read, or an image of the table were malformed.
pub fn for_command(program: &str, files: &impl ProjectFiles, config: Option<&ImageRef>) -> Result<Detected> {
    match by_command(program) {
        Some(found) => found,
        None => for_project(files, config),
    }
}

fn by_command(program: &str) -> Option<Result<Detected>> {
    let base_name = program.rsplit('/').next().unwrap_or(program);
    let language = languages::of_command(base_name)?;
    Some(detected(language.image, Why::Command(base_name.to_owned())))
}

/// The names under which a Dockerfile is looked for, the likeliest first.
const DOCKERFILES: [&str; 6] = [
    "Dockerfile",
    "dockerfile",
    "Dockerfile.dev",
    "Dockerfile.development",
    "Dockerfile.prod",
    "Dockerfile.production",
];

/// The Dockerfile of a project.
///
/// # Errors
/// When the directory cannot be looked into.
pub fn dockerfile(files: &impl ProjectFiles) -> Result<Option<&'static str>> {
    for known in DOCKERFILES {
        if files.has(known)? {
            return Ok(Some(known));
        }
    }
    Ok(None)
}

/// The image for a project that is served rather than run: its files and its Procfile decide before `program` does.
///
/// # Errors
/// As [`for_command`].
pub fn for_server(program: Option<&str>, files: &impl ProjectFiles) -> Result<Detected> {
    let found = for_project(files, None)?;
    let by_command = program.filter(|_| found.why == Why::Default).and_then(by_command);
    by_command.unwrap_or(Ok(found))
}

/// The image for a project: its files, its Procfile, then `config`, the image that its found configuration names.
///
/// # Errors
/// As [`for_command`].
pub fn for_project(files: &impl ProjectFiles, config: Option<&ImageRef>) -> Result<Detected> {
    let children = Children { files, listed: OnceCell::new() };
    for language in &LANGUAGES {
        if let Some(name) = children.of(language)? {
            return detected(language.image, Why::File(name));
        }
    }
    if files.has("Procfile")?
        && let Some(text) = files.procfile()?
    {
        for program in procfile::programs(&text) {
            if let Some(language) = languages::of_command(program) {
                return detected(language.image, Why::Procfile(program.to_owned()));
            }
        }
    }
    match config {
        Some(image) => Ok(Detected { image: image.clone(), why: Why::Config }),
        None => detected(DEFAULT_IMAGE, Why::Default),
    }
}

/// The children of a project, each looked up by its name; listed once, where a name is not enough.
struct Children<'a, F> {
    files: &'a F,
    listed: OnceCell<Vec<String>>,
}

impl<F: ProjectFiles> Children<'_, F> {
    /// A file that speaks for `language`.
    fn of(&self, language: &Language) -> Result<Option<String>> {
        for name in language.names() {
            if self.files.has(name)? {
                return Ok(Some(name.to_owned()));
            }
        }
        if !language.has_suffixes() {
            return Ok(None);
        }
        Ok(self.listed()?.iter().find(|name| language.claims_by_suffix(name)).cloned())
    }

    /// In their order: that of a directory is the file system's whim, and the answer must not be. For the same reason a part
    /// of them is as good as none.
    fn listed(&self) -> Result<&[String]> {
        if let Some(listed) = self.listed.get() {
            return Ok(listed);
        }
        let mut names = self.files.names()?.unwrap_or_default();
        names.sort_unstable();
        Ok(self.listed.get_or_init(|| names))
    }
}

fn detected(image: &str, why: Why) -> Result<Detected> {
    Ok(Detected { image: image.parse()?, why })
}
