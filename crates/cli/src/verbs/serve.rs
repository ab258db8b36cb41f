//! `agentkernel serve`.

use crate::{broker::Broker, context::Context, env, hidden::Word, printer::Printer, vaults::VaultArgs};
use agentkernel_config::api::ApiConfig;
use agentkernel_engine::clock;
use agentkernel_model::{Error, Kind, Result, secret::Secret};
use agentkernel_server::{
    App, Bound,
    access::{Access, AccessLog},
    keys::{self, KeySource},
    options::{Listen, Options, ServerLimits, Tcp, Tls},
};
use clap::Args;
use serde::Serialize;
use std::{
    fs,
    net::IpAddr,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zeroize::Zeroizing;

const EXAMPLES: &str = "\
Examples:
  agentkernel serve
  agentkernel serve --host 127.0.0.1 --port 18888
  agentkernel serve --api-key-file /etc/agentkernel/api-keys
  agentkernel serve --control-socket ~/.agentkernel.sock
  curl -X POST http://localhost:18888/run -H 'Content-Type: application/json' \\
    -d '{\"command\": [\"echo\", \"hello\"], \"image\": \"host\"}'

Without a key only the user who started it is served, over loopback. Other addresses, and root, need a key.
SIGHUP reads the file of keys again; SIGTERM lets what runs finish.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// The address to listen on
    #[arg(short = 'H', long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    host: String,

    /// The port; 0 takes any that is free
    #[arg(short, long, default_value_t = 18888)]
    port: u16,

    /// A key that callers send as 'Authorization: Bearer KEY'; process lists show it (repeatable)
    #[arg(long, value_name = "KEY")]
    api_key: Vec<Word>,

    /// A file of keys, one a line; read again on SIGHUP
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Serve whoever comes without a key, also from other machines
    #[arg(long)]
    insecure: bool,

    /// A host name, besides localhost, that callers may use (repeatable)
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,

    /// A directory that callers may mount into sandboxes (repeatable)
    #[arg(long, value_name = "DIRECTORY")]
    allow_path: Vec<PathBuf>,

    /// Let callers show secrets of the vault inside, where commands read them
    #[arg(long)]
    allow_secret_files: bool,

    /// Let callers run commands as root inside
    #[arg(long)]
    allow_sudo: bool,

    /// Let rules of callers open this machine, its networks and the metadata of its provider to sandboxes, and images come from there
    #[arg(long)]
    allow_private_network: bool,

    /// Listen on this socket too, which only this user can open
    #[arg(long, value_name = "PATH")]
    control_socket: Option<PathBuf>,

    /// The certificate chain, as a PEM file: then TLS is spoken
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// The key of the certificate, as a PEM file
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Read the keys and other settings of a server from the [api] of this file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Write a line to stderr for each request: no header, no query and no body is in it
    #[arg(long)]
    access_log: bool,

    /// How many commands of callers run at once
    #[arg(long, value_name = "NUMBER", default_value_t = ServerLimits::default().commands)]
    max_commands: usize,

    #[command(flatten)]
    vault: VaultArgs,

    /// Say where it listens as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

/// Where it listens.
#[derive(Serialize)]
struct Listening<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    control_socket: Option<&'a PathBuf>,
    pid: u32,
}

impl Serve {
    pub(super) fn execute(self, context: &Context) -> Result<u8> {
        let json = self.json;
        let broker = Arc::new(Broker::new(context.clone(), self.vault.clone()));
        let app =
            App::new(context.engine_for_callers(self.allow_private_network), broker, self.options(context)?)?;
        context.serve(async {
            let mut reload = watch(SignalKind::hangup())?;
            let (mut terminate, mut interrupt) =
                (watch(SignalKind::terminate())?, watch(SignalKind::interrupt())?);
            let end = async {
                loop {
                    tokio::select! {
                        _ = terminate.recv() => return,
                        _ = interrupt.recv() => return,
                        _ = reload.recv() => match app.reload_keys() {
                            Ok(()) => context.printer.note("the file of keys was read again"),
                            Err(error) => context.printer.note(format_args!("the keys of before stay: {error}")),
                        },
                    }
                }
            };
            let ready = |bound: &Bound| tell(context, bound, json);
            agentkernel_server::serve(Arc::clone(&app), end, ready).await
        })?;
        Ok(0)
    }

