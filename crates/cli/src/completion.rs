//! What may come next on a command line that is being typed: read off the tree of verbs and flags, and from names that
//! exist now. Shells ask through `agentkernel complete SHELL INDEX -- WORDS...`, whose form is fixed: their scripts are
//! files that outlive this binary. It starts nothing and says nothing but candidates.

use crate::verbs::Shell;
use agentkernel_config::plugin::Target;
use agentkernel_model::{
    agent::Agent,
    egress::Group,
    id::DetachedId,
    image::{ImageRef, Reference},
    name::{SandboxName, TemplateName, VolumeName},
    policy::Profile,
    spec::Isolation,
    text::printable,
};
use clap::{Arg, Command, ValueEnum as _};
use std::{any::TypeId, ffi::OsString, ops::ControlFlow};

/// What a shell asks.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) shell: Shell,
    /// The words before the one that is being typed, without the program's name.
    before: Vec<String>,
    /// What is typed of it.
    typed: String,
}

impl Request {
    /// The question in `words`, the program's own name first; `None` when they are something else.
    pub(crate) fn of(words: &[OsString]) -> Option<Self> {
        let [_, verb, shell, index, dashes, words @ ..] = words else { return None };
        if verb != "complete" || dashes != "--" {
            return None;
        }
        let shell = Shell::from_str(shell.to_str()?, false).ok()?;
        let index: usize = index.to_str()?.parse().ok()?;
        let text = |word: &OsString| word.to_string_lossy().into_owned();
        // A word that is still empty may have got lost on the way.
        let typed = words.get(index).map(text).unwrap_or_default();
        let before = words.iter().take(index).skip(1).map(text).collect();
        Some(Self { shell, before, typed })
    }

    /// The lines of the answer.
    pub(crate) fn answer(&self, tree: &Command, names: &dyn Names) -> Vec<String> {
        candidates(tree, &self.before, &self.typed, names).iter().filter_map(|c| c.line(self.shell)).collect()
    }
}

/// What exists now. Nothing of it may take long, and what cannot be read is not there.
pub(crate) trait Names {
    fn sandboxes(&self) -> Vec<String>;
    fn images(&self) -> Vec<String>;
    fn templates(&self) -> Vec<String>;
    fn volumes(&self) -> Vec<String>;
    fn backends(&self) -> Vec<String>;
    /// Ids of the detached commands of a sandbox.
    fn detached(&self, sandbox: &str) -> Vec<String>;
}

/// One way to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Candidate {
    value: String,
    help: String,
}

impl Candidate {
    fn new(value: impl Into<String>, help: Option<&clap::builder::StyledStr>) -> Self {
        let help = help.map(ToString::to_string).unwrap_or_default();
        Self { value: value.into(), help: printable(help.lines().next().unwrap_or_default()) }
    }

    /// As the script of `shell` reads it; `None` for what would be more than one word there.
    fn line(&self, shell: Shell) -> Option<String> {
        let Self { value, help } = self;
        if value.is_empty() || value.contains(char::is_whitespace) || printable(value) != *value {
            return None;
        }
        Some(match shell {
            Shell::Bash => value.clone(),
            Shell::Zsh if help.is_empty() => value.replace(':', "\\:"),
            Shell::Zsh => format!("{}:{help}", value.replace(':', "\\:")),
            _ if help.is_empty() => value.clone(),
            _ => format!("{value}\t{help}"),
        })
    }
}

fn candidates(tree: &Command, before: &[String], typed: &str, names: &dyn Names) -> Vec<Candidate> {
    let mut place = Place { command: tree, position: 0, awaits: None, escaped: false, sandbox: None };
    match before.iter().try_for_each(|word| place.pass(word)) {
        ControlFlow::Continue(()) => place.complete(typed, names),
        ControlFlow::Break(()) => Vec::new(),
    }
}

