//! Commands of a devcontainer.json that are run inside, as one script.

use super::json::Property;
use crate::bound::LONGEST_SCRIPT;
use agentkernel_model::{Result, text::printable};
use jsonc_parser::ast::Value;

/// The words of each command of one property: a text is a line of a shell, a list is a command and its arguments, an
/// object holds several of both.
pub(super) fn commands(property: &Property<'_, '_>) -> Result<Vec<Command>> {
    match property.value {
        Value::StringLit(_) => Ok(vec![Command::Line(property.text_within(LONGEST_SCRIPT)?.to_owned())]),
        Value::Array(_) => {
            let words: Result<Vec<String>> = property
                .items()?
                .iter()
                .map(|word| word.text_within(LONGEST_SCRIPT).map(str::to_owned))
                .collect();
            Ok(vec![Command::Words(words?)])
        }
        Value::Object(_) => {
            let mut all = Vec::new();
            for part in property.properties()? {
                if matches!(part.value, Value::Object(_)) {
                    return Err(part.wrong_type("a text or a list"));
                }
                all.extend(commands(&part)?);
            }
            Ok(all)
        }
        _ => Err(property.wrong_type("a text, a list or an object")),
    }
}

/// One command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Line(String),
    Words(Vec<String>),
}

impl Command {
    /// Every text of it.
    pub(super) fn texts(&mut self) -> &mut [String] {
        match self {
            Self::Line(line) => std::slice::from_mut(line),
            Self::Words(words) => words,
        }
    }

    /// As one line of a script. A line of a shell gets a shell of its own: what it defines or leaves open is its own.
    fn shell(&self) -> String {
        match self {
            Self::Line(line) => format!("sh -c {}", quoted(line)),
            Self::Words(words) => words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
        }
    }
}

/// The script that runs `commands`, each with the name of its property, one after another until one fails.
pub(super) fn script(commands: &[(String, Command)]) -> Option<String> {
    if commands.is_empty() {
        return None;
    }
    let mut out = String::from("set -e\n");
    let mut last = "";
    for (name, command) in commands {
        if name != last {
            out.push_str(&format!("# {}\n", printable(name)));
            last = name;
        }
        out.push_str(&command.shell());
        out.push('\n');
    }
    Some(out)
}

/// One word of a shell, whatever it holds.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
