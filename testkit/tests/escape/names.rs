//! What is checked beside the attempts: names on the caller's terminal, and that the product has no switches.

use super::arena::{ALONE, Arena};
use libtest_mimic::{Failed, Trial};

const TITLE: &str = "\u{1b}]0;taken\u{7}";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        Trial::test("product/has-no-switches", no_switches),
        Trial::test("terminal/command", || shown(&["run", "--image", "host", "--", &format!("no{TITLE}")])),
        Trial::test("terminal/sandbox", || shown(&["sandbox", "info", &format!("no{TITLE}")])),
        Trial::test("terminal/image", || shown(&["run", "--image", &format!("no{TITLE}"), "--", "true"])),
        Trial::test("terminal/backend", || shown(&["run", "-B", &format!("no{TITLE}"), "--", "true"])),
        Trial::test("terminal/profile", || shown(&["run", "-p", &format!("no{TITLE}"), "--", "true"])),
        Trial::test("terminal/volume", || {
            shown(&["run", "--image", "host", "-v", &format!("/no{TITLE}:/v"), "--", "true"])
        }),
        Trial::test("terminal/description", described),
    ]
}

/// The binary that ships does not know the variable.
fn no_switches() -> Result<(), Failed> {
    let arena = Arena::new(None)?;
    let run = arena.run(ALONE, &["grep", "-c", "Seccomp:.2", "/proc/self/status"]);
    let finished = run.env("AGENTKERNEL_MUTATION", "seccomp").run();
    if finished.out() == "1\n" { Ok(()) } else { Err(format!("the filter is gone: {finished}").into()) }
}

fn drives_a_terminal(text: &str) -> bool {
    text.chars().any(|c| c.is_control() && c != '\n')
}

/// A message about something with escape sequences in its name, which exists nowhere.
fn shown(arguments: &[&str]) -> Result<(), Failed> {
    let finished = Arena::new(None)?.agentkernel(arguments).run();
    let text = finished.err() + &finished.out();
    if finished.code == Some(0) || !text.contains("taken") {
        return Err(format!("set-up: want a message with the name: {finished}").into());
    }
    if drives_a_terminal(&text) { Err(format!("it drives the terminal: {finished}").into()) } else { Ok(()) }
}

/// A text that is stored and shown later.
fn described() -> Result<(), Failed> {
    let arena = Arena::new(None)?;
    let text = format!("what{TITLE}");
    arena.must(&["sandbox", "create", "named", "--image", "host", "--description", &text])?;
    let mut seen = false;
    for verb in [&["sandbox", "info", "named"][..], &["sandbox", "list"], &["gc", "--dry-run", "--stopped"]] {
        let finished = arena.must(verb)?;
        let all = finished.out() + &finished.err();
        seen |= all.contains("what");
        if drives_a_terminal(&all) {
            return Err(format!("it drives the terminal: {finished}").into());
        }
    }
    arena.must(&["sandbox", "remove", "named"])?;
    if seen { Ok(()) } else { Err("set-up: no verb shows the description".into()) }
}
