//! The documentation against the built `agentkernel`: examples run, flags exist and are described, links lead somewhere.
//!
//! A fenced block that begins with "```bash run" is an example that must succeed. All of one page run in one shell, in a
//! new project directory, as they stand; with `AGENTKERNEL_TEST_UID` as that user.
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

use agentkernel_testkit::env::{TestEnv, product_binary};
use libtest_mimic::{Arguments, Failed, Trial};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

/// A page whose examples take longer hangs.
const DEADLINE: Duration = Duration::from_secs(120);

/// Pages without examples that run would be a silent hole in this suite.
const MUST_RUN: [&str; 2] = ["README.md", "docs/getting-started.md"];

fn main() -> ExitCode {
    let pages = pages();
    let mut trials: Vec<Trial> = Vec::new();
    for (name, text) in &pages {
        let script = examples(text);
        if !script.is_empty() || MUST_RUN.contains(&name.as_str()) {
            trials.push(Trial::test(format!("examples::{name}"), move || run(&script)));
        }
        let (page, own) = (name.clone(), text.clone());
        trials.push(Trial::test(format!("links::{name}"), move || links(&page, &own)));
    }
    let commands = pages["docs/commands.md"].clone();
    trials.push(Trial::test("flags::every_one_is_described", move || flags(&commands)));
    trials.push(Trial::test("self::blocks_are_found_by_their_mark", || {
        let text = "a\n```bash run\none\n```\n```bash\ntwo\n```\n```bash run\nthree\n```\n";
        if examples(text) == "one\nthree\n" { Ok(()) } else { Err(examples(text).into()) }
    }));
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every page of the project by its path.
fn pages() -> BTreeMap<String, String> {
    let root = workspace();
    let mut pages = BTreeMap::new();
    for directory in ["", "docs", "docs/adr"] {
        for entry in fs::read_dir(root.join(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "md") {
                let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                pages.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    pages
}

/// The lines of all blocks of `text` that are marked to be run.
fn examples(text: &str) -> String {
    let mut script = String::new();
    let mut inside = false;
    for line in text.lines() {
        match (inside, line.trim_end()) {
            (false, "```bash run") => inside = true,
            (true, "```") => inside = false,
            (true, _) => script.extend([line, "\n"]),
            (false, _) => {}
        }
    }
    script
}

fn run(script: &str) -> Result<(), Failed> {
    if script.is_empty() {
        return Err("this page has no block that begins with ```bash run".into());
    }
    let env = TestEnv::new();
    let bin = env.directory("bin");
    symlink(product_binary(), bin.join("agentkernel"))?;
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display());
    let shell = env.program(Path::new("/bin/bash"), &["-euo", "pipefail", "-x", "-c", script]);
    let done = shell.env("PATH", path).deadline(DEADLINE).run();
    if done.code != Some(0) {
        let (code, out, err) = (done.code, done.out(), done.err());
        return Err(format!("the examples ended with {code:?}\n{out}\n{err}").into());
    }
    let left = env.leftovers();
    if left.is_empty() { Ok(()) } else { Err(format!("left behind:\n{}", left.join("\n")).into()) }
}

/// Every relative link of `text`, the page `name`, leads to a file of the project.
fn links(name: &str, text: &str) -> Result<(), Failed> {
    let page = workspace().join(name);
    let from = page.parent().unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let broken: Vec<&str> = targets
        .filter(|target| !target.starts_with("http") && !target.starts_with('#'))
        .filter(|target| !from.join(target.split('#').next().unwrap_or_default()).exists())
        .collect();
    if broken.is_empty() { Ok(()) } else { Err(format!("lead nowhere: {}", broken.join(", ")).into()) }
}

/// The long flags in `text`.
fn flags_of(text: &str) -> BTreeSet<String> {
    let flag =
        |rest: &str| -> String { rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '-').collect() };
    let found = text.match_indices("--").filter(|(at, _)| {
        // Not within a word, nor the end of a longer dash.
        !text[..*at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-')
    });
    let names = found.map(|(at, _)| flag(&text[at + 2..]));
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())).collect()
}

/// The page of commands names every flag that a verb's help has, and no other.
fn flags(page: &str) -> Result<(), Failed> {
    let env = TestEnv::new();
    let mut real: BTreeSet<String> = BTreeSet::new();
    let mut queue: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(verb) = queue.pop() {
        let mut words: Vec<&str> = verb.iter().map(String::as_str).collect();
        words.push("--help");
        let help = env.agentkernel(&words).run().ok().out();
        let (options, nested) = (section(&help, "Options:"), section(&help, "Commands:"));
        let heads = options.iter().map(|line| line.split("  ").next().unwrap_or_default());
        real.extend(heads.flat_map(flags_of));
        let names = nested.iter().filter_map(|line| line.split_whitespace().next());
        queue.extend(names.filter(|n| *n != "help").map(|n| [verb.clone(), vec![n.to_owned()]].concat()));
    }
    for everywhere in ["help", "version"] {
        real.remove(everywhere);
    }
    let described = flags_of(page);
    let missing: Vec<&String> = real.difference(&described).collect();
    let invented: Vec<&String> =
        described.difference(&real).filter(|f| !["help", "version"].contains(&f.as_str())).collect();
    if missing.is_empty() && invented.is_empty() {
        return Ok(());
    }
    Err(format!("docs/commands.md: not described: {missing:?}; do not exist: {invented:?}").into())
}

/// The entries of a help text below `head`: the lines that begin one, and not those that explain it further.
fn section<'h>(help: &'h str, head: &str) -> Vec<&'h str> {
    // Deeper than a flag without a short form stands.
    const EXPLANATION: usize = 8;
    let lines = help.lines().skip_while(|line| *line != head).skip(1);
    let own = lines.take_while(|line| line.is_empty() || line.starts_with(' '));
    let entry = |line: &&str| line.len() - line.trim_start().len() < EXPLANATION;
    own.filter(entry).map(str::trim_start).filter(|line| !line.is_empty()).collect()
}
