//! `agentkernel completions`, and the answers that its scripts ask for while a person types.

use crate::{
    backends, cli,
    completion::{Names, Request},
    context::Context,
};
use agentkernel_engine::Engine;
use agentkernel_model::{Error, Result};
use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  agentkernel completions bash > /etc/bash_completion.d/agentkernel
  agentkernel completions zsh > ~/.zfunc/_agentkernel
  agentkernel completions fish > ~/.config/fish/completions/agentkernel.fish
  source <(agentkernel completions bash)        only for this shell

zsh looks into ~/.zfunc when ~/.zshrc has 'fpath+=~/.zfunc' before 'autoload -Uz compinit && compinit'.
What the scripts offer is asked of agentkernel while you type, so that they know the sandboxes that there are.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell; without one, that of $SHELL
    shell: Option<Shell>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lowercase")]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
    Elvish,
    Powershell,
}

impl Shell {
    /// The shell of that program's path.
    fn of_program(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or_default();
        match name {
            "pwsh" => Some(Self::Powershell),
            name => Self::from_str(name, false).ok(),
        }
    }

    const fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("../../completions/agentkernel.bash"),
            Self::Zsh => include_str!("../../completions/agentkernel.zsh"),
            Self::Fish => include_str!("../../completions/agentkernel.fish"),
            Self::Elvish => include_str!("../../completions/agentkernel.elv"),
            Self::Powershell => include_str!("../../completions/agentkernel.ps1"),
        }
    }
}

impl Completions {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let guessed = || context.settings.shell.as_deref().and_then(Shell::of_program);
        let shell = self.shell.or_else(guessed).ok_or_else(|| {
            Error::invalid("it cannot be told which shell you use")
                .with_hint("agentkernel completions bash, zsh, fish, elvish or powershell")
        })?;
        context.printer.text(shell.script().trim_end())?;
        Ok(0)
    }
}

/// Answers a shell. What cannot be found out is not in the answer.
pub(crate) fn answer(context: &Context, request: &Request) -> Result<u8> {
    let lines = request.answer(&cli::tree(), &Live(context.engine()));
    if !lines.is_empty() {
        context.printer.text(lines.join("\n"))?;
    }
    Ok(0)
}

/// The names that there are now.
struct Live(Engine);

impl Names for Live {
    fn sandboxes(&self) -> Vec<String> {
        self.0.names().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn images(&self) -> Vec<String> {
        let stored = self.0.images().list().unwrap_or_default();
        let named = stored.iter().flat_map(|image| &image.names).map(ToString::to_string);
        std::iter::once("host".to_owned()).chain(named).collect()
    }

    fn templates(&self) -> Vec<String> {
        let saved = self.0.saved_templates().unwrap_or_default();
        let mut names: Vec<String> = saved.iter().map(ToString::to_string).collect();
        names.extend(agentkernel_config::template::builtin().map(|(name, _)| name.to_owned()));
        names.sort();
        names.dedup();
        names
    }

    fn volumes(&self) -> Vec<String> {
        self.0.volume_names().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    fn detached(&self, sandbox: &str) -> Vec<String> {
        let found = sandbox.parse().ok().and_then(|name| self.0.detached_list(&name).ok());
        found.unwrap_or_default().iter().map(|info| info.id.to_string()).collect()
    }

    fn backends(&self) -> Vec<String> {
        backends::registry().iter().map(|driver| driver.id.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_is_known_by_its_program() {
        for (path, shell) in [
            ("/bin/bash", Some(Shell::Bash)),
            ("zsh", Some(Shell::Zsh)),
            ("/usr/bin/pwsh", Some(Shell::Powershell)),
            ("/opt/powershell", Some(Shell::Powershell)),
            ("/bin/sh", None),
            ("", None),
        ] {
            assert_eq!(Shell::of_program(path), shell, "{path}");
        }
    }
}
