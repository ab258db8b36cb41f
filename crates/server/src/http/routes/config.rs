//! Sandboxes as configurations: exported, and made again from one.

use crate::fields::{backend, parsed};
use crate::{
    App,
    create::CreateWish,
    http::{
        body::{Body, Segment},
        envelope::{Data, Reply, ok},
    },
    wish::Wish,
};
use agentkernel_config::{Config, Ingredients, Mode, Share, export};
use agentkernel_engine::{images::Silent, request::SandboxInfo};
use agentkernel_model::{
    Error, Kind, Result,
    mount::Workspace,
    name::{Label, SandboxName},
};
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::{path::Path, sync::Arc};
use utoipa::ToSchema;

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConfigData {
    /// An agentkernel.toml that makes the sandbox again.
    config: String,
}

pub(super) async fn export(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
) -> Reply<ConfigData> {
    let info = app.engine.info(&name).await?;
    let spec = info
        .spec
        .as_ref()
        .ok_or_else(|| Error::new(Kind::Conflict, format!("what '{name}' was made from cannot be read")))?;
    let meta = export::Meta {
        name: Some(info.name.clone()),
        labels: info.labels.iter().map(|(key, value)| Label::new(key, value)).collect::<Result<_>>()?,
        description: info.description.clone(),
        ttl: info.ttl(),
        backend: Some(info.backend.to_string()),
        ..export::Meta::default()
    };
    ok(ConfigData { config: export::to_toml(spec, &meta)? })
}

/// A sandbox from a configuration.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ImportBody {
    /// An agentkernel.toml. Paths of this machine are refused unless the server was told of them.
    config: String,
    /// Instead of the name in it.
    #[serde(default, rename = "as")]
    as_name: Option<String>,
    #[serde(default)]
    backend: Option<String>,
    /// Whether it is started; `false` without it, as `sandbox import-config` does.
    #[serde(default)]
    start: Option<bool>,
}

pub(super) async fn import(State(app): State<Arc<App>>, Body(body): Body<ImportBody>) -> Reply<SandboxInfo> {
    let wish = body.wish()?;
    Ok(Data::created(app.prepare(move |app| async move { app.create(wish, Silent).await }).await??))
}

/// A configuration for a sandbox whose name is in the path.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NamedImportBody {
    /// An agentkernel.toml. Paths of this machine are refused unless the server was told of them.
    config: String,
    #[serde(default)]
    backend: Option<String>,
    /// Whether it is started; `false` without it.
    #[serde(default)]
    start: Option<bool>,
}

/// As [`import`], under the name of the path.
pub(super) async fn import_as(
    state: State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Body(body): Body<NamedImportBody>,
) -> Reply<SandboxInfo> {
    let NamedImportBody { config, backend, start } = body;
    import(state, Body(ImportBody { config, as_name: Some(name.to_string()), backend, start })).await
}

impl ImportBody {
    fn wish(self) -> Result<CreateWish> {
        let config = Config::parse("config", &self.config)?;
        let of_config = config.name.clone();
        let name = match (self.as_name, of_config) {
            (Some(text), _) => parsed("as", &text)?,
            (None, Some(name)) => name,
            (None, None) => {
                return Err(Error::invalid("the sandbox has no name").with_hint("give one with \"as\""));
            }
        };
        let ingredients = config.ingredients(Path::new("/"))?;
        refuse_host(&ingredients)?;
        let agent = config.mode.and_then(Mode::agent);
        Ok(CreateWish {
            name,
            backend: backend(self.backend).or(config.backend),
            labels: config.labels,
            description: config.description,
            ttl: config.ttl,
            source: None,
            start: self.start.unwrap_or_default(),
            wish: Wish {
                program: None,
                host_fallback: false,
                agent,
                ingredients,
                workspace: Workspace::None,
            },
        })
    }
}

/// What a configuration says about the machine that it was written on is no caller's to say here.
fn refuse_host(ingredients: &Ingredients) -> Result<()> {
    let asked = &ingredients.workspace;
    let shares = asked.share.is_some_and(|share| share != Share::None);
    if asked.path.is_some() || shares || ingredients.mount_cwd == Some(true) {
        return Err(Error::new(Kind::Denied, "the configuration shows a directory of this machine at /workspace")
            .with_hint("take [workspace] and security.mount_cwd out of it; put files inside with PUT /sandboxes/NAME/files/PATH"));
    }
    Ok(())
}
