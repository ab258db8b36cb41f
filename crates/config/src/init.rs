//! The `agentkernel.toml` that `agentkernel init` writes.

use crate::{
    file::Config,
    key,
    render::{self, Block},
    schema::URL,
    template::Template,
};
use agentkernel_model::{agent::Agent, name::SandboxName};
use std::fmt::Write as _;

/// What stands in the file as a comment where nothing else is said: table, key, value.
const OFFERED: [(&str, &str, &str); 16] = [
    ("sandbox", "base_image", "\"python:3.12-alpine\""),
    ("sandbox", "init_script", "\"apk add --no-cache git\""),
    ("sandbox", "ttl", "\"3d\""),
    ("environment", "", "LOG_LEVEL = \"debug\""),
    ("agent", "preferred", "\"claude\""),
    ("agent", "git_name", "\"Ada Lovelace\""),
    ("agent", "git_email", "\"ada@example.org\""),
    ("resources", "vcpus", "2"),
    ("resources", "memory_mb", "1024"),
    ("resources", "pids", "512"),
    ("network", "ports", "[\"8080:80\"]"),
    ("security", "profile", "\"moderate\""),
    ("security", "network", "false"),
    ("security", "mount_cwd", "true"),
    ("workspace", "path", "\".\""),
    ("workspace", "mode", "\"view\""),
];

const TABLES: [&str; 7] =
    ["sandbox", "environment", "agent", "resources", "network", "security", "workspace"];

/// The text: what `template` says (with everything that it extends, and without what it says about itself), the name and
/// the agent, and as comments what else there is. It parses back.
#[must_use]
pub fn text(name: &SandboxName, agent: Option<Agent>, template: Option<&Template>) -> String {
    let mut config = template.map(|template| template.config.clone()).unwrap_or_default();
    config.template = Default::default();
    config.name = Some(name.clone());
    config.agent = agent.or(config.agent);
    let mut out = format!(
        "#:schema {URL}\n\n\
         # The sandbox of this project. Everything is optional: without this file the image follows from the command and\n\
         # the project's files. A copy that agentkernel only found is not trusted: see 'agentkernel trust'.\n"
    );
    if let Some(template) = template {
        let _ = writeln!(out, "# Made from the template {}.", comment(&template.name));
    }
    for key in config.emptied.iter().filter(|key| !key.contains('.')) {
        let _ = writeln!(out, "{key} = []");
    }
    let blocks = render::blocks(&config);
    for table in TABLES {
        written(&mut out, table, &config, blocks.iter().find(|block| block.table == table));
    }
    for block in blocks.iter().filter(|block| !TABLES.contains(&block.table)) {
        let _ = writeln!(out, "\n{}", block.heading());
        lines(&mut out, block);
    }
    out
}

/// One table: its lines, and what it could have. The heading is a comment where there are none.
fn written(out: &mut String, table: &str, config: &Config, block: Option<&Block>) {
    let mark = if block.is_some() { "" } else { "# " };
    let _ = writeln!(out, "\n{mark}[{table}]");
    if let Some(block) = block {
        lines(out, block);
    }
    for (_, key, value) in OFFERED.iter().filter(|(of, _, _)| *of == table) {
        if key.is_empty() {
            let _ = writeln!(out, "# {value}");
        } else if !is_said(block, key, config) {
            let doc = key::find(table, key).map_or("", |key| key.doc);
            let _ = writeln!(out, "# {key} = {value}    # {doc}");
        }
    }
}

fn is_said(block: Option<&Block>, key: &str, config: &Config) -> bool {
    // memory_mb may have been written as memory.
    let by_another_name = key == "memory_mb" && config.memory.is_some();
    by_another_name || block.is_some_and(|block| block.lines.iter().any(|line| line.key == key))
}

fn lines(out: &mut String, block: &Block) {
    for line in &block.lines {
        let _ = writeln!(out, "{} = {}", line.key, line.value);
    }
}

/// Text of others on the line of a comment, which a line feed would end.
fn comment(text: &str) -> String {
    agentkernel_model::text::printable(text)
}

#[cfg(test)]
#[path = "init_tests.rs"]
mod tests;
