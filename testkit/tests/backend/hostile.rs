//! Images and commands that attack what is around them: the agent of a container, its mounts, and the host.

use super::{
    bench::{Bench, LABEL, expect},
    sample::{Sample, library},
};
use crate::Test;
use serde_json::{Value, json};
use std::{fs, path::Path};

const IMAGE: &str = "hostile:1";

pub(crate) const fn everywhere() -> [Test; 8] {
    [
        ("image/set-user-id", set_user_id),
        ("image/devices", devices),
        ("image/link-at-workspace", link_at_workspace),
        ("image/links-at-generated-files", links_at_files),
        ("image/link-at-temporary-directory", link_at_tmp),
        ("command/process-1", process_1),
        ("command/loader-variables", loader_of_commands),
        ("own-files/covered-in-the-home", own_files),
    ]
}

/// What attacks process 1 where it is a program that the engine starts.
pub(crate) const fn on_engines() -> [Test; 8] {
    [
        ("agent/preload-file", preload_file),
        ("agent/preload-file-of-a-command", preload_file_later),
        ("agent/preload-variable", preload_variable),
        ("agent/settings-of-the-engines-own-image", engines_own_image),
        ("agent/link-at-its-directory", link_at_agent),
        ("agent/files", agent_files),
        ("agent/another-in-its-place", another_agent),
        ("agent/socket", agent_socket),
    ]
}

fn sample(bench: &Bench, fill: impl FnOnce(&mut Sample) -> Result<(), String>) -> Result<(), String> {
    let mut sample = Sample::new(bench, "hostile")?;
    fill(&mut sample)?;
    sample.import(bench, IMAGE)
}

/// A program of root's with the bit, run by another user.
fn set_user_id(bench: &Bench) -> Result<(), String> {
    sample(bench, |s| s.program("usr/bin/who", 0o4755, "/usr/bin/id"))?;
    let ran = bench.run(IMAGE, &["--no-workspace", "--user", "app"], &["/usr/bin/who", "-u"]).run();
    match ran.code {
        Some(0) => expect(ran.out() == "1000\n", || format!("it became somebody: {ran}")),
        // An ordinary user without subordinate ids has one user inside.
        _ => expect(ran.code == Some(125) && ran.err().contains("1000:1000"), || ran.to_string()),
    }
}

fn devices(bench: &Bench) -> Result<(), String> {
    sample(bench, |s| {
        s.layer.device("memory", 0o666, 1, 1).map_err(|e| e.to_string())?;
        s.layer.device("null", 0o666, 1, 3).map_err(|e| e.to_string())
    })?;
    let script = "for d in /memory /null; do (exec 3<$d) 2>/dev/null && echo opened $d; done; echo end";
    let said = bench.says(IMAGE, &["--no-workspace"], script)?;
    expect(said == "end\n", || format!("devices of an image are devices: {said}"))
}

/// A directory of the host with one file, which nothing may reach or change.
fn outside(bench: &Bench) -> String {
    let directory = bench.env.directory("outside");
    bench.env.file("outside/file", "secret\n");
    directory.display().to_string()
}

fn untouched(bench: &Bench) -> Result<(), String> {
    let directory = bench.env.directory("outside");
    let names: Vec<_> = fs::read_dir(&directory).map_err(|e| e.to_string())?.filter_map(Result::ok).collect();
    let content = fs::read_to_string(directory.join("file")).unwrap_or_default();
    expect(names.len() == 1 && content == "secret\n", || {
        format!("the host was changed: {names:?}, {content:?}")
    })
}

/// Runs `script`, which may be refused for what the image is and then says why, and says nothing of the host if it runs.
fn contained(bench: &Bench, flags: &[&str], script: &str, wanted: &str) -> Result<(), String> {
    let ran = bench.run(IMAGE, flags, &["/bin/sh", "-c", script]).run();
    untouched(bench)?;
    expect(!ran.out().contains("secret") && !ran.err().contains("panicked"), || ran.to_string())?;
    match ran.code {
        Some(125) => expect(ran.err().lines().any(|l| l.starts_with("error: ")), || ran.to_string()),
        _ => expect(ran.code == Some(0) && ran.out() == wanted, || ran.to_string()),
    }
}

fn link_at_workspace(bench: &Bench) -> Result<(), String> {
    let outside = outside(bench);
    sample(bench, |s| s.link("workspace", &outside))?;
    bench.env.file("project/mine", "mine\n");
    let script = "cat /workspace/file 2>/dev/null; cat /workspace/mine; echo new >/workspace/new";
    contained(bench, &[], script, "mine\n")?;
    contained(bench, &["--profile", "permissive"], script, "mine\n")?;
    contained(bench, &["--no-workspace"], "cat /workspace/file; echo end", "end\n")
}

