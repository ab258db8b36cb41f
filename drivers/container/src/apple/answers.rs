//! What `container` answers in JSON, as far as it is used here. Fields that are not named are ignored.

use super::program::{Program, QUICK, START};
use agentkernel_model::{Error, Kind, Result, text::printable};
use serde::{Deserialize, de::DeserializeOwned};
use std::collections::HashMap;

/// The version whose documentation and formats this was written against.
pub(crate) const WRITTEN_AGAINST: &str = "1.2.2";

/// `container system status`.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    pub(crate) status: String,
    #[serde(default, rename = "apiServerVersion")]
    pub(crate) version: String,
}

/// One of `container list`.
#[derive(Debug, Deserialize)]
pub(crate) struct Listed {
    pub(crate) id: String,
    configuration: Configuration,
    status: State,
}

#[derive(Debug, Deserialize)]
struct Configuration {
    #[serde(default)]
    labels: HashMap<String, String>,
    image: Named,
}

#[derive(Debug, Deserialize)]
struct Named {
    #[serde(default)]
    reference: String,
}

#[derive(Debug, Deserialize)]
struct State {
    state: String,
}

impl Listed {
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.configuration.labels.get(key).map(String::as_str)
    }

    pub(crate) fn image(&self) -> &str {
        &self.configuration.image.reference
    }

    pub(crate) fn is_running(&self) -> bool {
        self.status.state == "running"
    }
}

/// One of `container image list`.
#[derive(Debug, Deserialize)]
pub(crate) struct Image {
    configuration: ImageName,
    #[serde(default)]
    variants: Vec<Variant>,
}

#[derive(Debug, Deserialize)]
struct ImageName {
    name: String,
}

#[derive(Debug, Deserialize)]
struct Variant {
    #[serde(default)]
    size: u64,
    config: Option<Settings>,
}

#[derive(Debug, Deserialize)]
struct Settings {
    config: Option<Labelled>,
}

#[derive(Debug, Deserialize)]
struct Labelled {
    #[serde(default, rename = "Labels")]
    labels: Option<HashMap<String, String>>,
}

impl Image {
    pub(crate) fn name(&self) -> &str {
        &self.configuration.name
    }

    pub(crate) fn size(&self) -> u64 {
        self.variants.iter().fold(0, |sum, variant| sum.saturating_add(variant.size))
    }

    /// Whether every variant of it has the label `key` with this value. One without variants has not.
    pub(crate) fn has_label(&self, key: &str, value: &str) -> bool {
        let of = |variant: &Variant| {
            let labels = variant.config.as_ref()?.config.as_ref()?.labels.as_ref()?;
            labels.get(key).map(|found| found == value)
        };
        !self.variants.is_empty() && self.variants.iter().all(|variant| of(variant) == Some(true))
    }
}

/// One of `container stats`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) memory_usage_bytes: Option<u64>,
    pub(crate) cpu_usage_usec: Option<u64>,
    pub(crate) num_processes: Option<u64>,
}

/// Whether its service runs.
///
/// # Errors
/// [`Kind::Unavailable`] when it does not, with what starts it.
pub(crate) async fn status(program: &Program) -> Result<Status> {
    let words = words(&["system", "status", "--format", "json"]);
    let answer = program.ask(&words, QUICK).await?;
    let parsed: Result<Status> = parse("container system status", &answer.out);
    match parsed {
        Ok(status) if status.status == "running" => Ok(status),
        Ok(status) => Err(Error::new(
            Kind::Unavailable,
            format!("the service of 'container' is {}", printable(&status.status)),
        )
        .with_hint(START)),
        Err(_) if !answer.worked && !answer.said.is_empty() => {
            Err(Error::new(Kind::Unavailable, format!("'container system status' failed: {}", answer.said))
                .with_hint(START))
        }
        Err(error) => Err(error),
    }
}

/// Every container of this user.
pub(crate) async fn list(program: &Program) -> Result<Vec<Listed>> {
    let words = words(&["list", "--all", "--format", "json"]);
    parse("container list", &program.demand(&words, QUICK).await?)
}

/// The container of exactly this name, if there is one.
pub(crate) async fn one(program: &Program, name: &str) -> Result<Option<Listed>> {
    Ok(list(program).await?.into_iter().find(|container| container.id == name))
}

pub(crate) async fn images(program: &Program) -> Result<Vec<Image>> {
    let words = words(&["image", "list", "--format", "json"]);
    parse("container image list", &program.demand(&words, QUICK).await?)
}

/// What the container `name` uses now.
pub(crate) async fn usage(program: &Program, name: &str) -> Result<Option<Usage>> {
    let words = words(&["stats", "--no-stream", "--format", "json", name]);
    let all: Vec<Usage> = parse("container stats", &program.demand(&words, QUICK).await?)?;
    Ok(all.into_iter().next())
}

fn parse<T: DeserializeOwned>(what: &str, answer: &[u8]) -> Result<T> {
    serde_json::from_slice(answer).map_err(|e| {
        let known = format!("'{what}' answered something else than version {WRITTEN_AGAINST} does");
        Error::new(Kind::Unavailable, known).with_source(e).with_hint("container system version")
    })
}

pub(crate) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
#[path = "answers_tests.rs"]
mod tests;