/// Where on the command line the next word stands.
#[derive(Debug)]
struct Place<'t> {
    command: &'t Command,
    /// How many positional arguments are complete.
    position: usize,
    /// The flag whose value comes next.
    awaits: Option<&'t Arg>,
    /// After `--` there are no flags.
    escaped: bool,
    /// The sandbox that was named.
    sandbox: Option<String>,
}

impl<'t> Place<'t> {
    /// Goes past one whole word; breaks at the command of somebody else, whose words are not ours to complete.
    fn pass(&mut self, word: &str) -> ControlFlow<()> {
        if self.awaits.take().is_some() {
            return ControlFlow::Continue(());
        }
        if !self.escaped {
            if word == "--" {
                self.escaped = true;
                return ControlFlow::Continue(());
            }
            if word.starts_with('-') && word.len() > 1 {
                self.awaits = self.left_open(word);
                return ControlFlow::Continue(());
            }
            if self.position == 0 {
                if let Some(verb) = self.command.find_subcommand(word) {
                    self.command = verb;
                    return ControlFlow::Continue(());
                }
                if word == "help" && self.command.has_subcommands() {
                    return ControlFlow::Continue(());
                }
            }
        }
        match self.positional() {
            Some(arg) if arg.is_trailing_var_arg_set() => ControlFlow::Break(()),
            Some(arg) if repeats(arg) => ControlFlow::Continue(()),
            arg => {
                if arg.is_some_and(|arg| arg.get_value_parser().type_id() == TypeId::of::<SandboxName>()) {
                    self.sandbox = Some(word.to_owned());
                }
                self.position += 1;
                ControlFlow::Continue(())
            }
        }
    }

