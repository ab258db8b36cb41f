//! What agentkernel itself puts into a sandbox before its first command: placeholders of secrets, the way to the gateway's
//! proxy, the certificate of a gateway that opens TLS, and secrets that are files.

mod archive;
mod bundle;
mod keystore;
mod links;

use crate::values::Values;
use agentkernel_backend::{Files, Sandbox, gateway::RESOLVER};
use agentkernel_model::{
    Error, Kind, Result,
    command::{EnvVar, User},
    mount::{Access, Workspace},
    path::GuestPath,
    policy::{EffectivePolicy, RootAccess},
    secret::PLACEHOLDER,
    spec::SandboxSpec,
};
use archive::Archive;
use std::{collections::BTreeSet, io::Write as _, os::fd::OwnedFd};
use zeroize::Zeroizing;

/// Where the gateway answers as a proxy.
const PROXY_PORT: u16 = 3128;
/// Hosts that nobody asks a proxy for.
const NO_PROXY: &str = "localhost,127.0.0.1,::1";
/// The longest system bundle of certificates, in bytes. Distributions have about 220 KiB.
const MAX_BUNDLE: u64 = 4 << 20;

const AUTHORITY: &str = "ca.crt";
const BUNDLE: &str = "ca-bundle.crt";
const KEYSTORE: &str = "cacerts";

/// What reads one file of certificates in place of the system's.
const OF_BUNDLE: [&str; 8] = [
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
    "PIP_CERT",
    "NPM_CONFIG_CAFILE",
    "AWS_CA_BUNDLE",
];
/// What reads certificates beside its own.
const OF_AUTHORITY: [&str; 2] = ["NODE_EXTRA_CA_CERTS", "DENO_CERT"];

/// Where distributions keep what they trust; the first that is there counts.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// `spec` with the variables that every command gets because of its policy. What somebody wrote wins over them.
///
/// # Errors
/// Never for a policy whose names are valid.
pub(crate) fn with_environment(spec: &SandboxSpec) -> Result<SandboxSpec> {
    let mut env = environment(&spec.policy)?;
    env.extend(spec.env.iter().cloned());
    Ok(SandboxSpec { env, ..spec.clone() })
}

/// The variables of every command under `policy`.
fn environment(policy: &EffectivePolicy) -> Result<Vec<EnvVar>> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut set = |key: &str, value: &str| all.push((key.to_owned(), value.to_owned()));
    let names: BTreeSet<&str> = policy.secrets.iter().map(|grant| grant.name.as_str()).collect();
    names.iter().for_each(|name| set(name, PLACEHOLDER));
    if policy.rules().is_some_and(|rules| !rules.is_plain()) {
        let proxy = format!("http://{RESOLVER}:{PROXY_PORT}");
        ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].iter().for_each(|key| set(key, &proxy));
        ["NO_PROXY", "no_proxy"].iter().for_each(|key| set(key, NO_PROXY));
    }
    if policy.opens_tls() {
        let own = EffectivePolicy::OWN_FILES;
        OF_BUNDLE.iter().for_each(|key| set(key, &format!("{own}/{BUNDLE}")));
        OF_AUTHORITY.iter().for_each(|key| set(key, &format!("{own}/{AUTHORITY}")));
        let store = format!("-Djavax.net.ssl.trustStore={own}/{KEYSTORE}");
        let java = format!("{store} -Djavax.net.ssl.trustStorePassword={}", keystore::PASSWORD);
        set("JAVA_TOOL_OPTIONS", &java);
    }
    if !policy.secret_files.is_empty() {
        set("AGENTKERNEL_SECRETS_PATH", EffectivePolicy::SECRET_FILES);
    }
    all.iter().map(|(key, value)| EnvVar::new(key, value)).collect()
}

/// Puts everything in place. `user` is who commands run as; `authority` is the certificate of the gateway, as PEM. Before
/// the first command of each start: the certificate is another one each time, and the files are in memory.
///
/// # Errors
/// When something cannot be written: then no command may run.
pub(crate) async fn furnish(
    sandbox: &dyn Sandbox,
    spec: &SandboxSpec,
    user: User,
    authority: Option<&str>,
    values: &Values,
) -> Result<()> {
    let policy = &spec.policy;
    if !policy.has_own_files() {
        return Ok(());
    }
    let files = sandbox.files();
    let shared = shared(files, spec).await?;
    keep_apart(&shared)?;
    let own: GuestPath = EffectivePolicy::OWN_FILES.parse()?;
    if links::real(files, &own).await?.is_some_and(|real| real != own) {
        return Err(Error::invalid(format!(
            "the image has a link on the way to '{own}', which is in memory"
        ))
        .with_hint("choose another image"));
    }
    let mut archive = Archive::new();
    if policy.opens_tls() {
        trust(files, spec, &shared, authority, &mut archive).await?;
    }
    if !values.files.is_empty() {
        archive.directory("secrets", 0o755)?;
        for (name, secret) in &values.files {
            archive.file(&format!("secrets/{name}"), 0o400, user, secret.reveal())?;
        }
    }
    unpack(files, archive.finish()).await.map_err(|error| match error.kind() {
        Kind::Conflict => error,
        // One that does not exist there.
        _ if !user.is_root() && !values.files.is_empty() => {
            let User { uid, gid } = user;
            Error::invalid(format!("files with secrets cannot be given to the user {uid}:{gid} inside"))
                .with_source(error)
                .with_hint("choose a user that exists there, such as --user 1000:1000 or --user 0:0")
        }
        _ => error,
    })
}

