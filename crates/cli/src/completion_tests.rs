use super::*;
use crate::cli;

/// Some of everything.
struct Some5;

impl Names for Some5 {
    fn sandboxes(&self) -> Vec<String> {
        ["box", "build", "two words", "esc\u{1b}"].map(str::to_owned).to_vec()
    }

    fn images(&self) -> Vec<String> {
        ["host", "python:3.12-alpine"].map(str::to_owned).to_vec()
    }

    fn templates(&self) -> Vec<String> {
        vec!["rust".to_owned()]
    }

    fn volumes(&self) -> Vec<String> {
        vec!["cache".to_owned()]
    }

    fn backends(&self) -> Vec<String> {
        ["native", "other"].map(str::to_owned).to_vec()
    }

    fn detached(&self, sandbox: &str) -> Vec<String> {
        if sandbox == "box" { vec!["0c2f91ab".to_owned()] } else { Vec::new() }
    }
}

/// The values that come in question behind `line`, whose last word is being typed.
fn after(line: &str) -> Vec<String> {
    let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
    let last = words.len() - 1;
    let asked = ["agentkernel", "complete", "bash", &last.to_string(), "--"].map(OsString::from);
    let request = Request::of(&[asked.to_vec(), words].concat()).unwrap();
    request.answer(&cli::tree(), &Some5)
}

#[test]
fn verbs_are_offered_and_hidden_ones_are_not() {
    let verbs = after("agentkernel ");
    for verb in ["run", "exec", "sandbox", "sb", "completions"] {
        assert!(verbs.iter().any(|v| v == verb), "{verb}: {verbs:?}");
    }
    assert!(!verbs.iter().any(|v| ["keeper", "create", "complete"].contains(&v.as_str())), "{verbs:?}");
    assert_eq!(after("agentkernel ru"), ["run"]);
    assert_eq!(after("agentkernel sandbox rem"), ["remove"]);
    assert_eq!(after("agentkernel help sandbox rem"), ["remove"]);
    assert_eq!(after("agentkernel nonsense "), [""; 0]);
}

#[test]
fn sandboxes_are_offered_where_one_is_named_and_only_words() {
    for line in ["exec", "attach", "sandbox start", "sb stop", "sandbox rm", "start", "exec -t", "audit -s"] {
        assert_eq!(after(&format!("agentkernel {line} b")), ["box", "build"], "{line}");
    }
    assert_eq!(after("agentkernel exec "), ["box", "build"]);
    assert_eq!(after("agentkernel exec -w /tmp bu"), ["build"]);
    assert_eq!(after("agentkernel exec -w b"), [""; 0]);
    assert_eq!(after("agentkernel sandbox create b"), [""; 0]);
    assert_eq!(after("agentkernel sandbox create --template r"), ["rust"]);
    assert_eq!(after("agentkernel template remove r"), ["rust"]);
    assert_eq!(after("agentkernel volume info c"), ["cache"]);
    assert_eq!(after("agentkernel volume create c"), [""; 0]);
    assert_eq!(after("agentkernel images pull py"), ["python:3.12-alpine"]);
    assert_eq!(after("agentkernel images pull h"), [""; 0]);
    assert_eq!(after("agentkernel sandbox start box b"), [""; 0]);
}

#[test]
fn detached_commands_are_offered_behind_their_sandbox() {
    assert_eq!(after("agentkernel sandbox exec-kill b"), ["box", "build"]);
    assert_eq!(after("agentkernel sandbox exec-kill box "), ["0c2f91ab"]);
    assert_eq!(after("agentkernel sb exec-logs --stderr box 0"), ["0c2f91ab"]);
    assert_eq!(after("agentkernel sandbox exec-logs build "), [""; 0]);
}

#[test]
fn values_follow_their_flags_in_every_spelling() {
    assert_eq!(after("agentkernel run --image py"), ["python:3.12-alpine"]);
    assert_eq!(after("agentkernel run --image=py"), ["--image=python:3.12-alpine"]);
    assert_eq!(after("agentkernel run -i py"), ["python:3.12-alpine"]);
    assert_eq!(after("agentkernel run -ipy"), ["-ipython:3.12-alpine"]);
    assert_eq!(after("agentkernel run -kB n"), ["native"]);
    assert_eq!(after("agentkernel run -kBn"), ["-kBnative"]);
    assert_eq!(after("agentkernel run -p "), ["restrictive", "moderate", "permissive"]);
    assert_eq!(after("agentkernel run --isolation v"), ["vm"]);
    assert_eq!(after("agentkernel benchmark --backends native,o"), ["native,other"]);
    assert_eq!(after("agentkernel completions z"), ["zsh"]);
    assert_eq!(after("agentkernel run --memory "), [""; 0]);
    assert_eq!(after("agentkernel run --nonsense=x"), [""; 0]);
}

#[test]
fn flags_are_offered_once_a_dash_is_typed() {
    assert_eq!(after("agentkernel run --no-n"), ["--no-network"]);
    let all = after("agentkernel run -");
    assert!(["--image", "-i", "--help"].iter().all(|flag| all.iter().any(|f| f == flag)), "{all:?}");
    assert!(!after("agentkernel run --").iter().any(|flag| flag == "-i"));
    assert!(!after("agentkernel exec ").iter().any(|value| value.starts_with('-')));
}

#[test]
fn the_words_of_a_command_are_not_ours() {
    for line in ["run npm --", "run npm ", "run -- npm -", "exec box -- npm -", "exec box npm -", "run -- -"]
    {
        assert_eq!(after(&format!("agentkernel {line}")), [""; 0], "{line}");
    }
}

#[test]
fn each_shell_is_answered_in_its_own_form() {
    let candidate = |help: &str| Candidate { value: "a:b".to_owned(), help: help.to_owned() };
    assert_eq!(candidate("does it").line(Shell::Bash).unwrap(), "a:b");
    assert_eq!(candidate("does: it").line(Shell::Zsh).unwrap(), "a\\:b:does: it");
    assert_eq!(candidate("").line(Shell::Zsh).unwrap(), "a\\:b");
    assert_eq!(candidate("does it").line(Shell::Fish).unwrap(), "a:b\tdoes it");
    assert_eq!(candidate("").line(Shell::Powershell).unwrap(), "a:b");
}

#[test]
fn only_whole_questions_are_questions() {
    let of = |words: &[&str]| Request::of(&words.iter().map(OsString::from).collect::<Vec<_>>());
    for words in [
        &["agentkernel"][..],
        &["agentkernel", "complete"],
        &["agentkernel", "complete", "bash", "1"],
        &["agentkernel", "complete", "tcsh", "1", "--"],
        &["agentkernel", "complete", "bash", "-1", "--"],
        &["agentkernel", "complete", "bash", "1", "x"],
        &["agentkernel", "run", "bash", "1", "--"],
    ] {
        assert_eq!(of(words), None, "{words:?}");
    }
    // An empty last word that got lost, and words behind the one that is typed.
    let question =
        |words: &[&str]| of(&[&["agentkernel", "complete", "bash", "2", "--"][..], words].concat());
    let expected = Request { shell: Shell::Bash, before: vec!["run".to_owned()], typed: String::new() };
    assert_eq!(question(&["agentkernel", "run"]), Some(expected));
    assert_eq!(question(&["agentkernel", "run", "x", "y"]).unwrap().typed, "x");
}
