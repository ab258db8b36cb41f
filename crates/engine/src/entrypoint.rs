//! The words that an image puts before a command, as `docker run IMAGE COMMAND` does.

use agentkernel_model::{Result, command::Argv};

/// `command` behind `entrypoint`. An entrypoint that is the very program asked for is not put before itself: images of
/// one tool (`/bin/terraform`) are run by naming the tool.
pub(crate) fn before(entrypoint: &[String], command: &Argv) -> Result<Argv> {
    let base = |word: &str| word.rsplit('/').next().unwrap_or(word).to_owned();
    match entrypoint {
        [] => Ok(command.clone()),
        [only] if base(only) == base(command.program()) => Ok(command.clone()),
        words => Argv::new(words.iter().chain(command.words()).cloned().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn stands_before_the_command_unless_it_is_the_command() {
        for (entrypoint, command, whole) in [
            ("", "psql --version", "psql --version"),
            ("docker-entrypoint.sh", "psql --version", "docker-entrypoint.sh psql --version"),
            ("/bin/terraform", "terraform plan", "terraform plan"),
            ("tini --", "tini x", "tini -- tini x"),
        ] {
            let argv = before(&words(entrypoint), &Argv::new(words(command)).unwrap()).unwrap();
            assert_eq!(argv.words(), words(whole), "{entrypoint} | {command}");
        }
    }
}
