//! Completion in shells, and the manual: both are made from the same tree of verbs as `--help`.

use agentkernel_testkit::{
    TestEnv,
    env::{Finished, product_binary},
};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

/// The first of `programs` that is installed; says so when there is none.
fn installed(programs: &[&str], what: &str) -> Option<PathBuf> {
    let found = programs.iter().map(|name| Path::new("/usr/bin").join(name)).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: {what}: none of {programs:?} is installed");
    }
    found
}

/// A world with two sandboxes, `agentkernel` on its path, and the script of `shell` in a file.
fn world(shell: &str) -> (TestEnv, PathBuf, String) {
    let env = TestEnv::new();
    for name in ["box", "build"] {
        env.agentkernel(&["sandbox", "create", name, "--image", "host"]).run().ok();
    }
    let script = env.agentkernel(&["completions", shell]).run().ok().silent_stderr().out();
    let script = env.file("script", script);
    let bin = env.directory("bin");
    symlink(product_binary(), bin.join("agentkernel")).unwrap();
    let path = format!("{}:/usr/bin:/bin", bin.display());
    (env, script, path)
}

fn complete(env: &TestEnv, shell: &str, words: &[&str]) -> Finished {
    let index = (words.len() - 1).to_string();
    env.agentkernel(&[&["complete", shell, &index, "--"], words].concat()).run()
}

#[test]
fn names_that_exist_are_offered() {
    let (env, ..) = world("bash");
    complete(&env, "bash", &["agentkernel", "exec", ""]).ok().silent_stderr().prints("box\nbuild\n");
    complete(&env, "bash", &["agentkernel", "sandbox", "rm", "bu"]).ok().prints("build\n");
    complete(&env, "bash", &["agentkernel", "run", "-B", ""]).ok().prints("native\napple\ndocker\npodman\n");
    complete(&env, "bash", &["agentkernel", "run", "npm", "--"]).ok().silent_stderr().prints("");
    complete(&env, "fish", &["agentkernel", "ru"])
        .ok()
        .prints("run\tRun one command in a sandbox of its own, which is gone when it ends\n");
}

#[test]
fn completing_makes_nothing_and_never_complains() {
    let env = TestEnv::new();
    complete(&env, "bash", &["agentkernel", "exec", ""]).ok().silent_stderr().prints("");
    assert!(!env.data().exists());
    env.directory("home/.local/share/agentkernel");
    env.file(
        "home/.local/share/agentkernel/state.db",
        "this is no database, and longer than a header of one\n".repeat(9),
    );
    complete(&env, "bash", &["agentkernel", "exec", ""]).ok().silent_stderr().prints("");
    complete(&env, "bash", &["agentkernel", "ru"]).ok().prints("run\n");
    let homeless = env.agentkernel(&["complete", "bash", "1", "--", "agentkernel", "ru"]);
    homeless.without_env("HOME").without_env("XDG_DATA_HOME").run().ok().silent_stderr();
}

