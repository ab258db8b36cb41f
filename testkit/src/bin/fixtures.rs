//! Fixture images for people and scripts: `cargo xtask images` and `cargo xtask registry` run this.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose only output is the terminal")]

use agentkernel_model::{Error, Kind, Result};
use agentkernel_testkit::{
    engines::Engine,
    oci::{
        Builder, Built, Image, Layout,
        catalogue::{self, RECIPES, Recipe, Weight},
    },
    registry::{self, Registry},
};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

const USAGE: &str = "\
cargo xtask images [NAME...] [--all] [--refresh] --into DIR|URL
                                     make images from Debian packages, into an OCI layout or a registry
cargo xtask images --list            their names; the heavy ones are made by name or with --all
cargo xtask registry [NAME...] [--all] [--refresh] [-- COMMAND...]
                                     serve them on loopback: until interrupted, or while COMMAND runs
";

/// What COMMAND finds the settings of the registry by.
const SETTINGS: &str = "AGENTKERNEL_FIXTURES_SETTINGS";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("  hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}

/// What was typed after the chore's name.
#[derive(Debug, Default)]
struct Request {
    names: Vec<String>,
    all: bool,
    refresh: bool,
    list: bool,
    into: Option<String>,
    command: Vec<String>,
}

fn run(words: &[String]) -> Result<ExitCode> {
    let usage = || Error::invalid("this is not understood").with_hint(format!("usage:\n{USAGE}"));
    let (chore, rest) = words.split_first().ok_or_else(usage)?;
    let request = parse(rest)?;
    match chore.as_str() {
        "images" if request.list => {
            list();
            Ok(ExitCode::SUCCESS)
        }
        "images" if request.command.is_empty() => images(&request),
        "registry" if request.into.is_none() && !request.list => serve(&request),
        "engine" => engine(rest),
        _ => Err(usage()),
    }
}

fn parse(words: &[String]) -> Result<Request> {
    let mut request = Request::default();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--all" => request.all = true,
            "--refresh" => request.refresh = true,
            "--list" => request.list = true,
            "--into" => {
                request.into =
                    Some(words.next().cloned().ok_or_else(|| Error::invalid("--into needs a place"))?)
            }
            "--" => request.command = words.by_ref().cloned().collect(),
            option if option.starts_with('-') => {
                return Err(Error::invalid(format!("there is no option {option}")).with_hint(USAGE));
            }
            name => request.names.push(name.to_owned()),
        }
    }
    Ok(request)
}

fn list() {
    for recipe in &RECIPES {
        println!("{}{}", recipe.name, if recipe.weight == Weight::Heavy { "  (heavy)" } else { "" });
    }
}

fn chosen(request: &Request) -> Result<Vec<&'static Recipe>> {
    if !request.names.is_empty() {
        return request.names.iter().map(|name| catalogue::find(name)).collect();
    }
    Ok(RECIPES.iter().filter(|r| request.all || r.weight == Weight::Light).collect())
}

