//! Named sandboxes.

use crate::{
    App,
    create::{CreateWish, Source},
    fields::{backend, duration, each, parsed, volumes},
    http::{
        body::{Body, Object, Search, Segment},
        envelope::{Data, Reply, ok},
    },
    wish::Wish,
};
use agentkernel_config::Ingredients;
use agentkernel_engine::{
    images::Silent,
    request::{Filter, Resize, SandboxInfo, SandboxUpdate},
};
use agentkernel_model::{
    Error, Kind, Result,
    agent::Agent,
    command::EnvVar,
    egress::{EgressRule, Otherwise},
    id::SandboxId,
    image::ImageRef,
    mount::Workspace,
    name::{Label, SandboxName},
    path::GuestPath,
    policy::{NetworkSwitch, Profile},
    port::PublishedPort,
    secret::{SecretBinding, SecretName},
    size::{ByteSize, Cpus},
};
use axum::extract::State;
use serde::{Deserialize, Deserializer, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use utoipa::ToSchema;

/// What stands behind the `?` of a list; repeated labels are given once, joined by commas.
#[derive(Debug, Default, Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    project: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Search(query): Search<ListQuery>,
    uri: axum::http::Uri,
) -> Reply<Vec<SandboxInfo>> {
    let labels = labels(uri.query().unwrap_or_default())?;
    ok(app.engine.list(&Filter { labels, project: query.project }).await?)
}

/// Every `label=KEY:VALUE` of a query.
fn labels(query: &str) -> Result<Vec<Label>> {
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(
        &format!("/?{query}").parse().map_err(|_| Error::invalid("the query is no query of a URL"))?,
    );
    let axum::extract::Query(pairs) = pairs.map_err(|_| Error::invalid("the query is no query of a URL"))?;
    let labels = pairs.iter().filter(|(key, _)| key == "label");
    labels
        .map(|(_, text)| {
            let (key, value) = text.split_once(':').ok_or_else(|| {
                Error::invalid("a label of the query is no KEY:VALUE").with_hint("write ?label=env:prod")
            })?;
            Label::new(key, value)
        })
        .collect()
}

/// A new named sandbox, which is started.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateBody {
    name: String,
    #[serde(default)]
    backend: Option<String>,
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    host_fallback: Option<bool>,
    #[serde(default)]
    vcpus: Option<u16>,
    #[serde(default)]
    memory_mb: Option<u32>,
    #[serde(default)]
    profile: Option<String>,
    /// Whether it has a network.
    #[serde(default)]
    network: Option<bool>,
    #[serde(default)]
    rules: Option<Vec<String>>,
    #[serde(default)]
    only_listed: Option<bool>,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    workdir: Option<String>,
    #[serde(default)]
    ports: Option<Vec<String>>,
    #[serde(default)]
    volumes: Option<Vec<String>>,
    /// An https URL that is cloned to `/workspace`, with git inside.
    #[serde(default)]
    source_url: Option<String>,
    #[serde(default)]
    source_ref: Option<String>,
    #[serde(default)]
    secrets: Option<Vec<String>>,
    #[serde(default)]
    secret_files: Option<Vec<String>>,
    /// Bound secrets are always placeholders inside.
    #[serde(default)]
    placeholder_secrets: Option<bool>,
    #[serde(default)]
    init_script: Option<String>,
    /// The coding agent that it is to suit: `claude`, `gemini`, `codex` or `opencode`.
    #[serde(default)]
    agent: Option<String>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    description: Option<String>,
    /// Such as `1h`; `0` for none.
    #[serde(default)]
    ttl: Option<String>,
    /// What becomes of it by itself. Only `ttl` does something here.
    #[serde(default)]
    #[schema(value_type = Option<Lifecycle>)]
    lifecycle: Option<Object<Lifecycle>>,
    /// Whether it is started; `true` without it.
    #[serde(default)]
    start: Option<bool>,
}

/// What becomes of a sandbox in which nothing is done. Nobody watches for that here: what is asked for is refused by name, and
/// `null` is as good as nothing.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Lifecycle {
    #[serde(default)]
    auto_stop_after_seconds: Option<u64>,
    #[serde(default)]
    auto_archive_after_seconds: Option<u64>,
    #[serde(default)]
    auto_delete_after_seconds: Option<u64>,
}

impl Lifecycle {
    /// # Errors
    /// [`Kind::Unsupported`] for each that is asked for.
    fn refuse(&self) -> Result<()> {
        let asked = [
            ("auto_stop_after_seconds", self.auto_stop_after_seconds),
            ("auto_archive_after_seconds", self.auto_archive_after_seconds),
            ("auto_delete_after_seconds", self.auto_delete_after_seconds),
        ];
        let Some((name, _)) = asked.iter().find(|(_, seconds)| seconds.is_some()) else { return Ok(()) };
        let what = format!("lifecycle.{name}: nobody watches for how long nothing was done in a sandbox");
        Err(Error::new(Kind::Unsupported, what).with_hint(
            "leave it out; ttl, such as \"1h\", ends a sandbox that long after it was made, whatever it does",
        ))
    }
}

