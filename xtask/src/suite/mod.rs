//! `cargo xtask test`: everything that must pass, as root and as an ordinary user, in one table of stages.
//!
//! What could not run is said loudly at the end; in CI (`CI` or `AGENTKERNEL_CI` set) it is a failure.

mod build;
mod stages;

use crate::{
    Outcome,
    cargo::cargo,
    deadline,
    person::{self, Half, Person},
    workspace::Workspace,
};
use build::Programs;
use stages::{PACKAGES, STAGES, Stage, TOOLS, Target, Work};
use std::{
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

const USAGE: &str = "\
cargo xtask test             every stage, as root and as an ordinary user
cargo xtask test STAGE...    these
cargo xtask test --list      the names of the stages
";

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed(String),
    Skipped(String),
}

struct Row {
    stage: String,
    verdict: Verdict,
    took: Duration,
}

pub(crate) fn run(words: &[&str]) -> Outcome<ExitCode> {
    if words.iter().any(|word| matches!(*word, "help" | "--help" | "-h")) {
        print!("{USAGE}");
        return Ok(ExitCode::SUCCESS);
    }
    if words == ["--list"] {
        for stage in STAGES {
            println!("{}", stage.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(word) = words.iter().find(|word| !STAGES.iter().any(|stage| stage.name == **word)) {
        return Err(format!("'{word}' is not a stage: cargo xtask test --list shows them").into());
    }
    let workspace = Workspace::load()?;
    let staging = person::Stage::new("test")?;
    let mut runner =
        Runner { workspace: &workspace, staging: &staging, programs: Programs::default(), rows: Vec::new() };
    runner.check_tools();
    for stage in STAGES.iter().filter(|stage| words.is_empty() || words.contains(&stage.name)) {
        runner.stage(stage)?;
    }
    Ok(summary(&runner.rows))
}

struct Runner<'a> {
    workspace: &'a Workspace,
    staging: &'a person::Stage,
    programs: Programs,
    rows: Vec<Row>,
}

impl Runner<'_> {
    fn check_tools(&mut self) {
        for (tool, package) in TOOLS {
            if !on_path(tool) {
                let why = format!("{tool} is not installed: apt-get install {package}, or run scripts/setup");
                self.rows.push(Row {
                    stage: format!("tool {tool}"),
                    verdict: Verdict::Skipped(why),
                    took: Duration::ZERO,
                });
            }
        }
    }

    fn stage(&mut self, stage: &Stage) -> Outcome<()> {
        if let Some((_, whose)) = PACKAGES.iter().find(|(name, _)| *name == stage.name) {
            let mut fetching = Command::new(self.workspace.root.join("scripts/packages"));
            fetching.args(*whose).stdin(Stdio::null());
            self.timed(stage, format!("packages of {}", stage.name), &mut fetching)?;
            if matches!(self.rows.last(), Some(Row { verdict: Verdict::Failed(_), .. })) {
                return Ok(());
            }
        }
        match stage.work {
            Work::Tests(words) => {
                let mut command = cargo();
                if has_nextest() {
                    let profile = if in_ci() { "ci" } else { "default" };
                    command.args(["nextest", "run", "--no-tests", "pass", "--profile", profile]).args(words);
                } else {
                    command.arg("test").args(words);
                    // Documentation has its own stage.
                    if !words.contains(&"--lib") {
                        command.arg("--all-targets");
                    }
                }
                self.cargo(stage, &mut command)
            }
            Work::Plain(words) => self.cargo(stage, cargo().arg("test").args(words)),
            Work::Program { package, target, env, halves } => {
                for half in halves {
                    self.program(stage, package, target, env, *half)?;
                }
                Ok(())
            }
        }
    }

    fn cargo(&mut self, stage: &Stage, command: &mut Command) -> Outcome<()> {
        command.current_dir(&self.workspace.root).stdin(Stdio::null());
        self.timed(stage, stage.name.to_owned(), command)
    }

    /// Runs `command` as one row of the summary.
    fn timed(&mut self, stage: &Stage, name: String, command: &mut Command) -> Outcome<()> {
        println!("\n=== {name}");
        let started = Instant::now();
        let verdict = match deadline::run(command, Duration::from_secs(60 * stage.limit))? {
            deadline::Ended::Exited(status) if status.success() => Verdict::Passed,
            deadline::Ended::Exited(status) => Verdict::Failed(status.to_string()),
            deadline::Ended::TimedOut => Verdict::Failed(format!("not done after {} minutes", stage.limit)),
        };
        self.rows.push(Row { stage: name, verdict, took: started.elapsed() });
        Ok(())
    }

    fn program(
        &mut self,
        stage: &Stage,
        package: &str,
        target: Target,
        env: &[(&str, &str)],
        half: Half,
    ) -> Outcome<()> {
        let name = format!("{} as {}", stage.name, half.as_str());
        let found = self.workspace.package(package).filter(|p| match target {
            Target::Lib => true,
            Target::Test(test) => p.tests.iter().any(|own| own == test),
        });
        let ready = match (found, Person::of(half)?) {
            (None, _) => Err(format!("{package} has no such test target yet: {target:?}")),
            (_, Err(why)) => Err(why),
            (Some(package), Ok(person)) => Ok((package, person)),
        };
        let (package, person) = match ready {
            Ok(ready) => ready,
            Err(why) => {
                self.rows.push(Row { stage: name, verdict: Verdict::Skipped(why), took: Duration::ZERO });
                return Ok(());
            }
        };
        let home = person.home_under(self.staging.path(), &name.replace(' ', "-"))?;
        // Tests read the files that they are compared with from the clone.
        let built = if person.can_read(&package.manifest(), &home)? {
            self.programs.prepare(self.staging, package, target).map_err(|error| error.to_string())
        } else {
            let root = self.workspace.root.display();
            Err(format!("{} cannot read {root}: clone it where every user may go, such as /srv", person.name))
        };
        let built = match built {
            Ok(built) => built,
            Err(why) => {
                self.rows.push(Row { stage: name, verdict: Verdict::Failed(why), took: Duration::ZERO });
                return Ok(());
            }
        };
        let mut command = Command::new(&built.test);
        person.become_in(&mut command, &home);
        command.env("TMPDIR", home.join("tmp")).env("CARGO_MANIFEST_DIR", &package.dir);
        command.env("AGENTKERNEL_BIN", &built.agentkernel).env("AGENTKERNEL_MUTATIONS_BIN", &built.mutations);
        command.envs(env.iter().copied());
        if in_ci() {
            command.env("AGENTKERNEL_CI", "1");
        }
        if half == Half::Root {
            // Root's tools are where root has them.
            command.envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        }
        // Cargo's convention, where this person may go there.
        command.current_dir(&home).stdin(Stdio::null());
        self.timed(stage, name, &mut command)
    }
}

fn summary(rows: &[Row]) -> ExitCode {
    println!("\n=== summary");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for row in rows {
        let seconds = row.took.as_secs_f64();
        match &row.verdict {
            Verdict::Passed => {
                passed += 1;
                println!("passed   {:<28} {seconds:>7.1} s", row.stage);
            }
            Verdict::Failed(why) => {
                failed += 1;
                println!("FAILED   {:<28} {seconds:>7.1} s  {why}", row.stage);
            }
            Verdict::Skipped(why) => {
                skipped += 1;
                println!("SKIPPED  {:<28}            {why}", row.stage);
            }
        }
    }
    println!("stages: {passed} passed, {failed} failed, {skipped} skipped");
    if failed > 0 || passed == 0 {
        return ExitCode::FAILURE;
    }
    if skipped > 0 && in_ci() {
        println!("what was skipped is expected in CI: red");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn in_ci() -> bool {
    let set = |key| std::env::var(key).is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    set("CI") || set("AGENTKERNEL_CI")
}

fn has_nextest() -> bool {
    let mut command = cargo();
    command.args(["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

pub(crate) fn on_path(tool: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin"].map(Into::into);
    std::env::split_paths(&path).chain(usual).any(|dir| is_program(&dir.join(tool)))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(verdict: Verdict) -> Row {
        Row { stage: "s".to_owned(), verdict, took: Duration::ZERO }
    }

    #[test]
    fn one_failure_or_nothing_run_is_red() {
        // ExitCode has no equality; its debug form tells success from failure.
        let code = |rows: &[Row]| format!("{:?}", summary(rows));
        let red = format!("{:?}", ExitCode::FAILURE);
        assert_eq!(code(&[row(Verdict::Passed), row(Verdict::Failed(String::new()))]), red);
        assert_eq!(code(&[row(Verdict::Skipped(String::new()))]), red);
        assert_eq!(code(&[]), red);
        assert_eq!(code(&[row(Verdict::Passed)]), format!("{:?}", ExitCode::SUCCESS));
    }

    #[test]
    fn stage_names_are_unique_and_selectable() {
        let mut names: Vec<_> = STAGES.iter().map(|stage| stage.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STAGES.len());
        assert!(run(&["no-such-stage"]).is_err());
    }
}
