//! The binary `agentkernel`: arguments in, a call of the engine, bytes and an exit code out.
//!
//! It holds no rules of its own: it parses ([`args`], [`spec`]), calls the engine ([`verbs`]) and renders ([`printer`]).
#![forbid(unsafe_code)]

mod agent;
mod args;
mod backends;
mod branch;
mod broker;
mod build;
mod cli;
mod completion;
mod configuration;
mod context;
mod env;
mod held;
mod hidden;
mod image;
mod place;
mod printer;
mod project;
mod pump;
mod render;
mod rules;
mod secrets;
mod settings;
mod signals;
mod spec;
mod templates;
mod terminal;
mod traces;
mod transfer;
mod vaults;
mod verbs;
mod workspace;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Process 1 of a container has one thread and reads nothing of its environment.
    #[cfg(target_os = "linux")]
    if std::env::args_os().nth(1).is_some_and(|word| word == agentkernel_guest::agent::WORD) {
        let road = std::env::args_os().nth(2);
        agentkernel_guest::agent::run(agentkernel_guest::agent::Road::from_argument(road.as_deref()));
    }
    cli::main(std::env::args_os().collect())
}