    fn positional(&self) -> Option<&'t Arg> {
        self.command.get_positionals().nth(self.position)
    }

    /// The flag in `word` whose value is the next word.
    fn left_open(&self, word: &str) -> Option<&'t Arg> {
        match word.strip_prefix("--") {
            Some(long) if long.contains('=') => None,
            Some(long) => self.long(long).filter(|arg| takes_value(arg)),
            None => self.cluster(word).filter(|(_, value)| value.is_empty()).map(|(arg, _)| arg),
        }
    }

    fn long(&self, long: &str) -> Option<&'t Arg> {
        let named = |arg: &&Arg| {
            arg.get_long() == Some(long) || arg.get_all_aliases().unwrap_or_default().contains(&long)
        };
        self.command.get_arguments().find(named)
    }

    /// The first flag of `-abc` that takes a value, and what follows it.
    fn cluster<'w>(&self, word: &'w str) -> Option<(&'t Arg, &'w str)> {
        word.char_indices().skip(1).find_map(|(at, letter)| {
            let arg = self.command.get_arguments().find(|arg| arg.get_short() == Some(letter))?;
            takes_value(arg).then_some((arg, &word[at + letter.len_utf8()..]))
        })
    }

    fn complete(&self, typed: &str, names: &dyn Names) -> Vec<Candidate> {
        if let Some(arg) = self.awaits {
            return self.values(arg, "", typed, names);
        }
        if !self.escaped && typed.starts_with('-') {
            let with_value = typed.strip_prefix("--").and_then(|flag| flag.split_once('='));
            if let Some((flag, value)) = with_value {
                let Some(arg) = self.long(flag) else { return Vec::new() };
                return self.values(arg, &format!("--{flag}="), value, names);
            }
            if let Some((arg, value)) = self.cluster(typed).filter(|_| !typed.starts_with("--")) {
                return self.values(arg, &typed[..typed.len() - value.len()], value, names);
            }
            return self.flags(typed);
        }
        let mut found = Vec::new();
        if self.position == 0 && !self.escaped {
            found.extend(self.verbs(typed));
        }
        if let Some(arg) = self.positional() {
            found.extend(self.values(arg, "", typed, names));
        }
        found
    }

    fn verbs(&self, typed: &str) -> impl Iterator<Item = Candidate> {
        let shown = self.command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let names = shown.flat_map(|verb| {
            verb.get_name_and_visible_aliases().into_iter().map(|name| Candidate::new(name, verb.get_about()))
        });
        names.filter(move |candidate| candidate.value.starts_with(typed))
    }

    fn flags(&self, typed: &str) -> Vec<Candidate> {
        let shown = || self.command.get_arguments().filter(|arg| !arg.is_hide_set());
        let long =
            shown().filter_map(|arg| Some(Candidate::new(format!("--{}", arg.get_long()?), arg.get_help())));
        let short =
            shown().filter_map(|arg| Some(Candidate::new(format!("-{}", arg.get_short()?), arg.get_help())));
        let help = Candidate { value: "--help".to_owned(), help: "Print help".to_owned() };
        let mut found: Vec<Candidate> = long.chain([help]).collect();
        // Letters stand for flags that are in the list already.
        if typed.len() == 1 {
            found.extend(short);
        }
        found.retain(|candidate| candidate.value.starts_with(typed));
        found
    }

    /// Values of `arg` that begin with `typed`, each behind `prefix`.
    fn values(&self, arg: &Arg, prefix: &str, typed: &str, names: &dyn Names) -> Vec<Candidate> {
        // Only the last one of a list is being typed.
        let delimiter = arg.get_value_delimiter();
        let start = delimiter.and_then(|d| Some(typed.rfind(d)? + d.len_utf8())).unwrap_or(0);
        let (list, typed) = typed.split_at(start);
        let mut found = self.all_values(arg, names);
        found.retain(|candidate| candidate.value.starts_with(typed));
        for candidate in &mut found {
            candidate.value.insert_str(0, list);
            candidate.value.insert_str(0, prefix);
        }
        found
    }

    fn all_values(&self, arg: &Arg, names: &dyn Names) -> Vec<Candidate> {
        let parser = arg.get_value_parser();
        if let Some(possible) = parser.possible_values() {
            let shown = possible.filter(|value| !value.is_hide_set());
            return shown.map(|value| Candidate::new(value.get_name(), value.get_help())).collect();
        }
        let kind = parser.type_id();
        let plain = match arg.get_id().as_str() {
            // A name that is being given is none that exists.
            "name" if ["create", "save", "add"].contains(&self.command.get_name()) => Vec::new(),
            "backend" | "backends" => names.backends(),
            "template" => names.templates(),
            "allow" | "deny" => Group::NAMES.map(str::to_owned).to_vec(),
            _ if kind == TypeId::of::<SandboxName>() => names.sandboxes(),
            _ if kind == TypeId::of::<DetachedId>() => {
                self.sandbox.as_deref().map(|sandbox| names.detached(sandbox)).unwrap_or_default()
            }
            _ if kind == TypeId::of::<TemplateName>() => names.templates(),
            _ if kind == TypeId::of::<VolumeName>() => names.volumes(),
            _ if kind == TypeId::of::<ImageRef>() => names.images(),
            // 'host' is no image of a registry.
            _ if kind == TypeId::of::<Reference>() => {
                names.images().into_iter().filter(|image| image != "host").collect()
            }
            _ if kind == TypeId::of::<Profile>() => Profile::NAMES.map(str::to_owned).to_vec(),
            _ if kind == TypeId::of::<Agent>() => Agent::NAMES.map(str::to_owned).to_vec(),
            _ if kind == TypeId::of::<Target>() => Target::NAMES.map(str::to_owned).to_vec(),
            _ if kind == TypeId::of::<Isolation>() => ["any", "vm"].map(str::to_owned).to_vec(),
            _ => Vec::new(),
        };
        plain.into_iter().map(|value| Candidate::new(value, None)).collect()
    }
}

fn takes_value(arg: &Arg) -> bool {
    arg.get_action().takes_values()
}

fn repeats(arg: &Arg) -> bool {
    matches!(arg.get_action(), clap::ArgAction::Append)
}

#[cfg(test)]
#[path = "completion_tests.rs"]
mod tests;
