//! A link that takes the place of a mounted directory after it was looked at: engines follow it.

use super::{
    bench::{Bench, expect},
    sample::Sample,
};
use crate::Test;
use agentkernel_testkit::{
    engines::Proxy,
    env::{Finished, Invocation},
};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

const IMAGE: &str = "replaced:1";

pub(crate) const fn tests() -> [Test; 5] {
    [
        ("replaced/volume-of-a-run", volume),
        ("replaced/project-of-a-run", project),
        ("replaced/directory-above", above),
        ("replaced/directory-of-a-named-sandbox", named),
        ("replaced/directory-that-cannot-be-watched", unwatched),
    ]
}

/// A kernel of its own has numbers of its own for files.
pub(crate) const GVISOR: Test = ("replaced/volume-in-gvisor", gvisor);

/// `script` says what commands did with a directory that they should not have got.
const SCRIPT: &str =
    "cat /data/file /workspace/file; echo taken >/data/new; echo taken >/workspace/new; echo ran";

struct World<'a> {
    bench: &'a Bench,
    /// Where nothing may get to.
    forbidden: PathBuf,
}

impl<'a> World<'a> {
    fn new(bench: &'a Bench) -> Result<Self, String> {
        Sample::new(bench, "replaced")?.import(bench, IMAGE)?;
        let forbidden = bench.env.directory("forbidden");
        bench.env.file("forbidden/file", "secret\n");
        bench.env.file("project/file", "mine\n");
        bench.env.directory("shared/data");
        bench.env.file("shared/data/file", "mine\n");
        // The engine has the image: what follows is about one container.
        bench.says(IMAGE, &["--no-workspace"], "true")?;
        Ok(Self { bench, forbidden })
    }

    /// Puts a link in the place of `victim` when a container is started, and sees what comes of `command`.
    fn attacked(&self, victim: &Path, leads_to: &Path, command: Invocation) -> Result<(), String> {
        let place = tempfile::tempdir().map_err(|e| e.to_string())?;
        let (variable, address) = self.bench.address()?;
        let engine = PathBuf::from(address.trim_start_matches("unix://"));
        let moved = victim.with_extension("moved");
        let (from, to, link) = (victim.to_owned(), moved.clone(), leads_to.to_owned());
        let act = move || drop(fs::rename(&from, &to).and_then(|()| symlink(&link, &from)));
        let proxy = Proxy::before(place.path(), engine, "/start", act).map_err(|e| e.to_string())?;
        let done = command.env(variable, format!("unix://{}", proxy.path().display())).run();
        expect(proxy.has_struck() && victim.is_symlink(), || format!("set-up: no link: {done}"))?;
        fs::remove_file(victim).and_then(|()| fs::rename(&moved, victim)).map_err(|e| e.to_string())?;
        self.refused(&done)
    }

    fn refused(&self, done: &Finished) -> Result<(), String> {
        expect(done.code == Some(125) && done.err().contains("hint: "), || {
            format!("it was started: {done}")
        })?;
        // What cannot be shown is copied, from where no link is followed.
        let why = ["not what was meant", "was replaced while", "there is a symbolic link"];
        expect(why.iter().any(|why| done.err().contains(why)), || format!("it is not told why: {done}"))?;
        expect(done.out().is_empty(), || format!("something ran: {done}"))?;
        let names = fs::read_dir(&self.forbidden).map_err(|e| e.to_string())?.count();
        expect(names == 1, || "something was written where nothing may get to".to_owned())
    }
}

fn volume(bench: &Bench) -> Result<(), String> {
    volume_with(bench, &["--no-workspace"])
}

fn gvisor(bench: &Bench) -> Result<(), String> {
    volume_with(bench, &["--no-workspace", "--runtime", "runsc"])
}

fn volume_with(bench: &Bench, flags: &[&str]) -> Result<(), String> {
    let world = World::new(bench)?;
    let victim = bench.env.directory("shared/data");
    let mount = format!("{}:/data", victim.display());
    let flags = [flags, &["--volume", &mount]].concat();
    let run = || bench.run(IMAGE, &flags, &["/bin/sh", "-c", SCRIPT]);
    let well = run().run();
    expect(well.out() == "mine\nran\n", || format!("set-up: {well}"))?;
    fs::remove_file(victim.join("new")).map_err(|e| e.to_string())?;
    world.attacked(&victim, &world.forbidden, run())
}

fn project(bench: &Bench) -> Result<(), String> {
    let world = World::new(bench)?;
    let run = || bench.run(IMAGE, &[], &["/bin/sh", "-c", SCRIPT]);
    let well = run().run();
    expect(well.out() == "mine\nran\n", || format!("set-up: {well}"))?;
    world.attacked(&bench.env.project(), &world.forbidden, run())
}

/// The link is not the directory's own name.
fn above(bench: &Bench) -> Result<(), String> {
    let world = World::new(bench)?;
    bench.env.directory("forbidden-above/data");
    bench.env.file("forbidden-above/data/file", "secret\n");
    let victim = bench.env.directory("shared");
    let mount = format!("{}:/data", victim.join("data").display());
    let run = bench.run(IMAGE, &["--no-workspace", "--volume", &mount], &["/bin/sh", "-c", SCRIPT]);
    world.attacked(&victim, &bench.env.directory("forbidden-above"), run)
}

fn named(bench: &Bench) -> Result<(), String> {
    let world = World::new(bench)?;
    for flag in [".", ".:ro", ".:view"] {
        let create = ["sandbox", "create", "box", "-B", bench.backend(), "--image", IMAGE, "--no-network"];
        bench.agentkernel(&create).args(["--dir", flag]).run();
        let start = || bench.agentkernel(&["sandbox", "start", "box"]);
        world.attacked(&bench.env.project(), &world.forbidden, start())?;
        // What was put back is taken.
        bench.must(&["sandbox", "start", "box"])?;
        let said = bench.must(&["exec", "box", "--", "cat", "/workspace/file"])?;
        expect(said.out() == "mine\n", || said.to_string())?;
        bench.must(&["sandbox", "remove", "box"])?;
    }
    Ok(())
}

/// A sandbox that may write above a project can give a directory there to a user id of its own, and go on moving what is in it.
fn unwatched(bench: &Bench) -> Result<(), String> {
    World::new(bench)?;
    let above = bench.env.directory("taken");
    let project = bench.env.directory("taken/project");
    bench.env.file("taken/project/file", "mine\n");
    let mode =
        |mode| fs::set_permissions(&above, fs::Permissions::from_mode(mode)).map_err(|e| e.to_string());
    mode(0o111)?;
    let done = bench.run(IMAGE, &[], &["/bin/cat", "/workspace/file"]).directory(&project).run();
    mode(0o755)?;
    // Root may list what it likes.
    if bench.env.is_root() {
        return expect(done.out() == "mine\n", || format!("it was refused: {done}"));
    }
    let told = done.code == Some(125) && done.err().contains("cannot be watched");
    expect(told && done.out().is_empty(), || format!("it was started: {done}"))
}