    fn options(self, context: &Context) -> Result<Options> {
        if !self.api_key.is_empty() {
            context.printer.note(
                "the key is on the command line, where process lists show it; --api-key-file FILE avoids that",
            );
        }
        let typed = self.api_key.iter().map(|word| Secret::new(word.text().as_bytes().to_vec()));
        let mut keys = typed.collect::<Result<Vec<_>>>()?;
        keys.extend(env::api_key()?);
        let api = self.config.as_deref().map(read_config).transpose()?.unwrap_or_default();
        if let Some(name) = &api.api_key_env {
            let key = env::secret(name).filter(|key| !key.is_empty()).ok_or_else(|| {
                Error::invalid(format!("the variable {name}, which api.api_key_env names, is not set"))
            })?;
            keys.push(Secret::new(key.into_vec())?);
        }
        keys.extend(api.api_key);
        let printer = context.printer;
        let access_log = self.access_log.then(|| AccessLog::new(move |access| log(printer, access)));
        let host = if self.host == "localhost" { "127.0.0.1" } else { self.host.as_str() };
        let address: IpAddr = host.parse().map_err(|_| {
            Error::invalid("--host is no address of this machine")
                .with_hint("write one, such as 127.0.0.1 or 0.0.0.0")
        })?;
        let tls = self.tls_cert.zip(self.tls_key).map(|(certificate, key)| Tls { certificate, key });
        let allow_paths = self.allow_path.iter().map(|path| {
            path.canonicalize().map_err(|e| {
                Error::invalid(format!("--allow-path {}: there is no such directory", path.display()))
                    .with_source(e)
            })
        });
        Ok(Options {
            allow_paths: allow_paths.collect::<Result<_>>()?,
            listen: Listen {
                tcp: Some(Tcp { address, port: self.port, tls }),
                socket: self.control_socket.or(api.control_socket),
            },
            keys: KeySource::new(&keys, self.api_key_file)?,
            insecure: self.insecure,
            allow_hosts: self.allow_host,
            allow_secret_files: self.allow_secret_files,
            allow_private_network: self.allow_private_network,
            allow_sudo: self.allow_sudo || api.allow_sudo_exec,
            access_log,
            path: context.settings.host.surroundings.path.clone(),
            limits: ServerLimits { commands: self.max_commands, ..ServerLimits::default() },
        })
    }
}

/// # Errors
/// When there is none, and as [`ApiConfig::parse`].
fn read_config(path: &Path) -> Result<ApiConfig> {
    let shown = path.display().to_string();
    let text = fs::read_to_string(path).map_err(|e| {
        Error::new(Kind::NotFound, format!("the configuration {shown} cannot be read")).with_source(e)
    })?;
    let api = ApiConfig::parse(&shown, &Zeroizing::new(text))?;
    if api.api_key.is_some() {
        let metadata = fs::metadata(path).map_err(|e| Error::io(format!("cannot look at {shown}"), e))?;
        keys::refuse_shared(&metadata, path)?;
    }
    Ok(api)
}

fn log(printer: Printer, access: &Access<'_>) {
    let at = clock::rfc3339(clock::now());
    let Access { method, path, status, took } = access;
    printer.note(format_args!("{at} {method} {path} {status} {} ms", took.as_millis()));
}

fn watch(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|e| Error::io("cannot watch for signals", e))
}

fn tell(context: &Context, bound: &Bound, json: bool) {
    let scheme = if bound.tls { "https" } else { "http" };
    let url = bound.tcp.map(|address| format!("{scheme}://{address}"));
    // Nobody reads: it serves all the same.
    let _ = if json {
        let listening = Listening { url, control_socket: bound.socket.as_ref(), pid: std::process::id() };
        context.printer.json(&listening)
    } else {
        let socket = bound.socket.as_ref().map(|path| path.display().to_string());
        let places: Vec<String> = url.into_iter().chain(socket).collect();
        context.printer.text(format_args!("serving on {}", places.join(" and ")))
    };
}
