//! The templates that come with the program: the files of `templates/`.

/// Their names and texts, in the order in which they are listed.
pub fn builtin() -> impl Iterator<Item = (&'static str, &'static str)> {
    BUILTIN.iter().copied()
}

macro_rules! builtin {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../templates/", $name, ".toml")))),*]
    };
}

const BUILTIN: [(&str, &str); 18] = builtin![
    "python",
    "node",
    "rust",
    "go",
    "ruby",
    "java",
    "dotnet",
    "php",
    "elixir",
    "c-cpp",
    "shell",
    "terraform",
    "python-ci",
    "node-ci",
    "rust-ci",
    "data-science",
    "web-dev",
    "fullstack",
];