fn images(request: &Request) -> Result<ExitCode> {
    let into = request.into.as_deref();
    let into =
        into.ok_or_else(|| Error::invalid("where to put the images is not said").with_hint("--into DIR"))?;
    let builder = builder(request)?;
    let mut built: Vec<Image> = Vec::new();
    for recipe in chosen(request)? {
        let image = build(&builder, recipe)?;
        if into.starts_with("http://") || into.starts_with("https://") {
            registry::push_to(into, &image)?;
        }
        built.push(image);
    }
    if !into.contains("://") {
        Layout::write(PathBuf::from(into), &built)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn builder(request: &Request) -> Result<Builder> {
    let builder = Builder::open(&cache()?)?;
    if request.refresh {
        builder.refresh()?;
    }
    Ok(builder)
}

fn cache() -> Result<PathBuf> {
    let absolute = |key: &str| std::env::var_os(key).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
    let base =
        base.ok_or_else(|| Error::invalid("neither XDG_CACHE_HOME nor HOME says where a cache may be"))?;
    Ok(base.join("agentkernel-fixtures"))
}

/// Makes one image and says what it took.
fn build(builder: &Builder, recipe: &Recipe) -> Result<Image> {
    let begun = Instant::now();
    let Built { image, packages, compressed, unpacked, made } = builder.build(recipe)?;
    let took = begun.elapsed().as_secs_f64();
    let (compressed, unpacked) = (megabytes(compressed), megabytes(unpacked));
    eprintln!(
        "{:<26} {packages:>4} packages  {compressed:>6} MB ({unpacked} MB unpacked)  {made} layers made  {took:.1} s",
        recipe.name
    );
    Ok(image)
}

fn megabytes(bytes: u64) -> String {
    format!("{}.{}", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

fn serve(request: &Request) -> Result<ExitCode> {
    let registry = Registry::start()?;
    let builder = builder(request)?;
    let mut pushing = Duration::ZERO;
    for recipe in chosen(request)? {
        let image = build(&builder, recipe)?;
        let begun = Instant::now();
        registry.push(&image)?;
        pushing += begun.elapsed();
    }
    // Whoever makes images next need not wait for us to end.
    drop(builder);
    eprintln!("pushed to {} in {:.1} s", registry.url(), pushing.as_secs_f64());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::io("cannot start a runtime", e))?;
    match request.command.split_first() {
        Some((program, arguments)) => runtime.block_on(accompany(&registry, program, arguments)),
        None => runtime.block_on(until_told(&registry)),
    }
}

/// An engine of its own, whose address is one line on stdout, until stdin ends. For `cargo xtask bench engines`.
fn engine(words: &[String]) -> Result<ExitCode> {
    let start = match words {
        [name] if name == "docker" => Engine::docker,
        [name] if name == "podman" => Engine::podman,
        _ => return Err(Error::invalid("no such engine").with_hint("docker or podman")),
    };
    // Sockets have short names, and an engine's storage is no place for a memory disk.
    let place = tempfile::Builder::new().prefix("ake-").tempdir_in("/var/tmp");
    let place = place.map_err(|e| Error::io("cannot make a directory", e))?;
    let mut engine = start(&place.path().join("e"))?;
    println!("{}", engine.api().address());
    let ended = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
    engine.stop()?;
    ended.map(|_| ExitCode::SUCCESS).map_err(|e| Error::io("cannot wait for the end of stdin", e))
}

async fn until_told(registry: &Registry) -> Result<ExitCode> {
    let (mut interrupt, mut terminate) = (ending(SignalKind::interrupt())?, ending(SignalKind::terminate())?);
    println!("# registries.toml for this registry:");
    print!("{}", registry.settings());
    eprintln!("serving until interrupted");
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs a command beside the registry, and ends with its exit code.
async fn accompany(registry: &Registry, program: &str, arguments: &[String]) -> Result<ExitCode> {
    let place = tempfile::tempdir().map_err(|e| Error::io("cannot make a directory", e))?;
    // The command may become another user.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(place.path(), open)
        .map_err(|e| Error::io("cannot open a directory to others", e))?;
    let settings = place.path().join("registries.toml");
    registry.write_settings(&settings)?;
    // An interrupt from a terminal reaches the command too: it is for the command to end.
    let (mut interrupt, mut terminate) = (ending(SignalKind::interrupt())?, ending(SignalKind::terminate())?);
    let mut child = start(program, arguments, &settings)?;
    loop {
        tokio::select! {
            status = child.wait() => {
                let status = status.map_err(|e| Error::io(format!("cannot wait for '{program}'"), e))?;
                let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
                return Ok(ExitCode::from(code));
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => terminated(&child),
        }
    }
}

fn terminated(child: &tokio::process::Child) {
    let pid = child.id().and_then(|id| rustix::process::Pid::from_raw(id.try_into().ok()?));
    if let Some(pid) = pid {
        // ESRCH: it is ending already, and waited for.
        let _ended = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn start(program: &str, arguments: &[String], settings: &Path) -> Result<tokio::process::Child> {
    let value: OsString = settings.into();
    Command::new(program)
        .args(arguments)
        .env(SETTINGS, value)
        .spawn()
        .map_err(|e| Error::new(Kind::CommandNotFound, format!("cannot start '{program}'")).with_source(e))
}

fn ending(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|e| Error::io("cannot listen for signals", e))
}
