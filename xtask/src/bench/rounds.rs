//! Rows that are timed by turns.

use super::{
    command::{quiet, time},
    rows::{Row, Timings},
};
use std::{path::Path, process::Command};

/// Puts things as they have to be before a sample is taken; not timed.
type Before<'a> = Box<dyn Fn() -> Result<(), String> + 'a>;

/// What one row times: a whole process, started anew each time.
pub(super) struct Subject<'a> {
    name: String,
    command: Box<dyn Fn() -> Command + 'a>,
    before: Before<'a>,
}

impl<'a> Subject<'a> {
    pub(super) fn new(name: impl Into<String>, command: impl Fn() -> Command + 'a) -> Self {
        Self { name: name.into(), command: Box::new(command), before: Box::new(|| Ok(())) }
    }

    pub(super) fn of_words(name: &str, words: Vec<String>) -> Self {
        Self::new(name, move || {
            let mut command = Command::new(&words[0]);
            command.args(&words[1..]);
            command
        })
    }

    pub(super) fn prepared_by(mut self, before: impl Fn() -> Result<(), String> + 'a) -> Self {
        self.before = Box::new(before);
        self
    }

    fn try_out(&self, log: &Path) -> Result<(), String> {
        (self.before)()?;
        quiet(&mut (self.command)(), log)
    }
}

/// How often.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rounds {
    pub(super) timed: usize,
    /// Before the timed ones.
    pub(super) warm_up: usize,
}

/// Times every subject once in each round, and begins with another one each time. A subject that cannot run at all is left
/// out with its reason, instead of failing a thousand times.
pub(super) fn interleave(mut subjects: Vec<Subject<'_>>, rounds: Rounds, log: &Path) -> Timings {
    let mut missing = Vec::new();
    subjects.retain(|subject| {
        let tried = subject.try_out(log);
        tried.map_err(|why| missing.push((subject.name.clone(), why))).is_ok()
    });
    let mut rows: Vec<Row> =
        subjects.iter().map(|subject| Row { name: subject.name.clone(), ..Row::default() }).collect();
    for round in 0..rounds.timed + rounds.warm_up {
        for turn in 0..subjects.len() {
            let index = (turn + round) % subjects.len();
            let subject = &subjects[index];
            match (subject.before)().and_then(|()| time(&mut (subject.command)())) {
                Ok(_) if round < rounds.warm_up => {}
                Ok(took) => rows[index].samples.push(took),
                Err(_) => rows[index].failures += 1,
            }
        }
    }
    Timings { rows, missing }
}

#[cfg(test)]
#[path = "rounds_tests.rs"]
mod tests;
