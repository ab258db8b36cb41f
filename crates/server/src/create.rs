//! Named sandboxes of callers: made, started, and gone again when they cannot start.

use crate::{App, wish::Wish};
use agentkernel_engine::{
    images::Progress,
    request::{CreateRequest, SandboxInfo, Status},
    values::Values,
};
use agentkernel_model::{
    Error, Kind, Result,
    command::{Argv, ExecSpec, Stdio},
    id::SandboxId,
    name::{Label, SandboxName},
    spec::Lifetime,
};
use std::{sync::Arc, time::Duration};

/// How long a clone of a source may take.
const CLONE_PATIENCE: Duration = Duration::from_secs(600);
/// The most bytes of git's words that are repeated.
const CLONE_WORDS: usize = 4096;

/// A named sandbox that a caller wants.
#[derive(Debug)]
pub(crate) struct CreateWish {
    pub(crate) name: SandboxName,
    pub(crate) wish: Wish,
    pub(crate) backend: Option<String>,
    pub(crate) labels: Vec<Label>,
    pub(crate) description: Option<String>,
    pub(crate) ttl: Option<Duration>,
    /// What is cloned to `/workspace` once it runs.
    pub(crate) source: Option<Source>,
    pub(crate) start: bool,
}

/// A git repository, and what of it.
#[derive(Debug)]
pub(crate) struct Source {
    url: String,
    reference: Option<String>,
}

impl Source {
    /// # Errors
    /// [`Kind::Invalid`] for anything but an https URL without a password, and for a reference that git could take for a
    /// flag. Where the host is, the network rules of the sandbox decide.
    pub(crate) fn new(url: &str, reference: Option<&str>) -> Result<Self> {
        let wrong = |why: &str| Error::invalid(format!("source_url {why}"));
        let rest = url.strip_prefix("https://").ok_or_else(|| wrong("is not an https URL"))?;
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'\'' | b'<' | b'>');
        let host = rest.split('/').next().unwrap_or_default();
        if url.len() > 2048 || !rest.bytes().all(plain) || host.is_empty() {
            return Err(wrong("is no URL of at most 2048 characters"));
        }
        if host.contains('@') {
            return Err(wrong("has a user in it").with_hint(
                "bind a secret to the host instead, as in secrets: [\"GITHUB_TOKEN:github.com\"]",
            ));
        }
        refuse_private(host)?;
        let reference = reference.map(str::to_owned);
        if reference.as_deref().is_some_and(|text| !is_reference(text)) {
            return Err(Error::invalid("source_ref is no name of a branch, tag or commit"));
        }
        Ok(Self { url: url.to_owned(), reference })
    }

    fn script(&self) -> Vec<String> {
        let mut words: Vec<String> = ["git", "clone", "--quiet"].map(str::to_owned).into();
        if let Some(reference) = &self.reference {
            words.extend(["--branch".to_owned(), reference.clone()]);
        }
        words.extend(["--".to_owned(), self.url.clone(), "/workspace".to_owned()]);
        words
    }
}

/// An address in the URL itself; what a name leads to, the gateway judges.
fn refuse_private(authority: &str) -> Result<()> {
    let host = authority.rsplit_once(':').map_or(authority, |(host, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { host } else { authority }
    });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let is_number = bare.bytes().all(|b| b.is_ascii_digit() || b == b'.') || bare.contains(':');
    if is_number
        || bare.eq_ignore_ascii_case("localhost")
        || bare.to_ascii_lowercase().ends_with(".localhost")
    {
        return Err(Error::new(Kind::Denied, "source_url has an address, or this machine, for a host")
            .with_hint("name a public host"));
    }
    Ok(())
}

/// As git-check-ref-format(1), and no flag.
fn is_reference(text: &str) -> bool {
    let byte_ok = |b: u8| b.is_ascii_graphic() && !b" ~^:?*[\\".contains(&b);
    (1..=255).contains(&text.len())
        && text.bytes().all(byte_ok)
        && !text.starts_with(['-', '/', '.'])
        && !text.contains("..")
        && !text.contains("@{")
        && !text.ends_with(['/', '.'])
}

