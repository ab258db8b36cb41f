//! Prints the JSON schema of agentkernel.toml, or with the argument `reference` its table of keys for the documentation.
#![expect(clippy::print_stdout, reason = "it is what this program is for")]

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("reference") => print!("{}", agentkernel_config::reference()),
        _ => print!("{}", agentkernel_config::schema()),
    }
}