fn links_at_files(bench: &Bench) -> Result<(), String> {
    let outside = outside(bench);
    sample(bench, |s| {
        let target = format!("{outside}/file");
        ["etc/hosts", "etc/hostname", "etc/resolv.conf"].iter().try_for_each(|path| s.link(path, &target))
    })?;
    let script = "for f in hosts hostname resolv.conf; do echo taken 2>/dev/null >/etc/$f; done; echo end";
    for flags in [&["--no-workspace"][..], &["--no-workspace", "--profile", "restrictive"]] {
        contained(bench, flags, script, "end\n")?;
    }
    Ok(())
}

fn link_at_tmp(bench: &Bench) -> Result<(), String> {
    let outside = outside(bench);
    sample(bench, |s| ["tmp", "run", "dev", "proc"].iter().try_for_each(|path| s.link(path, &outside)))?;
    contained(bench, &["--no-workspace"], "echo x >/tmp/new; cat /tmp/file 2>/dev/null; echo end", "end\n")
}

/// Its descriptors, its memory, its root and its environment are nobody's but its own.
fn process_1(bench: &Bench) -> Result<(), String> {
    sample(bench, |_| Ok(()))?;
    let script =
        "for f in environ mem maps auxv; do head -c 1 /proc/1/$f >/dev/null 2>&1 && echo read $f; done
        for d in cwd/ root/ map_files; do ls -A /proc/1/$d 2>/dev/null | grep -q . && echo listed $d; done
        for n in cwd root exe fd/0 fd/1 fd/2 fd/3 fd/4 fd/5 fd/6 fd/7; do
          readlink /proc/1/$n >/dev/null 2>&1 && echo told $n
          (exec 3</proc/1/$n) 2>/dev/null && echo opened $n
        done
        kill -STOP 1 2>/dev/null; kill -KILL 1 2>/dev/null; echo end";
    for profile in ["moderate", "permissive", "restrictive"] {
        let said = bench.says(IMAGE, &["--no-workspace", "--profile", profile], script)?;
        expect(said == "end\n", || format!("process 1 gives something away to {profile}: {said}"))?;
    }
    Ok(())
}

/// An image may do to its own commands what it likes: which shows that the library of the attacks below is a good one.
fn loader_of_commands(bench: &Bench) -> Result<(), String> {
    evil(bench, |s| s.file("etc/ld.so.preload", 0o644, b"/evil/evil.so\n"))?;
    let said = bench.says(IMAGE, &["--no-workspace"], "/usr/bin/list /proc/self/maps | grep -c evil.so")?;
    expect(said != "0\n", || format!("set-up: the library is not loaded: {said}"))
}

fn evil(bench: &Bench, fill: impl FnOnce(&mut Sample) -> Result<(), String>) -> Result<(), String> {
    sample(bench, |s| {
        s.program("usr/bin/list", 0o755, "/usr/bin/cat")?;
        s.file("evil/evil.so", 0o755, &library()?)?;
        fill(s)
    })
}

/// What process 1 of the sandbox `box` has mapped, seen from the host.
fn maps_of_agent(bench: &Bench) -> Result<String, String> {
    let maps = of_agent(bench, "maps")?;
    // Else nothing could be found in it.
    expect(maps.contains("libc.so") || maps.contains("agentkernel"), || format!("strange maps: {maps}"))?;
    Ok(maps)
}

fn environment_of_agent(bench: &Bench) -> Result<String, String> {
    of_agent(bench, "environ")
}

/// A file of process 1 in /proc.
fn of_agent(bench: &Bench, file: &str) -> Result<String, String> {
    let containers = bench.containers()?;
    let ours: Vec<_> = containers.iter().filter(|c| c.labels.contains_key(LABEL)).collect();
    let [container] = ours[..] else { return Err(format!("not one container: {ours:?}")) };
    let target = format!("/containers/{}/json", container.id);
    let about = bench.api()?.json("GET", &target, None).map_err(|e| e.to_string())?;
    let pid = about["State"]["Pid"].as_u64().filter(|pid| *pid > 0).ok_or("it has no process")?;
    let read = fs::read(format!("/proc/{pid}/{file}")).map_err(|e| format!("{file} of {pid}: {e}"))?;
    Ok(String::from_utf8_lossy(&read).into_owned())
}

fn not_loaded(bench: &Bench) -> Result<(), String> {
    let maps = maps_of_agent(bench)?;
    expect(!maps.contains("evil"), || format!("the image's library is in process 1:\n{maps}"))
}

fn preload_file(bench: &Bench) -> Result<(), String> {
    evil(bench, |s| s.file("etc/ld.so.preload", 0o644, b"/evil/evil.so\n"))?;
    bench.with_named(IMAGE, &[], not_loaded)
}

