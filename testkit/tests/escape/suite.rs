//! Runs every attempt twice: against the product, where its defence must stop it, and against each mutation of the
//! list, where it must get through.

use super::{
    arena::{self, Arena},
    attempt::{Attempt, Who},
    attempts, list, names,
};
use agentkernel_testkit::TestEnv;
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode},
    sync::Arc,
};

/// The suite that issue 2 asks for has at least this many attempts.
const LEAST: usize = 40;

/// Set where mounts are this suite's own.
const APART: &str = "AGENTKERNEL_ESCAPE_APART";

pub(crate) fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let is_root = TestEnv::new().is_root();
    if is_root && std::env::var_os(APART).is_none() {
        let error = apart().exec();
        eprintln!("error: unshare cannot be started: {error}");
        return ExitCode::FAILURE;
    }
    let attempts: Vec<Arc<Attempt>> = attempts::all().into_iter().map(Arc::new).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("escape-mutations.txt");
    let list = match fs::read_to_string(&path).map_err(|e| e.to_string()).and_then(|text| list::parse(&text))
    {
        Ok(list) => list,
        Err(e) => {
            eprintln!("error: {}: {e}", path.display());
            return ExitCode::FAILURE;
        }
    };
    let known: Vec<String> = attempts.iter().map(|a| a.name.clone()).collect();
    let mut trials = names::trials();
    let checked = list.clone();
    trials.push(Trial::test("list", move || check_list(&checked, &known)));
    let mine = |a: &&Arc<Attempt>| a.who == Who::Anyone || is_root;
    for attempt in attempts.iter().filter(mine) {
        let held = Arc::clone(attempt);
        let name = format!("held/{}", attempt.name);
        trials.push(Trial::ignorable_test(name, move || judge(&held, None)));
        for line in list.iter().filter(|m| m.attempt == attempt.name) {
            let (attempt, mutation) = (Arc::clone(attempt), line.mutation.clone());
            let name = format!("taken/{}/{mutation}", attempt.name);
            trials.push(Trial::ignorable_test(name, move || judge(&attempt, Some(&mutation))));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// This program, with mounts of its own. Where mounts are shared, as systemd has them, those of a sandbox of root's reach the
/// whole machine once that defence is taken away, and stay.
fn apart() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "--"]).env(APART, "1");
    command.args(std::env::args_os());
    command
}

fn check_list(list: &[list::Mutation], attempts: &[String]) -> Result<(), Failed> {
    let attempts: Vec<&str> = attempts.iter().map(String::as_str).collect();
    let mut faults = list::faults(list, &attempts);
    let unique: std::collections::BTreeSet<&&str> = attempts.iter().collect();
    if unique.len() != attempts.len() {
        faults.push("two attempts have one name".to_owned());
    }
    if attempts.len() < LEAST {
        faults.push(format!("there are {} attempts, fewer than {LEAST}", attempts.len()));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults.join("\n").into()) }
}

/// With `mutation`, the defence is taken away, and the attempt must get through.
fn judge(attempt: &Attempt, mutation: Option<&str>) -> Result<Completion, Failed> {
    if let Some(why) = (attempt.impossible)() {
        return Ok(Completion::ignored_with(why));
    }
    if mutation.is_some() && !arena::mutations_binary().exists() {
        let hint = "cargo build -p agentkernel --features mutations --target-dir target/mutations";
        return Err(format!("there is no {}: {hint}", arena::mutations_binary().display()).into());
    }
    let arena = Arena::new(mutation)?;
    let observed = (attempt.make)(&arena)?;
    match mutation {
        None if observed == attempt.stopped => {
            // What was stopped must not have left anything outside either.
            let left = arena.env.leftovers();
            if left.is_empty() { Ok(Completion::Completed) } else { Err(left.join("\n").into()) }
        }
        None => Err(format!("want '{}', observed '{observed}'", attempt.stopped).into()),
        Some(_) if attempt.through.contains(&observed.as_str()) => Ok(Completion::Completed),
        Some(_) if observed == attempt.stopped => {
            Err(format!("it is stopped ('{observed}') without the defence that is said to stop it").into())
        }
        Some(_) => Err(format!("want one of {:?}, observed '{observed}'", attempt.through).into()),
    }
}
