//! What a sandbox must not see or touch. The escape suite goes deeper; this is what every policy promises.

use crate::conformance::{
    bench::{Bench, shown},
    case::{Verdict, check, same},
    subject::{at, plain_spec, sh},
};
use agentkernel_backend::Exit;
use agentkernel_model::policy::{EffectivePolicy, Network, Profile, RootAccess};
use std::path::Path;

pub(super) async fn network_off_is_loopback_only(b: Bench) -> Verdict {
    let output = b.run(&plain_spec(), &sh("tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '")).await?;
    same!(String::from_utf8_lossy(&output.stdout), "lo\n", "the interfaces");
    let routes = b.run(&plain_spec(), &sh("tail -n +2 /proc/net/route")).await?;
    check!(routes.exit == Exit::Code(0) && routes.stdout.is_empty(), "routes: {}", shown(&routes));
    Ok(())
}

pub(super) async fn a_read_only_root_refuses_writes(b: Bench) -> Verdict {
    let mut spec = plain_spec();
    let limits = spec.policy.limits.clone();
    spec.policy = EffectivePolicy { limits, ..EffectivePolicy::of_profile(Profile::Restrictive) };
    same!((&spec.policy.root, &spec.policy.network), (&RootAccess::ReadOnly, &Network::Off), "the profile");
    for place in ["/file", "/etc/file", "/usr/file", "/usr/bin/file", "/bin/file"] {
        let output = b.run(&spec, &sh(&format!("echo x >{place}"))).await?;
        check!(output.exit != Exit::Code(0), "{place} could be written");
        check!(!output.stderr.is_empty(), "no reason given for {place}");
    }
    let output =
        b.run(&spec, &sh("chmod 777 /etc/passwd || mv /etc/passwd /tmp || rm -f /etc/passwd")).await?;
    check!(output.exit != Exit::Code(0), "a file of the root could be changed: {}", shown(&output));
    let output = b.run(&spec, &at("/tmp", sh("echo x >file && cat /tmp/file"))).await?;
    check!(output.stdout == b"x\n", "/tmp is not writable: {}", shown(&output));
    Ok(())
}

pub(super) async fn a_writable_root_never_reaches_the_host(b: Bench) -> Verdict {
    let name = format!("agentkernel-conformance-{}", std::process::id());
    let places: Vec<String> = ["/", "/etc/", "/tmp/"].iter().map(|d| format!("{d}{name}")).collect();
    let script = format!("set -e; for f in {}; do echo inside >$f; cat $f; done", places.join(" "));
    let output = b.run(&plain_spec(), &sh(&script)).await?;
    same!(
        String::from_utf8_lossy(&output.stdout),
        "inside\n".repeat(places.len()),
        "what was written inside"
    );
    let reached: Vec<&String> = places.iter().filter(|p| Path::new(p).exists()).collect();
    check!(reached.is_empty(), "on the host there are now {reached:?}");
    let before = std::fs::read("/etc/passwd")?;
    let output = b.run(&plain_spec(), &sh("echo changed >/etc/passwd && cat /etc/passwd")).await?;
    check!(output.exit == Exit::Code(0) && output.stdout == b"changed\n", "{}", shown(&output));
    same!(std::fs::read("/etc/passwd")?, before, "the host's passwd");
    Ok(())
}

/// Programs of the image can be added, replaced and removed, as a package manager inside does.
pub(super) async fn a_writable_root_lets_programs_be_changed(b: Bench) -> Verdict {
    let name = format!("agentkernel-conformance-{}", std::process::id());
    let script = format!(
        "set -e; echo inside >/usr/bin/{name}; mkdir -p /usr/local/{name}; cat /usr/bin/{name}; \
         rm -f /usr/bin/env; ! test -e /usr/bin/env; echo end"
    );
    let output = b.run(&plain_spec(), &sh(&script)).await?;
    check!(output.exit == Exit::Code(0) && output.stdout == b"inside\nend\n", "{}", shown(&output));
    let made = Path::new("/usr/bin").join(&name).exists() || Path::new("/usr/local").join(&name).exists();
    check!(!made, "it is on the host now");
    check!(Path::new("/usr/bin/env").exists(), "the host lost a program");
    Ok(())
}

pub(super) async fn host_processes_are_not_seen(b: Bench) -> Verdict {
    let script = "for d in /proc/[0-9]*; do echo ${d#/proc/}; done";
    let output = b.run(&plain_spec(), &sh(script)).await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let pids: Vec<u32> = text.lines().filter_map(|l| l.parse().ok()).collect();
    check!(!pids.is_empty() && pids.len() <= 8, "{} processes are seen: {pids:?}", pids.len());
    let own = std::process::id();
    let output =
        b.run(&plain_spec(), &sh(&format!("kill -0 {own} 2>/dev/null && echo reached; echo end"))).await?;
    // The same number may be a process of the sandbox's own only while numbers are small.
    check!(own <= 8 || output.stdout == b"end\n", "process {own} of the host can be signalled");
    Ok(())
}

pub(super) async fn host_files_are_not_seen(b: Bench) -> Verdict {
    let secret = b.scratch().join("secret");
    std::fs::write(&secret, "host secret")?;
    let output =
        b.run(&plain_spec(), &sh(&format!("cat {} 2>/dev/null; echo end", secret.display()))).await?;
    same!(String::from_utf8_lossy(&output.stdout), "end\n", "a file of the host");
    // An image may have such places of its own, with other things in them or with what it says that it grafts.
    for place in ["/home", "/root", "/run", "/var/lib"] {
        let output = b.run(&plain_spec(), &sh(&format!("ls -A {place} 2>/dev/null"))).await?;
        let inside = String::from_utf8_lossy(&output.stdout).into_owned();
        let host: Vec<String> = entries_of(place);
        let grafts = &b.subject().rootfs.rootfs.grafts;
        let leads_to_graft =
            |name: &str| grafts.iter().any(|g| g.target.as_str().starts_with(&format!("{place}/{name}")));
        let shared: Vec<&str> =
            inside.lines().filter(|l| host.iter().any(|h| h == l) && !leads_to_graft(l)).collect();
        check!(shared.is_empty(), "in {place} there is what the host has: {shared:?}");
    }
    let output = b.run(&plain_spec(), &sh("ls /proc/self/fd")).await?;
    // 3 is the listing's own.
    same!(String::from_utf8_lossy(&output.stdout), "0\n1\n2\n3\n", "open descriptors");
    Ok(())
}

fn entries_of(directory: &str) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().filter_map(Result::ok);
    entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect()
}