/// The same by what a command leaves for the next start.
fn preload_file_later(bench: &Bench) -> Result<(), String> {
    evil(bench, |_| Ok(()))?;
    bench.with_named(IMAGE, &[], |bench| {
        let script = "echo /evil/evil.so >/etc/ld.so.preload; rm -rf /lib64/* /etc/ld.so.cache";
        bench.must(&["exec", "box", "--", "/bin/sh", "-c", script])?;
        bench.must(&["sandbox", "stop", "box"])?;
        bench.must(&["sandbox", "start", "box"])?;
        not_loaded(bench)
    })
}

fn preload_variable(bench: &Bench) -> Result<(), String> {
    evil(bench, |s| {
        for name in ["LD_PRELOAD", "LD_AUDIT"] {
            s.config.env.push((name.to_owned(), "/evil/evil.so".to_owned()));
        }
        s.config.env.push(("LD_LIBRARY_PATH".to_owned(), "/evil".to_owned()));
        s.file("evil/libc.so.6", 0o755, b"not a library")
    })?;
    bench.with_named(IMAGE, &[], not_loaded)
}

/// The engine has the very image, and would add its variables and its volumes to whatever a container is asked for.
fn engines_own_image(bench: &Bench) -> Result<(), String> {
    let api = bench.api()?;
    let json = |method: &str, target: &str, body: Option<&Value>| {
        api.json(method, target, body).map_err(|e| e.to_string())
    };
    let base = super::build::base(bench)?;
    let made = json("POST", "/containers/create", Some(&json!({"Image": base, "Cmd": ["/bin/sh"]})))?;
    let made = made["Id"].as_str().ok_or("set-up: no container")?.to_owned();
    // There need be no such library: its name would be seen in process 1.
    let changes = "changes=ENV%20LD_PRELOAD%3D/evil/evil.so&changes=VOLUME%20/data";
    let commit = format!("/commit?container={made}&repo=evil&tag=1&{changes}");
    json("POST", &commit, Some(&json!({})))?;
    api.remove(&made).map_err(|e| e.to_string())?;
    let named = json("GET", "/images/evil:1/json", None)?;
    let name = named["RepoTags"][0].as_str().ok_or("set-up: no name")?.to_owned();
    let said = named["Config"]["Env"].to_string();
    expect(said.contains("LD_PRELOAD"), || format!("set-up: the image has no variable: {named}"))?;
    let saved = api.call("GET", &format!("/images/{name}/get"), None).map_err(|e| e.to_string())?;
    let archive = bench.env.file("evil.tar", saved.body());
    bench.must(&["images", "import", &archive.display().to_string(), "--name", IMAGE])?;
    let before = api.volumes().map_err(|e| e.to_string())?;
    bench.with_named(IMAGE, &[], |bench| {
        let environment = environment_of_agent(bench)?;
        expect(!environment.contains("/evil/evil.so"), || format!("process 1 has it: {environment}"))?;
        let after = bench.api()?.volumes().map_err(|e| e.to_string())?;
        let new: Vec<_> = after.iter().filter(|name| !before.contains(name)).collect();
        let ours = |name: &&&String| super::leftover::labelled(bench, name);
        expect(new.iter().all(|name| ours(&name)), || format!("volumes of nobody: {new:?}"))
    })?;
    json("DELETE", &format!("/images/{name}?force=true"), None).map(drop)
}

fn link_at_agent(bench: &Bench) -> Result<(), String> {
    let outside = outside(bench);
    for target in [outside.as_str(), "/etc", "/proc/self", "../../.."] {
        let mut sample = Sample::new(bench, &format!("at{}", target.len()))?;
        sample.link(".agentkernel", target)?;
        sample.import(bench, IMAGE)?;
        // With the agent's files mounted on the image's /bin, there is no shell any more.
        if target == "../../.." {
            let ran = bench.run(IMAGE, &["--no-workspace"], &["/bin/sh", "-c", "echo end"]).run();
            expect([Some(125), Some(127)].contains(&ran.code), || ran.to_string())?;
            continue;
        }
        contained(bench, &["--no-workspace"], "echo end", "end\n")?;
    }
    // A program of the image's own at the agent's place.
    let mut sample = Sample::new(bench, "own")?;
    sample.file(".agentkernel/bin/agentkernel", 0o755, b"#!/bin/sh\necho taken\n")?;
    sample.file(".agentkernel/bin/ld.so", 0o755, b"#!/bin/sh\necho taken\n")?;
    sample.import(bench, IMAGE)?;
    contained(bench, &["--no-workspace"], "echo end", "end\n")
}

