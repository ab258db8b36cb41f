//! The world of one test: a backend, what is outside of its sandboxes, and the sandboxes.

use super::image::Image;
use crate::bench::{Bench, expect};
use agentkernel_testkit::{
    env::{Finished, Invocation},
    origin::{Net, Origin, Site},
};
use serde_json::Value;
use std::time::Duration;

/// Longer than any client takes on two busy processors.
const DEADLINE: Duration = Duration::from_secs(120);

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) bench: Bench,
    pub(crate) site: Site,
    /// The image of sandboxes, and the flags that it needs.
    image: Vec<&'static str>,
}

impl World {
    /// `settings` say where the engine is, where that is not what tests themselves use.
    pub(crate) fn new(
        backend: &str,
        engine: Option<(&'static str, String)>,
        settings: Vec<(&'static str, String)>,
        image: Image,
    ) -> Result<Self, String> {
        let is_in_engine = engine.is_some();
        let bench = Bench::new(backend, engine)?.telling(settings);
        let site = Site::in_own_network().map_err(|e| e.to_string())?;
        site.settings(&bench.env);
        let image = if is_in_engine { image.import(&bench)? } else { vec!["--image", "host"] };
        Ok(Self { bench, site, image })
    }

    /// Keeps a secret as a person does.
    pub(crate) fn keep(&self, name: &str, value: &str) -> Result<(), String> {
        let kept = self.bench.agentkernel(&["secret", "set", name, "--stdin"]).input(value).run();
        if kept.code == Some(0) { Ok(()) } else { Err(kept.to_string()) }
    }

    /// A running sandbox that may reach the allowed servers, and no name but those of `flags`.
    pub(crate) fn strict(&self, name: &'static str, flags: &[&str]) -> Result<Guest<'_>, String> {
        let block = self.site.block(Net::Allowed);
        // The first rule that matches decides: those about names come before the one about addresses.
        let mut all = flags.to_vec();
        all.extend(["--only-listed", "--allow", &block]);
        self.sandbox(name, &all)
    }

    /// A running sandbox.
    pub(crate) fn sandbox(&self, name: &'static str, flags: &[&str]) -> Result<Guest<'_>, String> {
        self.started_with(name, flags, &[])
    }

    /// A sandbox whose values are given when it starts.
    pub(crate) fn started_with(
        &self,
        name: &'static str,
        flags: &[&str],
        start: &[&str],
    ) -> Result<Guest<'_>, String> {
        let guest = self.created(name, flags)?;
        let started = self.bench.agentkernel(&["sandbox", "start", name]).args(start).run();
        expect(started.code == Some(0), || started.to_string())?;
        Ok(guest)
    }

    /// A sandbox that was never started.
    pub(crate) fn created(&self, name: &'static str, flags: &[&str]) -> Result<Guest<'_>, String> {
        let create = ["sandbox", "create", name, "-B", self.bench.backend()];
        let made = self.bench.agentkernel(&create).args(&self.image).args(flags).run();
        expect(made.code == Some(0), || made.to_string())?;
        Ok(Guest { world: self, name })
    }

    /// One command in a sandbox of its own.
    pub(crate) fn run(&self, flags: &[&str], command: &[&str]) -> Finished {
        self.running(flags, command).run()
    }

    /// The same, not begun yet.
    pub(crate) fn running(&self, flags: &[&str], command: &[&str]) -> Invocation {
        let start = ["run", "-B", self.bench.backend()];
        self.bench.agentkernel(&start).args(&self.image).args(flags).args(["--"]).args(command)
    }

    /// HTTPS for `names` at an allowed address.
    pub(crate) fn https(&self, names: &[&str]) -> Result<Origin, String> {
        self.site.https(names).map_err(|e| e.to_string())
    }
}

/// A running sandbox, which is removed with its handle.
#[derive(Debug)]
pub(crate) struct Guest<'a> {
    world: &'a World,
    name: &'static str,
}

impl Guest<'_> {
    pub(crate) fn command(&self, command: &[&str]) -> Invocation {
        let start = ["exec", self.name, "--"];
        self.world.bench.agentkernel(&start).args(command).deadline(DEADLINE)
    }

    pub(crate) fn sh(&self, script: &str) -> Finished {
        self.command(&["/bin/sh", "-c", script]).run()
    }

    /// What a script says that must succeed.
    pub(crate) fn says(&self, script: &str) -> Result<String, String> {
        let ran = self.sh(script);
        if ran.code == Some(0) { Ok(ran.out()) } else { Err(ran.to_string()) }
    }

    /// What a script of Python says that must succeed. It has `attack.py`, and `arguments` in `sys.argv[1:]`.
    pub(crate) fn python(&self, script: &str, arguments: &[&str]) -> Result<String, String> {
        let whole = format!("{}\n{script}", include_str!("attack.py"));
        let ran = self.command(&["/usr/bin/python3", "-c", &whole]).args(arguments).run();
        if ran.code == Some(0) { Ok(ran.out()) } else { Err(format!("{script}\n{}", said(&ran))) }
    }

    /// Ends the sandbox and reads its log, which is whole then.
    pub(crate) fn log(&self) -> Result<Vec<Value>, String> {
        self.world.bench.must(&["sandbox", "stop", self.name])?;
        let log = self.world.bench.must(&["policy", "log", self.name, "--json"])?;
        let lines = log.out();
        let line = |line: &str| serde_json::from_str(line).map_err(|e| format!("{line}: {e}"));
        lines.lines().map(line).collect()
    }

    /// Ends the sandbox; fails unless its log has a refusal with each of `words` in it.
    pub(crate) fn refused(&self, words: &[&str]) -> Result<(), String> {
        let log = self.log()?;
        let blocked: Vec<String> =
            log.iter().filter(|line| line["verdict"] == "blocked").map(Value::to_string).collect();
        let missing = |word: &&&str| !blocked.iter().any(|line| line.contains(**word));
        match words.iter().find(missing) {
            None => Ok(()),
            Some(word) => Err(format!("no refusal with '{word}' in the log:\n{}", lines(&log))),
        }
    }

    /// Ends the sandbox; fails unless its log has a line of each of `wanted`: fields, and what they say. Of a reason that is a
    /// part of it.
    pub(crate) fn told(&self, wanted: &[&[(&str, &str)]]) -> Result<(), String> {
        let log = self.log()?;
        let missing =
            |fields: &&&[(&str, &str)]| !log.iter().any(|line| fields.iter().all(|field| says(line, *field)));
        match wanted.iter().find(missing) {
            None => Ok(()),
            Some(fields) => Err(format!("no line with {fields:?} in the log:\n{}", lines(&log))),
        }
    }
}

fn says(line: &Value, (field, what): (&str, &str)) -> bool {
    match &line[field] {
        Value::String(text) if field == "reason" => text.contains(what),
        Value::String(text) => text == what,
        other => *other.to_string() == *what,
    }
}

fn lines(log: &[Value]) -> String {
    log.iter().map(Value::to_string).collect::<Vec<_>>().join("\n")
}

/// The last of what a command said, whose script need not be shown.
fn said(ran: &Finished) -> String {
    format!("code {:?}\nstdout: {}\nstderr: {}", ran.code, ran.out(), ran.err())
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        // What it leaves is found by the test's end.
        let _removed = self.world.bench.agentkernel(&["sandbox", "remove", self.name]).run();
    }
}
