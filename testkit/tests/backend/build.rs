//! `--build` with the engine's own builder: what is built, when it is built again, and what of the host gets into it.

use super::{
    bench::{Bench, expect},
    sample::Sample,
};
use crate::Test;
use agentkernel_testkit::{env::Finished, oci::Image, registry::Registry};
use std::{fs, os::unix::fs::symlink};

pub(crate) const fn tests() -> [Test; 5] {
    [
        ("build/once-and-again", once_and_again),
        ("build/base-of-a-registry", base_of_a_registry),
        ("build/links-that-lead-out", links),
        ("build/dockerfile-outside", dockerfile_outside),
        ("build/failure", failure),
    ]
}

/// An image of busybox in the engine; what a Dockerfile calls it.
pub(super) fn base(bench: &Bench) -> Result<String, String> {
    let mut archive = tar::Builder::new(Vec::new());
    let write = |archive: &mut tar::Builder<Vec<u8>>| -> std::io::Result<()> {
        archive.append_path_with_name("/bin/busybox", "bin/busybox")?;
        for applet in ["sh", "cat", "ls", "echo"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
        }
        archive.finish()
    };
    write(&mut archive).map_err(|e| format!("set-up: {e}"))?;
    let archive = archive.into_inner().map_err(|e| format!("set-up: {e}"))?;
    let id = bench.api()?.import(&archive).map_err(|e| e.to_string())?;
    let about = bench.api()?.json("GET", &format!("/images/{id}/json"), None).map_err(|e| e.to_string())?;
    let name = about["RepoTags"][0].as_str().map(str::to_owned);
    name.ok_or_else(|| format!("set-up: the image has no name: {about}"))
}

/// The program that builds answers to the variable of its own engine, and to no other.
fn build(bench: &Bench, flags: &[&str], command: &[&str]) -> Finished {
    let start = ["run", "--build", "-B", bench.backend(), "--no-network", "--no-workspace"];
    bench.agentkernel(&start).args(flags).args(["--"]).args(command).run()
}

fn was_built(bench: &Bench, ran: &Finished) -> bool {
    ran.err().contains(&format!(" with {}", bench.backend()))
        && ran.err().contains("built agentkernel-project:")
}

fn once_and_again(bench: &Bench) -> Result<(), String> {
    let base = base(bench)?;
    bench.env.file("project/Dockerfile", format!("FROM {base}\nENV WHO=image\nCOPY . /context/\n"));
    bench.env.file("project/.dockerignore", "left-out\n");
    bench.env.file("project/left-out", "left out\n");
    bench.env.file("project/kept", "one\n");
    let command = ["/bin/sh", "-c", "cat /context/kept; ls /context; echo $WHO"];
    let first = build(bench, &[], &command);
    let wanted = |kept: &str| format!("{kept}\nDockerfile\nkept\nimage\n");
    expect(first.code == Some(0) && first.out() == wanted("one"), || first.to_string())?;
    expect(was_built(bench, &first), || format!("it does not say that it was built: {first}"))?;
    let second = build(bench, &[], &command);
    expect(second.out() == wanted("one") && !was_built(bench, &second), || format!("built again: {second}"))?;
    bench.env.file("project/kept", "two\n");
    let third = build(bench, &[], &command);
    expect(third.out() == wanted("two") && was_built(bench, &third), || format!("not built again: {third}"))?;
    // As it was: the first image is there still.
    bench.env.file("project/kept", "one\n");
    let fourth = build(bench, &[], &command);
    expect(fourth.out() == wanted("one") && !was_built(bench, &fourth), || fourth.to_string())
}

/// The engine pulls what a Dockerfile builds on; what comes of it is in our store as any other image.
fn base_of_a_registry(bench: &Bench) -> Result<(), String> {
    let registry = Registry::start().map_err(|e| e.to_string())?;
    let mut sample = Sample::new(bench, "of-the-registry")?;
    sample.file("etc/shown", 0o644, b"of the registry\n")?;
    sample.config.env.push(("WHO".to_owned(), "base".to_owned()));
    let layer = sample.layer.finish().map_err(|e| e.to_string())?;
    let reference = "library/tools:1".parse().map_err(|e| format!("{e}"))?;
    registry.push(&Image::new(reference, &sample.config, &[layer])).map_err(|e| e.to_string())?;
    let host = registry.url().replace("http://", "");
    bench.env.file("project/Dockerfile", format!("FROM {host}/library/tools:1\nCOPY note /note\n"));
    bench.env.file("project/note", "of the project\n");
    let command = ["/bin/sh", "-c", "cat /etc/shown /note; echo $WHO"];
    let wanted = "of the registry\nof the project\nbase\n";
    let built = build(bench, &[], &command);
    expect(built.out() == wanted && was_built(bench, &built), || built.to_string())?;
    let asked = registry.log().iter().any(|line| line.contains("/v2/library/tools/manifests/"));
    expect(asked, || format!("the registry was not asked: {}", registry.log().join("\n")))?;
    // It is not there: the engine says so, nothing is run, and nothing else takes its place.
    bench.env.file("project/Dockerfile", format!("FROM {host}/library/none:1\nCOPY note /note\n"));
    let missing = build(bench, &[], &["/bin/echo", "ran"]);
    let told = missing.code == Some(125) && missing.err().contains("could not build the image");
    expect(told && missing.out().is_empty(), || missing.to_string())?;
    // Without the registry the image is here still, for every backend.
    drop(registry);
    bench.env.file("project/Dockerfile", format!("FROM {host}/library/tools:1\nCOPY note /note\n"));
    let start = ["run", "--build", "-B", "native", "--no-network", "--no-workspace", "--"];
    let native = bench.agentkernel(&start).args(command).run();
    expect(native.out() == wanted && !native.err().contains("built "), || native.to_string())
}