impl CreateBody {
    fn wish(self) -> Result<CreateWish> {
        if self.placeholder_secrets == Some(false) {
            return Err(Error::new(Kind::Unsupported, "placeholder_secrets: no secret is shown inside")
                .with_hint("leave it out"));
        }
        self.lifecycle.map(|Object(asked)| asked).unwrap_or_default().refuse()?;
        let labels = self.labels.unwrap_or_default();
        let source = match (&self.source_url, &self.source_ref) {
            (Some(url), reference) => Some(Source::new(url, reference.as_deref())?),
            (None, Some(_)) => return Err(Error::invalid("source_ref without source_url")),
            (None, None) => None,
        };
        Ok(CreateWish {
            name: parsed("name", &self.name)?,
            backend: backend(self.backend),
            labels: labels.iter().map(|(key, value)| Label::new(key, value)).collect::<Result<_>>()?,
            description: self.description,
            ttl: self.ttl.map(|text| duration("ttl", &text)).transpose()?,
            source,
            start: self.start.unwrap_or(true),
            wish: Wish {
                program: None,
                host_fallback: self.host_fallback.unwrap_or_default(),
                agent: self.agent.map(|text| parsed::<Agent>("agent", &text)).transpose()?,
                ingredients: Ingredients {
                    image: self.image.map(|text| parsed::<ImageRef>("image", &text)).transpose()?,
                    profile: self.profile.map(|text| parsed::<Profile>("profile", &text)).transpose()?,
                    network: self.network.map(|on| if on { NetworkSwitch::On } else { NetworkSwitch::Off }),
                    rules: each::<EgressRule>("rules", self.rules)?,
                    otherwise: self.only_listed.unwrap_or_default().then_some(Otherwise::Deny),
                    env: each::<EnvVar>("env", self.env)?,
                    workdir: self.workdir.map(|text| parsed::<GuestPath>("workdir", &text)).transpose()?,
                    cpus: self.vcpus.map(Cpus::from_whole),
                    memory: self.memory_mb.map(ByteSize::from_mib),
                    ports: each::<PublishedPort>("ports", self.ports)?,
                    volumes: volumes(self.volumes)?,
                    secrets: each::<SecretBinding>("secrets", self.secrets)?,
                    secret_files: each::<SecretName>("secret_files", self.secret_files)?,
                    init_script: self.init_script,
                    ..Ingredients::default()
                },
                workspace: Workspace::None,
            },
        })
    }
}

pub(super) async fn create(State(app): State<Arc<App>>, Body(body): Body<CreateBody>) -> Reply<SandboxInfo> {
    let wish = body.wish()?;
    Ok(Data::created(app.prepare(move |app| async move { app.create(wish, Silent).await }).await??))
}

pub(super) async fn get(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
) -> Reply<SandboxInfo> {
    ok(app.engine.info(&name).await?)
}

pub(super) async fn by_uuid(
    State(app): State<Arc<App>>,
    Segment(id): Segment<SandboxId>,
) -> Reply<SandboxInfo> {
    ok(app.engine.info_by_id(id).await?)
}

/// What changes; what is left out stays. `null` takes a description away.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpdateBody {
    /// In the place of all labels.
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<String>)]
    description: Option<Option<String>>,
    #[serde(default)]
    #[schema(value_type = Option<Lifecycle>)]
    lifecycle: Option<Object<Lifecycle>>,
}

/// A field that is there, `null` or not.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

pub(super) async fn update(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Body(body): Body<UpdateBody>,
) -> Reply<SandboxInfo> {
    body.lifecycle.map(|Object(asked)| asked).unwrap_or_default().refuse()?;
    let labels = body
        .labels
        .map(|labels| labels.iter().map(|(key, value)| Label::new(key, value)).collect::<Result<Vec<_>>>());
    let update = SandboxUpdate { labels: labels.transpose()?, description: body.description };
    ok(app.finish(move |app| async move { app.engine.update(&name, &update).await }).await?)
}

/// Other limits; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ResizeBody {
    #[serde(default)]
    vcpus: Option<u16>,
    #[serde(default)]
    memory_mb: Option<u32>,
}

pub(super) async fn resize(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Body(body): Body<ResizeBody>,
) -> Reply<SandboxInfo> {
    let wanted =
        Resize { memory: body.memory_mb.map(ByteSize::from_mib), cpus: body.vcpus.map(Cpus::from_whole) };
    if wanted.memory.is_none() && wanted.cpus.is_none() {
        return Err(Error::invalid("nothing to change").with_hint("give vcpus, memory_mb or both").into());
    }
    ok(app.finish(move |app| async move { app.engine.resize(&name, &wanted).await }).await?)
}

pub(super) async fn recover(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
) -> Reply<SandboxInfo> {
    ok(app.prepare(move |app| async move { app.recover(&name).await }).await??)
}

/// How much longer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ExtendBody {
    /// Such as `1h`, which it is without.
    #[serde(default)]
    by: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ExtendData {
    /// RFC 3339, UTC.
    expires_at: Option<String>,
}

pub(super) async fn extend(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Body(body): Body<ExtendBody>,
) -> Reply<ExtendData> {
    let by = duration("by", body.by.as_deref().unwrap_or("1h"))?;
    let info = app.finish(move |app| async move { app.engine.extend(&name, by).await }).await?;
    ok(ExtendData { expires_at: info.expires_at })
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
) -> Reply<&'static str> {
    app.finish(move |app| async move { app.engine.remove(&name).await }).await?;
    ok("Sandbox removed")
}

pub(super) async fn start(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
) -> Reply<SandboxInfo> {
    ok(app.prepare(move |app| async move { app.start(&name).await }).await??)
}

/// How long a sandbox has to end by itself.
const GRACE: Duration = Duration::from_secs(10);

pub(super) async fn stop(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
) -> Reply<SandboxInfo> {
    ok(app.finish(move |app| async move { app.engine.stop(&name, GRACE).await }).await?)
}
