//! `sandbox list` with many records, each made by `sandbox create`, none of them running.

use super::Task;
use crate::{
    Outcome,
    bench::{command::quiet, rounds::Subject},
};

pub(super) const NONE: &str = "agentkernel sandbox list, no records";
pub(super) const MANY: &str = "agentkernel sandbox list, 1,000 records";
pub(super) const MANY_JSON: &str = "agentkernel sandbox list --json, 1,000 records";

const DATA: &str = "records";

pub(super) fn subjects(task: &Task) -> Outcome<Vec<Subject<'_>>> {
    let log = task.home.join("records.log");
    for number in 0..task.amount.records {
        let name = format!("record-{number}");
        let words = ["sandbox", "create", &name, "--image", "host", "--no-network"];
        quiet(&mut task.agentkernel(DATA, &words), &log).map_err(|why| format!("{name}: {why}"))?;
    }
    let list =
        |row, data, words: &'static [&'static str]| Subject::new(row, move || task.agentkernel(data, words));
    Ok(vec![
        list(NONE, "no-records", &["sandbox", "list"]),
        list(MANY, DATA, &["sandbox", "list"]),
        list(MANY_JSON, DATA, &["sandbox", "list", "--json"]),
    ])
}
