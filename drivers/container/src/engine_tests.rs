use super::*;

fn facts(system: &str, architecture: &str) -> Facts {
    Facts {
        version: "28.0.0".to_owned(),
        api: (1, 41),
        rootless: false,
        remapped: false,
        limits_memory: true,
        limits_cpus: true,
        limits_pids: true,
        runtimes: vec!["runc".to_owned()],
        default_runtime: "runc".to_owned(),
        cgroup_version: "2".to_owned(),
        local: false,
        architecture: architecture.to_owned(),
        system: system.to_owned(),
        memory: 1 << 30,
    }
}

#[test]
fn an_engine_whose_machine_cannot_run_the_agent_is_refused() {
    let way = Way::Socket("/run/far.sock".into());
    let ours = std::env::consts::ARCH;
    let names = [ours, if ours == "x86_64" { "amd64" } else { "arm64" }];
    for name in names {
        runs_our_programs(&way, &facts("linux", name)).unwrap();
    }
    let other = if ours == "x86_64" { "aarch64" } else { "x86_64" };
    let error = runs_our_programs(&way, &facts("linux", other)).unwrap_err();
    assert!(error.message().contains(other) && error.message().contains(ours), "{error}");
    assert!(error.hint().is_some() && error.message().contains("/run/far.sock"), "{error}");
    let error = runs_our_programs(&way, &facts("windows", "x86_64")).unwrap_err();
    assert!(error.message().contains("windows"), "{error}");
}