#[test]
fn bash_completes() {
    let (env, script, path) = world("bash");
    // As bash itself calls it: the line, and its own idea of the words on it.
    let ask = r#"
        source "$1"; shift
        COMP_LINE=$1; COMP_POINT=${2:-${#COMP_LINE}}; shift 2
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
        _agentkernel agentkernel
        printf '%s\n' "${COMPREPLY[@]}"
        complete -p agentkernel >/dev/null
    "#;
    let script = script.to_str().unwrap();
    for (line, words, expected) in [
        ("agentkernel ex", &["agentkernel", "ex"][..], "exec\n"),
        ("agentkernel exec ", &["agentkernel", "exec", ""], "box\nbuild\n"),
        ("agentkernel   exec   bu", &["agentkernel", "exec", "bu"], "build\n"),
        ("agentkernel run --image=h", &["agentkernel", "run", "--image", "=", "h"], "host\n"),
        ("agentkernel run --image=", &["agentkernel", "run", "--image", "="], "host\n"),
        ("agentkernel run --profile m", &["agentkernel", "run", "--profile", "m"], "moderate\n"),
    ] {
        let arguments = [&["-c", ask, "bash", script, line, ""], words].concat();
        let asked = env.program(Path::new("/bin/bash"), &arguments).env("PATH", &path).run().ok();
        asked.silent_stderr().prints(expected);
    }
    // In the middle of a word, what stands behind the cursor is not typed yet.
    let middle = ["-c", ask, "bash", script, "agentkernel exec build", "18", "agentkernel", "exec", "build"];
    let asked = env.program(Path::new("/bin/bash"), &middle).env("PATH", &path).run().ok();
    asked.silent_stderr().prints("box\nbuild\n");
}

#[test]
fn fish_completes() {
    let Some(fish) = installed(&["fish"], "completion in fish") else { return };
    let (env, script, path) = world("fish");
    let script = script.display();
    for (line, expected) in [("agentkernel exec b", "box\nbuild\n"), ("agentkernel run -p mo", "moderate\n")]
    {
        let ask = format!("source {script}; complete -C '{line}'");
        let asked = env.program(&fish, &["--no-config", "-c", &ask]).env("PATH", &path).run().ok();
        asked.prints(expected);
    }
}

#[test]
fn elvish_completes() {
    let Some(elvish) = installed(&["elvish"], "completion in elvish") else { return };
    let (env, script, path) = world("elvish");
    let script = fs::read_to_string(script).unwrap();
    // Its editor is only there on a terminal: what the script has of it stands in for it here.
    let editor = "fn candidate {|word &display=''| put $word }
        fn filename {|@words| put a-file }
        var edit: = (ns [
            &complex-candidate~=$candidate~ &complete-filename~=$filename~ &completion:=(ns [&arg-completer=[&]])
        ])";
    for (words, expected) in
        [("exec b", "box\nbuild\n"), ("run -p mo", "moderate\n"), ("run npm --", "a-file\n")]
    {
        let ask = format!(
            "each {{|word| echo $word }} [($edit:completion:arg-completer[agentkernel] agentkernel {words})]"
        );
        let whole = env.file("whole.elv", format!("{editor}\n{script}\n{ask}\n"));
        let asked = env.program(&elvish, &["-norc", whole.to_str().unwrap()]).env("PATH", &path).run().ok();
        asked.silent_stderr().prints(expected);
    }
}

#[test]
fn zsh_knows_whom_to_ask() {
    let Some(zsh) = installed(&["zsh"], "completion in zsh") else { return };
    let (env, script, path) = world("zsh");
    let ask = "autoload -U compinit && compinit -u -D && source $1 && echo ${_comps[agentkernel]}";
    let arguments = ["-f", "-c", ask, "zsh", script.to_str().unwrap()];
    env.program(&zsh, &arguments).env("PATH", path).run().ok().silent_stderr().prints("_agentkernel\n");
}

#[test]
fn scripts_are_what_their_shells_can_read() {
    for (shell, program, arguments) in [
        ("bash", "bash", &["-n"][..]),
        ("zsh", "zsh", &["-n"]),
        ("fish", "fish", &["--no-execute"]),
        ("powershell", "pwsh", &["-NoProfile", "-File"]),
    ] {
        let Some(program) = installed(&[program], &format!("the syntax of {shell}")) else { continue };
        let (env, script, path) = world(shell);
        let arguments = [arguments, &[script.to_str().unwrap()]].concat();
        env.program(&program, &arguments).env("PATH", path).run().ok().silent_stderr();
    }
}

#[test]
fn without_a_shell_the_callers_own_is_taken() {
    let env = TestEnv::new();
    let zsh = env.agentkernel(&["completions", "zsh"]).run().ok().out();
    assert!(zsh.starts_with("#compdef agentkernel\n"), "{zsh}");
    env.agentkernel(&["completions"]).env("SHELL", "/usr/bin/zsh").run().ok().prints(zsh);
    let unknown = env.agentkernel(&["completions"]).env("SHELL", "/bin/sh").run().code(125);
    unknown.error_with_hint(&["shell"]);
    env.agentkernel(&["completions"]).without_env("SHELL").run().code(125);
}

#[test]
fn the_manual_is_one_page_per_verb_and_readable() {
    let env = TestEnv::new();
    let directory = env.directory("man").join("man1");
    let told = env.agentkernel(&["man", "--output", directory.to_str().unwrap()]).run().ok();
    let pages: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(told.out().contains(&format!("wrote {} pages", pages.len())), "{told}");
    for name in ["agentkernel", "agentkernel-run", "agentkernel-sandbox-create"] {
        assert!(directory.join(format!("{name}.1")).exists(), "{name}");
    }
    assert!(!pages.iter().any(|page| page.to_string_lossy().contains("keeper")), "{pages:?}");
    let printed = env.agentkernel(&["man", "sandbox", "create"]).run().ok().silent_stderr().stdout;
    assert_eq!(printed, fs::read(directory.join("agentkernel-sandbox-create.1")).unwrap());
    env.agentkernel(&["man", "sandbox", "creat"]).run().code(125).error_with_hint(&["creat"]);
    let Some(reader) = installed(&["groff", "mandoc"], "the pages of the manual") else { return };
    let arguments: &[&str] = if reader.ends_with("groff") {
        &["-ww", "-man", "-Tutf8", "-z"]
    } else {
        &["-T", "lint", "-W", "error"]
    };
    for page in pages {
        let arguments = [arguments, &[page.to_str().unwrap()]].concat();
        env.program(&reader, &arguments).run().ok().silent_stderr();
    }
}
