//! Secrets of the vault, by name. A value comes in and never goes out.

use crate::fields::{each, parsed};
use crate::{
    App,
    http::{
        body::{Body, Segment},
        envelope::{Data, Reply, ok},
    },
};
use agentkernel_model::{
    Error, Kind, Result,
    secret::{HostPattern, Secret, SecretName},
    text::printable,
};
use axum::extract::State;
use serde::{Deserialize, Deserializer, Serialize};
use std::{fmt, sync::Arc};
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A secret without its value.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct SecretData {
    name: String,
    /// Where it may go; callers can bind it to no other host, and to none where there is none.
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    header: Option<String>,
    /// RFC 3339, UTC.
    set_at: String,
}

async fn blocking<T: Send + 'static>(
    app: &App,
    work: impl FnOnce(&dyn crate::secrets::SecretBroker) -> Result<T> + Send + 'static,
) -> Result<T> {
    let secrets = Arc::clone(&app.secrets);
    tokio::task::spawn_blocking(move || work(secrets.as_ref()))
        .await
        .map_err(|e| Error::internal("a look into the vault was cut off").with_source(e))?
}

pub(super) async fn list(State(app): State<Arc<App>>) -> Reply<Vec<SecretData>> {
    let all = blocking(&app, |secrets| secrets.list()).await?;
    let data = all.into_iter().map(|about| SecretData {
        name: about.name.to_string(),
        hosts: about.hosts.iter().map(ToString::to_string).collect(),
        header: about.header.map(|header| header.to_string()),
        set_at: agentkernel_engine::clock::rfc3339(
            i64::try_from(about.set_at).unwrap_or(i64::MAX / 1000).saturating_mul(1000),
        ),
    });
    ok(data.collect())
}

/// A value on its way in, wiped when dropped.
struct Value(Zeroizing<String>);

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

/// A secret to keep.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretBody {
    name: String,
    #[schema(value_type = String)]
    value: Value,
    /// Where it may go; those that it has, or those of the well-known service that its name is of, without this.
    #[serde(default)]
    hosts: Option<Vec<String>>,
}

pub(super) async fn set(State(app): State<Arc<App>>, Body(body): Body<SecretBody>) -> Reply<&'static str> {
    let name: SecretName = parsed("name", &body.name)?;
    let hosts = each::<HostPattern>("hosts", body.hosts)?;
    let value = Secret::new(body.value.0.as_bytes().to_vec())?;
    blocking(&app, move |secrets| secrets.set(&name, value, hosts)).await?;
    Ok(Data::created("Secret set"))
}

pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Segment(name): Segment<String>,
) -> Reply<&'static str> {
    let name: SecretName = parsed("name", &name)?;
    let shown = printable(name.as_str());
    match blocking(&app, move |secrets| secrets.delete(&name)).await? {
        true => ok("Secret deleted"),
        false => Err(Error::new(Kind::NotFound, format!("there is no secret '{shown}'")).into()),
    }
}