/// A context with links that lead out of it, which a builder copies as links and does not follow.
fn links(bench: &Bench) -> Result<(), String> {
    let base = base(bench)?;
    let outside = bench.env.directory("outside");
    let secret = bench.env.file("outside/file", "secret\n");
    let linked = symlink(&secret, bench.env.project().join("link"))
        .and_then(|()| symlink(&outside, bench.env.project().join("directory")))
        .and_then(|()| symlink("..", bench.env.project().join("up")));
    linked.map_err(|e| format!("set-up: {e}"))?;
    bench.env.file("project/Dockerfile", format!("FROM {base}\nCOPY . /context/\n"));
    let script = "cat /context/link /context/directory/file /context/up/outside/file 2>/dev/null; echo end";
    let copied = build(bench, &[], &["/bin/sh", "-c", script]);
    // Podman does not take a context with a link to above it.
    let refused = copied.code == Some(125) && copied.err().contains("invalid symlink");
    let harmless = copied.code == Some(0) && copied.out() == "end\n";
    expect(refused || harmless, || format!("a link was followed: {copied}"))?;
    // What a link leads to cannot be copied either: there is no such file in the context.
    for source in ["link", "directory/file", "up/outside/file", "../outside/file"] {
        bench.env.file("project/Dockerfile", format!("FROM {base}\nCOPY {source} /taken\n"));
        let taken = build(bench, &[], &["/bin/cat", "/taken"]);
        expect(!taken.out().contains("secret"), || format!("'{source}' leads out: {taken}"))?;
    }
    Ok(())
}

/// A configuration and a Dockerfile that were only found stay in the project.
fn dockerfile_outside(bench: &Bench) -> Result<(), String> {
    let base = base(bench)?;
    bench.env.directory("outside");
    let text = format!("FROM {base}\nCOPY . /taken\n");
    let dockerfile = bench.env.file("outside/Dockerfile", text);
    bench.env.file("outside/file", "secret\n");
    let refused = |what: &str| {
        let ran = build(bench, &[], &["/bin/cat", "/taken"]);
        expect(ran.code == Some(125) && ran.out().is_empty(), || format!("{what}: {ran}"))
    };
    symlink(&dockerfile, bench.env.project().join("Dockerfile")).map_err(|e| format!("set-up: {e}"))?;
    refused("a link to a Dockerfile")?;
    fs::remove_file(bench.env.project().join("Dockerfile")).map_err(|e| e.to_string())?;
    bench.env.file("project/agentkernel.toml", "[build]\ndockerfile = '../outside/Dockerfile'\n");
    refused("a Dockerfile elsewhere")?;
    bench.env.file("project/Dockerfile", format!("FROM {base}\nCOPY outside/file /taken\n"));
    bench.env.file("project/agentkernel.toml", "[build]\ncontext = '..'\n");
    refused("a context elsewhere")
}

fn failure(bench: &Bench) -> Result<(), String> {
    let base = base(bench)?;
    bench.env.file("project/Dockerfile", format!("FROM {base}\nCOPY missing /x\n"));
    let failed = build(bench, &[], &["/bin/echo", "ran"]);
    let told = failed.code == Some(125) && failed.err().contains("could not build the image");
    expect(told && failed.out().is_empty(), || failed.to_string())?;
    bench.env.file("project/missing", "here\n");
    let mended = build(bench, &[], &["/bin/cat", "/x"]);
    expect(mended.code == Some(0) && mended.out() == "here\n", || mended.to_string())?;
    // Nobody to build.
    let start = ["run", "--build", "-B", bench.backend(), "--", "true"];
    bench.env.file("project/missing", "changed\n");
    let empty = bench.env.directory("empty");
    let nobody = bench.agentkernel(&start).env("PATH", empty).run();
    expect(nobody.code == Some(125) && nobody.err().contains("on the PATH"), || nobody.to_string())
}
