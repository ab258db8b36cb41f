//! `sandbox_create`: a named sandbox, started.

use super::{Again, Call, Effect, Entry, World, input, output, place, shown::Sandbox};
use crate::{
    App,
    create::{CreateWish, Source},
    fields::{duration, each, parsed},
    mcp::{answer::Answer, progress::Pulling},
    wish::Wish,
};
use agentkernel_config::Ingredients;
use agentkernel_model::{
    Error, Result,
    command::EnvVar,
    egress::{EgressRule, Otherwise},
    image::ImageRef,
    name::Label,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    secret::SecretBinding,
    size::{ByteSize, Cpus},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

pub(super) const CREATE: Entry = Entry {
    names: &["sandbox_create", "create_sandbox"],
    title: "Make a named sandbox",
    description: "Makes a sandbox with a name, and starts it. Its files and processes stay until sandbox_remove, so that many \
                  commands (sandbox_exec) build on each other. Give ttl to have it removed by itself, cwd to have a view of \
                  a project at /workspace, or source_url to have a git repository cloned there.",
    effect: Effect::Adds,
    again: Again::More,
    world: World::Open,
    input: input::<Arguments>,
    output: output::<Sandbox>,
    run: |mut call| {
        Box::pin(async move {
            let arguments = call.read()?;
            create(call, arguments).await
        })
    },
};

/// A new named sandbox.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// Lower-case letters, digits and dashes.
    name: String,
    /// An OCI image such as node:22-alpine, or host: this machine's own programs.
    #[serde(default)]
    image: Option<String>,
    /// A directory of this machine that /workspace is a view of. What is written there stays in the sandbox. Relative
    /// paths start where the server allows them to.
    #[serde(default)]
    cwd: Option<String>,
    /// Variables of the environment of its commands.
    #[serde(default)]
    env: Option<BTreeMap<String, String>>,
    /// What the sandbox may do: restrictive has no network and cannot write outside /tmp; moderate is the default;
    /// permissive is for trusted code.
    #[serde(default)]
    #[schemars(extend("enum" = ["permissive", "moderate", "restrictive"]))]
    profile: Option<String>,
    /// Whether it has a network; the profile's choice without it.
    #[serde(default)]
    network: Option<bool>,
    /// Rules about connections, in order, such as "allow api.example.com:443" or "block *.example.com".
    #[serde(default)]
    rules: Option<Vec<String>>,
    /// Whether nothing is let out but what rules and secrets list.
    #[serde(default)]
    only_listed: Option<bool>,
    /// Ports to reach from this machine, as HOST:SANDBOX.
    #[serde(default)]
    ports: Option<Vec<String>>,
    /// Secrets of the owner's vault that requests to a host carry, as NAME:HOST. Commands never see their values.
    #[serde(default)]
    secrets: Option<Vec<String>>,
    /// An https URL of a git repository that is cloned to /workspace. The image has to have git.
    #[serde(default)]
    source_url: Option<String>,
    /// A branch, tag or commit of it.
    #[serde(default)]
    source_ref: Option<String>,
    /// A shell script that runs inside at each start.
    #[serde(default)]
    init_script: Option<String>,
    /// How long it is there, such as 30m or 2h; until it is removed without it.
    #[serde(default)]
    ttl: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    vcpus: Option<u16>,
    #[serde(default)]
    memory_mb: Option<u32>,
    /// Whether this machine's own programs may take the place of a found image that cannot be had.
    #[serde(default)]
    host_fallback: Option<bool>,
}

impl Arguments {
    fn wish(self, app: &App) -> Result<CreateWish> {
        let source = match (&self.source_url, &self.source_ref) {
            (Some(_), _) if self.cwd.is_some() => {
                return Err(Error::invalid("cwd and source_url both want to be /workspace"));
            }
            (Some(url), reference) => Some(Source::new(url, reference.as_deref())?),
            (None, Some(_)) => return Err(Error::invalid("source_ref without source_url")),
            (None, None) => None,
        };
        let (env, labels) = (self.env.unwrap_or_default(), self.labels.unwrap_or_default());
        Ok(CreateWish {
            name: parsed("name", &self.name)?,
            backend: None,
            labels: labels.iter().map(|(key, value)| Label::new(key, value)).collect::<Result<_>>()?,
            description: self.description,
            ttl: self.ttl.map(|text| duration("ttl", &text)).transpose()?,
            source,
            start: true,
            wish: Wish {
                program: None,
                host_fallback: self.host_fallback.unwrap_or_default(),
                agent: None,
                ingredients: Ingredients {
                    image: self.image.map(|text| parsed::<ImageRef>("image", &text)).transpose()?,
                    profile: self.profile.map(|text| parsed::<Profile>("profile", &text)).transpose()?,
                    network: self.network.map(|on| if on { NetworkSwitch::On } else { NetworkSwitch::Off }),
                    rules: each::<EgressRule>("rules", self.rules)?,
                    otherwise: self.only_listed.unwrap_or_default().then_some(Otherwise::Deny),
                    env: env.iter().map(|(key, value)| EnvVar::new(key, value)).collect::<Result<_>>()?,
                    cpus: self.vcpus.map(Cpus::from_whole),
                    memory: self.memory_mb.map(ByteSize::from_mib),
                    ports: each::<PublishedPort>("ports", self.ports)?,
                    secrets: each::<SecretBinding>("secrets", self.secrets)?,
                    init_script: self.init_script,
                    ..Ingredients::default()
                },
                workspace: place::view(app, self.cwd.as_deref())?,
            },
        })
    }
}

async fn create(call: Call, arguments: Arguments) -> Result<Answer> {
    let wish = arguments.wish(&call.app)?;
    let progress = Pulling::new(&call.reporter);
    let info = call.app.prepare(move |app| async move { app.create(wish, progress).await }).await??;
    let sandbox = Sandbox::from(info);
    Ok(Answer::new(format!("Created {}", sandbox.line()), &sandbox))
}
