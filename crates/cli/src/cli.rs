//! The command line: from words to a verb, and from its result to an exit code.

use crate::{
    completion,
    context::Context,
    env::Env,
    printer::{Form, Printer},
    traces,
    verbs::{self, Verb},
};
use agentkernel_engine::runner;
use agentkernel_model::{Error, suggest, text::printable};
use clap::{
    CommandFactory, Parser,
    builder::StyledStr,
    error::{ContextKind, ContextValue, ErrorKind},
};
use std::{error, ffi::OsString, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  agentkernel run python3 -c \"print('Hello from sandbox!')\"
  agentkernel run --profile restrictive npm test
  agentkernel sandbox create my-project --dir .
  agentkernel sandbox start my-project
  agentkernel exec my-project -- pytest
  agentkernel attach my-project

Exit codes: the command's own; 124 when its time was over, 125 when agentkernel failed,
126 when the command cannot be executed, 127 when it does not exist, 2 for a wrong flag.";

/// Run commands and coding agents in real isolation on your own machine
#[derive(Debug, Parser)]
#[command(name = "agentkernel", version, after_help = EXAMPLES, arg_required_else_help = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// What clap's own usage errors exit with.
const USAGE: u8 = 2;

/// Does everything that `words`, the program's name first, ask for.
pub(crate) fn main(words: Vec<OsString>) -> ExitCode {
    let env = Env::read();
    let printer = Printer::new(env.no_color, env.term.as_deref());
    if asks_for_version(&words) {
        return code(printer.text(VERSION).map(|()| 0), printer, Form::Text);
    }
    if matches!(words.as_slice(), [_, only] if only == runner::VERB) {
        return code(verbs::serve_runner(), printer, Form::Text);
    }
    if let Some(request) = completion::Request::of(&words) {
        // Whoever is typing a command line reads candidates there, and nothing else.
        let answered = Context::new(env, printer).and_then(|context| verbs::answer(&context, &request));
        return ExitCode::from(answered.unwrap_or(0));
    }
    let may_hold_secrets = matches!(words.as_slice(), [_, verb, set, ..] if verb == "secret" && set == "set");
    let verb = match Cli::try_parse_from(words) {
        Ok(cli) => cli.verb,
        Err(error) if may_hold_secrets && repeats(&error) => {
            let told = Error::invalid("'secret set' was given something that it does not take").with_hint(
                "it is not repeated here, because it may be a secret; see 'agentkernel secret set --help'",
            );
            return code(Err(told), printer, Form::Text);
        }
        Err(error) => return ExitCode::from(refuse(&shown(suggesting(error)), printer)),
    };
    let form = verb.form();
    let name = verb.traced();
    let work = || Context::new(env, printer).and_then(|context| verb.execute(&context));
    let done = match name {
        Some(name) => traces::command(name, printer, work),
        None => work(),
    };
    code(done, printer, form)
}

/// Every verb and flag.
pub(crate) fn tree() -> clap::Command {
    Cli::command()
}

const VERSION: &str = concat!("agentkernel ", env!("CARGO_PKG_VERSION"));

/// Answered before the tree of verbs and flags is built, which costs more than all the rest.
/// Whether clap's message has words of the caller's in it.
fn repeats(error: &clap::Error) -> bool {
    let known = [
        ErrorKind::DisplayHelp,
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand,
        ErrorKind::MissingRequiredArgument,
        ErrorKind::ArgumentConflict,
    ];
    let ours = error::Error::source(error).is_some_and(|source| source.downcast_ref::<Error>().is_some());
    !ours && !known.contains(&error.kind())
}

fn asks_for_version(words: &[OsString]) -> bool {
    matches!(words, [_, only] if only == "--version" || only == "-V")
}

fn code(result: agentkernel_model::Result<u8>, printer: Printer, form: Form) -> ExitCode {
    ExitCode::from(result.unwrap_or_else(|error| {
        printer.error(&error, form);
        error.kind().exit_code()
    }))
}

/// A value that breaks one of the model's grammars is told like every other error of ours, with its hint.
fn refuse(error: &clap::Error, printer: Printer) -> u8 {
    let ours = error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    if let (ErrorKind::ValueValidation, Some(ours)) = (error.kind(), ours) {
        printer.error(ours, Form::Text);
        return ours.kind().exit_code();
    }
    printer.usage(error);
    if error.use_stderr() { USAGE } else { 0 }
}

/// Names the verb that was meant: clap suggests none for words as short as ours.
fn suggesting(mut error: clap::Error) -> clap::Error {
    let wrong = match (error.kind(), error.get(ContextKind::InvalidSubcommand)) {
        (ErrorKind::InvalidSubcommand, Some(ContextValue::String(wrong))) => wrong.clone(),
        _ => return error,
    };
    if error.get(ContextKind::SuggestedSubcommand).is_none() {
        let tree = Cli::command();
        let of_sandboxes =
            tree.find_subcommand("sandbox").into_iter().flat_map(clap::Command::get_subcommands);
        let verbs = tree.get_subcommands().chain(of_sandboxes).map(clap::Command::get_name);
        if let Some(near) = suggest::nearest(&wrong, verbs.filter(|verb| *verb != "keeper")) {
            error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![near.to_owned()]));
        }
    }
    error
}

/// Makes the words that the caller wrote fit for a terminal, line ends too: clap repeats them as they are.
fn shown(mut error: clap::Error) -> clap::Error {
    let context: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in context {
        let value = match value {
            ContextValue::String(text) => ContextValue::String(printable(&text)),
            ContextValue::Strings(texts) => {
                ContextValue::Strings(texts.iter().map(|text| printable(text)).collect())
            }
            // Advice around a word of the caller's, one line each.
            ContextValue::StyledStrs(texts) => ContextValue::StyledStrs(
                texts.iter().map(|text| StyledStr::from(printable(&text.to_string()))).collect(),
            ),
            _ => continue,
        };
        error.insert(kind, value);
    }
    error
}

#[cfg(test)]
#[path = "cli_tests.rs"]
mod tests;