impl App {
    /// Makes the sandbox and, unless the caller says no, starts it. After an error it is gone. `progress` hears of an image
    /// that has to be pulled first.
    ///
    /// # Errors
    /// As [`agentkernel_engine::Engine::create`] and `start`; what git says when a source cannot be cloned.
    pub(crate) async fn create(
        self: &Arc<Self>,
        wanted: CreateWish,
        progress: impl Progress + Send + 'static,
    ) -> Result<SandboxInfo> {
        let granted = self.grant(wanted.wish, Lifetime::Named, progress).await?;
        // What is missing is said before anything is made.
        let values = self.values(granted.secrets.clone()).await?;
        let request = CreateRequest {
            name: wanted.name,
            spec: granted.spec,
            backend: wanted.backend,
            labels: wanted.labels,
            ttl: wanted.ttl.filter(|ttl| !ttl.is_zero()),
            description: wanted.description,
        };
        let created = self.engine.create(request).await?;
        let made = async {
            self.secrets.keep(&self.engine, &created, &granted.secrets).await?;
            if !wanted.start {
                return Ok(created.clone());
            }
            // What it is given is of this caller.
            let info = self.engine.start_made(&created, &values).await?;
            if let Some(source) = &wanted.source {
                self.expect(&info.name, info.uuid).await?;
                self.clone_source(&info.name, source).await?;
            }
            Ok(info)
        };
        match made.await {
            Ok(info) => Ok(info),
            Err(error) => {
                // Nobody asked for one that does not work. The first error is the one to tell.
                let _ = self.engine.remove_made(&created).await;
                Err(error)
            }
        }
    }

    /// Sees that `name` is still the one that was made: somebody else may have removed it, and given the name again.
    async fn expect(&self, name: &SandboxName, uuid: SandboxId) -> Result<()> {
        if self.engine.info(name).await?.uuid == uuid {
            return Ok(());
        }
        Err(Error::new(
            Kind::Conflict,
            format!("'{name}' was removed while it was being made, and is another now"),
        )
        .with_hint("look at it with GET /sandboxes/NAME, or choose another name"))
    }

    /// Starts the sandbox with the secrets that it was made with.
    ///
    /// # Errors
    /// As [`agentkernel_engine::Engine::start`] and [`crate::secrets::SecretBroker::of_existing`].
    pub(crate) async fn start(&self, name: &SandboxName) -> Result<SandboxInfo> {
        let values = self.values_of(name).await?;
        self.engine.start(name, &values).await
    }

    /// Starts again a sandbox that was lost.
    ///
    /// # Errors
    /// As [`agentkernel_engine::Engine::recover`].
    pub(crate) async fn recover(&self, name: &SandboxName) -> Result<SandboxInfo> {
        let values = self.values_of(name).await?;
        self.engine.recover(name, &values).await
    }

    async fn values_of(&self, name: &SandboxName) -> Result<Values> {
        let info = self.engine.info(name).await?;
        match info.status {
            Status::Running => Ok(Values::default()),
            Status::Stopped | Status::Unknown => self.secrets.of_existing(&self.engine, &info).await,
        }
    }

    pub(crate) async fn values(&self, wanted: crate::secrets::Wanted) -> Result<Values> {
        if wanted.is_empty() {
            return Ok(Values::default());
        }
        let secrets = Arc::clone(&self.secrets);
        tokio::task::spawn_blocking(move || secrets.values(&wanted))
            .await
            .map_err(|e| Error::internal("a look for secrets was cut off").with_source(e))?
    }

    async fn clone_source(&self, name: &SandboxName, source: &Source) -> Result<()> {
        let command = ExecSpec {
            argv: Argv::new(source.script())?,
            env: Vec::new(),
            workdir: Some("/".parse()?),
            user: None,
            stdio: Stdio::NoInput,
        };
        let process = self.engine.exec(name, &command).await?;
        let output = tokio::time::timeout(CLONE_PATIENCE, process.last_output(CLONE_WORDS))
            .await
            .map_err(|_| Error::new(Kind::Timeout, "the source was not cloned within ten minutes"))??;
        if output.exit.code() == 0 {
            return Ok(());
        }
        let words = agentkernel_model::text::printable(String::from_utf8_lossy(&output.stderr).trim());
        Err(Error::new(Kind::Conflict, format!("the source cannot be cloned: {words}"))
            .with_hint("the image has to have git, and the sandbox a network that reaches the host"))
    }
}