/// What makes programs inside believe the gateway.
async fn trust(
    files: &dyn Files,
    spec: &SandboxSpec,
    shared: &[GuestPath],
    authority: Option<&str>,
    archive: &mut Archive,
) -> Result<()> {
    let authority = authority.unwrap_or_default();
    let system = system_bundle(files, shared).await?;
    let mut known = system.as_ref().map(|bundle| bundle::certificates(&bundle.text)).unwrap_or_default();
    if known.is_empty() {
        // What this machine trusts, so that a client that is given a file knows others than us.
        known = bundle::certificates(&bundle::of_this_machine().unwrap_or_default());
    }
    let whole = bundle::with_authority(&known, authority);
    archive.file(AUTHORITY, 0o644, User::ROOT, authority.as_bytes())?;
    archive.file(BUNDLE, 0o644, User::ROOT, &whole)?;
    archive.file(KEYSTORE, 0o644, User::ROOT, &keystore::write(&whole)?)?;
    match system {
        Some(Bundle { path, text, is_own: true }) if spec.policy.root == RootAccess::ReadWrite => {
            let text = bundle::with_authority(&text, authority);
            // Whole or not at all: it may be the only list that the image has.
            match files.store(&path, 0o644, &mut text.as_slice()).await {
                // A file that the image shows read-only, or no room for another one: the variables remain.
                Err(error) if matches!(error.kind(), Kind::Denied | Kind::Exhausted) => Ok(()),
                other => other.map(drop),
            }
        }
        _ => Ok(()),
    }
}

/// A file of certificates that the sandbox trusts.
struct Bundle {
    path: GuestPath,
    text: Vec<u8>,
    /// Not this machine's, shown there.
    is_own: bool,
}

/// Where what is written is written to this machine, as it was said and as links lead there.
async fn shared(files: &dyn Files, spec: &SandboxSpec) -> Result<Vec<GuestPath>> {
    let mounts = spec.policy.mounts.iter().filter(|mount| mount.access == Access::ReadWrite);
    let mut targets: Vec<GuestPath> = mounts.map(|mount| mount.target.clone()).collect();
    if matches!(spec.workspace, Workspace::Direct { access: Access::ReadWrite, .. }) {
        targets.push(Workspace::TARGET.parse()?);
    }
    let mut all = targets.clone();
    for target in &targets {
        // It is there by now. What cannot be followed could lead anywhere.
        let real = links::real(files, target).await?.ok_or_else(|| {
            Error::invalid(format!("it cannot be told where the mount at '{target}' is inside"))
                .with_hint("choose another place inside for it, such as /data")
        })?;
        all.push(real);
    }
    Ok(all)
}

/// # Errors
/// [`Kind::Invalid`] when a link of the image leads a mount to where our files are.
fn keep_apart(shared: &[GuestPath]) -> Result<()> {
    let own: GuestPath = EffectivePolicy::OWN_FILES.parse()?;
    match shared.iter().find(|target| target.is_within(&own) || own.is_within(target)) {
        None => Ok(()),
        Some(target) => Err(Error::invalid(format!(
            "a mount leads to '{target}', where secrets and certificates are in memory"
        ))
        .with_hint("choose another place inside for it, such as /data")),
    }
}

/// What the image trusts. Nothing is read through a link that leads to one of `shared`.
async fn system_bundle(files: &dyn Files, shared: &[GuestPath]) -> Result<Option<Bundle>> {
    let is_shared = |path: &GuestPath| shared.iter().any(|target| path.is_within(target));
    for path in SYSTEM_BUNDLES {
        let path: GuestPath = path.parse()?;
        // Without anything of this machine there is nothing to look for.
        let real = if shared.is_empty() { Some(path.clone()) } else { links::real(files, &path).await? };
        let Some(real) = real.filter(|real| *real == path || !is_shared(real)) else { continue };
        match files.read(&path, MAX_BUNDLE).await {
            Ok(text) => return Ok(Some(Bundle { is_own: !is_shared(&real), path, text })),
            Err(e) if matches!(e.kind(), Kind::NotFound | Kind::Invalid | Kind::Denied) => {}
            Err(e) => {
                return Err(Error::new(e.kind(), format!("cannot read what the image trusts, '{path}'"))
                    .with_source(e));
            }
        }
    }
    Ok(None)
}

/// Through a pipe: nothing of it touches a disk of this machine.
async fn unpack(files: &dyn Files, archive: Zeroizing<Vec<u8>>) -> Result<()> {
    let (reading, writing) = std::io::pipe().map_err(|e| Error::io("cannot make a pipe", e))?;
    let sending = tokio::task::spawn_blocking(move || {
        let mut to = writing;
        to.write_all(&archive)
    });
    let unpacked = files.unpack(&EffectivePolicy::OWN_FILES.parse()?, OwnedFd::from(reading)).await;
    let unpacked = unpacked.map_err(|error| match error.kind() {
        Kind::NotFound => {
            Error::new(Kind::Conflict, "the sandbox was made without room for secrets and certificates")
                .with_source(error)
                .with_hint("make it anew: 'agentkernel sandbox export-config' says what it is")
        }
        _ => error,
    });
    let sent = sending.await.map_err(|e| Error::internal("a copy was cut off").with_source(e))?;
    unpacked.and_then(|()| sent.map_err(|e| Error::io("cannot send files into the sandbox", e)))
}

#[cfg(test)]
#[path = "inside_tests.rs"]
mod tests;
