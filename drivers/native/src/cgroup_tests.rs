use super::*;
use agentkernel_model::{
    limits::Limit,
    size::{ByteSize, Cpus},
};

fn limits() -> Limits {
    Limits {
        memory: Some(Limit::Required(ByteSize::from_mib(64))),
        cpus: Some(Limit::Default(Cpus::from_milli(500))),
        pids: Some(Limit::Default(20)),
    }
}

#[test]
fn limits_become_each_versions_files() {
    let all = |kind| {
        ["memory", "cpu", "pids"].iter().flat_map(|c| settings(kind, c, &limits())).collect::<Vec<_>>()
    };
    let pairs =
        |list: &[(&'static str, &str)]| list.iter().map(|(a, b)| (*a, (*b).to_owned())).collect::<Vec<_>>();
    assert_eq!(
        all(Version::V1),
        pairs(&[("memory.limit_in_bytes", "67108864"), ("cpu.cfs_quota_us", "50000"), ("pids.max", "21")])
    );
    assert_eq!(
        all(Version::V2),
        pairs(&[
            ("memory.max", "67108864"),
            ("memory.swap.max", "0"),
            ("cpu.max", "50000 100000"),
            ("pids.max", "21")
        ])
    );
}

#[test]
fn v1_groups_are_made_below_the_callers_own() {
    let root = tempfile::tempdir().unwrap();
    for dir in ["memory/mine", "cpu", "pids"] {
        fs::create_dir_all(root.path().join(dir)).unwrap();
    }
    let text = "4:memory:/mine\n2:cpu,cpuacct:/gone\n0::/\n";
    let found = Hierarchy::find_in(root.path(), text);
    assert_eq!(
        found.bases,
        [("memory", root.path().join("memory/mine")), ("cpu", root.path().join("cpu"))],
        "pids is in no line, cpu's own path does not exist here"
    );
}

#[test]
fn only_groups_with_our_mark_are_ever_removed() {
    let text = "v1\nmemory /sys/fs/cgroup/memory/agentkernel-1\ncpu /sys/fs/cgroup/cpu/docker\npids /tmp/agentkernel-1\n";
    let group = Group::from_text(text).unwrap();
    assert_eq!(group.dirs.len(), 1);
    assert_eq!(Group::from_text(&group.to_text()), Some(group));
    assert_eq!(Group::from_text("v9\n"), None);
}

#[test]
fn a_real_group_is_made_limited_and_removed() {
    let hierarchy = Hierarchy::find();
    let Some(group) = hierarchy.group(&format!("test-{}", std::process::id())) else {
        println!("skipped: this user may not make control groups ({})", hierarchy.describe());
        return;
    };
    let entry = group.create(&limits()).unwrap();
    assert!(group.dirs.iter().all(|(_, d)| d.is_dir()));
    assert_eq!(group.stats().pids, Some(0));
    assert!(!group.out_of_memory());
    drop(entry);
    group.remove().unwrap();
    assert!(group.dirs.iter().all(|(_, d)| !d.exists()));
}
