//! `agentkernel setup`.

use crate::context::Context;
use agentkernel_engine::request::BackendReport;
use agentkernel_model::{Error, Kind, Result, text::printable};
use clap::Args;

const EXAMPLES: &str = "\
Examples:
  agentkernel setup --check           which backend would run a sandbox here
  agentkernel setup --check --json

Nothing has to be installed for the built-in sandbox of Linux.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Setup {
    /// Only look, change nothing. This version has nothing to install, so it is the same without
    #[arg(long)]
    check: bool,

    /// Answer with one JSON array
    #[arg(long)]
    pub(super) json: bool,
}

impl Setup {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let engine = context.engine();
        let reports = context.block_on(engine.backends())?;
        if self.json {
            context.printer.json(&reports)?;
        } else {
            context.printer.text(lines(&reports))?;
        }
        let Some(selected) = reports.iter().find(|r| r.selected) else {
            return Err(Error::new(Kind::Unavailable, "no backend works on this machine").with_hint(
                "do what is said above to make one work, then try 'agentkernel setup --check' again",
            ));
        };
        if !self.json && !self.check {
            context.printer.note(format_args!("nothing to install: {} is ready", selected.id));
        }
        Ok(0)
    }
}

/// What was chosen, then every backend in the order of choice: why it was or was not, and what would change that.
fn lines(reports: &[BackendReport]) -> String {
    let selected = reports.iter().find(|report| report.selected).map_or("none", |report| &report.id);
    let mut lines = vec![format!("Selected backend: {selected}"), String::new()];
    for report in reports {
        let role = match report.role() {
            "" => String::new(),
            role => format!(", {role}"),
        };
        lines.push(printable(&format!("{}: {}{role}", report.id, report.reason)));
        lines.extend(report.hint.iter().map(|hint| format!("  to make it work: {}", printable(hint))));
        let attributes = report.attributes.iter();
        lines.extend(attributes.map(|(key, value)| printable(&format!("  {key}: {value}"))));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn report(id: &str, rank: Option<u8>, reason: &str, hint: Option<&str>) -> BackendReport {
        BackendReport {
            id: id.to_owned(),
            healthy: reason == "works",
            selected: false,
            rank,
            reason: reason.to_owned(),
            hint: hint.map(str::to_owned),
            attributes: BTreeMap::new(),
            capabilities: None,
        }
    }

    #[test]
    fn each_backend_says_why_and_what_would_change_it() {
        let mut reports = vec![
            report("vm", Some(2), "there is no /dev/kvm", None),
            report("one", Some(4), "works", None),
            report("two", Some(5), "works", None),
            report("three", Some(6), "not installed: \u{1b}", Some("sudo apt-get install three")),
            report("far", None, "works", None),
        ];
        reports[1].selected = true;
        reports[1].attributes.insert("memory limits".to_owned(), "yes".to_owned());
        let expected = "Selected backend: one\n\n\
                        vm: there is no /dev/kvm\n\
                        one: works, used when none is named\n  memory limits: yes\n\
                        two: works, used where a better one cannot run a sandbox, and when it is named\n\
                        three: not installed: \\u{1b}\n  to make it work: sudo apt-get install three\n\
                        far: works, used only when it is named";
        assert_eq!(lines(&reports), expected);
        assert!(lines(&reports[..1]).starts_with("Selected backend: none\n"));
    }
}