/// The agent's program is the host's, for every sandbox.
fn agent_files(bench: &Bench) -> Result<(), String> {
    sample(bench, |_| Ok(()))?;
    let script = "cd /.agentkernel/bin && for f in *; do
          echo taken 2>/dev/null >$f && echo written $f
          rm -f $f 2>/dev/null && echo removed $f
          chmod 777 $f 2>/dev/null && echo changed $f
        done
        echo x 2>/dev/null >/.agentkernel/bin/new && echo made
        mount -o remount,rw /.agentkernel/bin 2>/dev/null && echo mounted
        umount /.agentkernel/bin 2>/dev/null && echo unmounted
        mount -o bind /tmp /.agentkernel/bin 2>/dev/null && echo covered
        echo end";
    let builds = bench.env.data().join("agent");
    for profile in ["permissive", "moderate", "restrictive"] {
        let said = bench.says(IMAGE, &["--no-workspace", "--profile", profile], script)?;
        expect(said == "end\n", || format!("{profile} gets at the agent: {said}"))?;
    }
    expect(bench.says(IMAGE, &["--no-workspace"], "echo end")? == "end\n", || {
        "it does not run again".into()
    })?;
    expect(!taken(&builds), || format!("{} was changed", builds.display()))
}

/// A command can move the directory in which the agent's are mounted, and put others there: what is started next is the
/// host's all the same.
fn another_agent(bench: &Bench) -> Result<(), String> {
    sample(bench, |_| Ok(()))?;
    let program = "printf '#!/bin/sh\\necho taken; sleep 1000\\n' >$d/agentkernel; cp $d/agentkernel $d/ld.so
        chmod 755 $d/agentkernel $d/ld.so";
    let in_its_place = format!("mv /.agentkernel /moved; d=/.agentkernel/bin; mkdir -p $d; {program}");
    let by_a_link =
        format!("rm -rf /.agentkernel; d=/tricks/bin; mkdir -p $d; ln -s /tricks /.agentkernel; {program}");
    bench.with_named(IMAGE, &["--profile", "permissive"], |bench| {
        for script in [&in_its_place, &by_a_link] {
            bench.must(&["exec", "box", "--", "/bin/sh", "-c", script])?;
            let said = bench.must(&["exec", "box", "--", "echo", "end"])?;
            expect(said.out() == "end\n", || said.to_string())?;
            bench.must(&["sandbox", "stop", "box"])?;
            let started = bench.agentkernel(&["sandbox", "start", "box"]).run();
            if started.code == Some(125) {
                // It may be refused, for a link.
                continue;
            }
            expect(started.code == Some(0), || started.to_string())?;
            expect(maps_of_agent(bench)?.contains("/agentkernel"), || {
                "process 1 is another program".to_owned()
            })?;
            let said = bench.must(&["exec", "box", "--", "echo", "end"])?;
            expect(said.out() == "end\n", || said.to_string())?;
        }
        Ok(())
    })
}

/// The home is shown with this profile, and in it nothing of agentkernel's own, at any start.
fn own_files(bench: &Bench) -> Result<(), String> {
    sample(bench, |_| Ok(()))?;
    let script = "ls -A /home/user/.local/share/agentkernel && echo end";
    bench.with_named(IMAGE, &["--profile", "permissive"], |bench| {
        for _start in 0..2 {
            let said = bench.must(&["exec", "box", "--", "/bin/sh", "-c", script])?;
            expect(said.out() == "end\n", || said.to_string())?;
            bench.must(&["sandbox", "stop", "box"])?;
            bench.must(&["sandbox", "start", "box"])?;
        }
        Ok(())
    })
}

fn taken(directory: &Path) -> bool {
    let entries = fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries.map(|e| e.path()).any(|path| match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => taken(&path),
        Ok(meta) if meta.is_file() => meta.len() < 64 || path.ends_with("new"),
        _ => false,
    })
}

/// The road by which the agent reported is closed when the first command begins, and gives nothing.
fn agent_socket(bench: &Bench) -> Result<(), String> {
    sample(bench, |_| Ok(()))?;
    let script = "find / -xdev -type s 2>/dev/null; ls -A /.agentkernel/keeper 2>/dev/null
        echo x 2>/dev/null >/.agentkernel/keeper/x && echo made; echo end";
    for profile in ["moderate", "permissive"] {
        let said = bench.says(IMAGE, &["--no-workspace", "--profile", profile], script)?;
        expect(said == "end\n", || format!("something of the keeper is in reach of {profile}: {said}"))?;
    }
    bench.with_named(IMAGE, &[], |bench| {
        let said = bench.must(&["exec", "box", "--", "/bin/sh", "-c", script])?;
        expect(said.out() == "end\n", || format!("something of the keeper is in reach: {said}"))
    })
}
