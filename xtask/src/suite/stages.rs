//! The stages of `cargo xtask test`, as data. A new test target is a new line here.

use crate::person::Half;

#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    pub(super) name: &'static str,
    pub(super) work: Work,
    /// Minutes after which it has failed.
    pub(super) limit: u64,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Work {
    /// Tests that cargo runs as whoever we are: nextest where it is installed, else `cargo test`. The words select.
    Tests(&'static [&'static str]),
    /// `cargo test` itself, for what nextest cannot run.
    Plain(&'static [&'static str]),
    /// One test program, run once in each half with `AGENTKERNEL_BIN` set.
    Program {
        package: &'static str,
        target: Target,
        env: &'static [(&'static str, &'static str)],
        halves: &'static [Half],
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Lib,
    /// An integration test by name.
    Test(&'static str),
}

const TESTKIT: &str = "agentkernel-testkit";
const BOTH: &[Half] = &[Half::Root, Half::User];
const ROOT: &[Half] = &[Half::Root];
const USER: &[Half] = &[Half::User];

pub(super) const STAGES: &[Stage] = &[
    // All test programs together: the others would be built one after another.
    Stage { name: "build", work: Work::Plain(&["--workspace", "--no-run"]), limit: 30 },
    Stage { name: "unit", work: Work::Tests(&["--workspace", "--exclude", TESTKIT]), limit: 15 },
    Stage { name: "doc", work: Work::Plain(&["--workspace", "--doc"]), limit: 10 },
    Stage {
        name: "unit-native",
        work: Work::Program { package: "agentkernel-native", target: Target::Lib, env: &[], halves: USER },
        limit: 10,
    },
    // Engines, rootless ones too, and everything else that the test helpers promise.
    Stage {
        name: "unit-testkit",
        work: Work::Program { package: TESTKIT, target: Target::Lib, env: &[], halves: BOTH },
        limit: 10,
    },
    Stage {
        name: "seam",
        work: Work::Program { package: TESTKIT, target: Target::Test("seam"), env: &[], halves: BOTH },
        limit: 10,
    },
    Stage {
        name: "conformance-fake",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("conformance"),
            env: &[("AGENTKERNEL_CONFORMANCE", "fake")],
            halves: USER,
        },
        limit: 10,
    },
    Stage {
        name: "conformance-native",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("conformance"),
            env: &[("AGENTKERNEL_CONFORMANCE", "native")],
            halves: BOTH,
        },
        limit: 15,
    },
    Stage {
        name: "conformance-docker",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("conformance"),
            env: &[("AGENTKERNEL_CONFORMANCE", "docker")],
            halves: BOTH,
        },
        limit: 20,
    },
    Stage {
        name: "conformance-docker-runsc",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("conformance"),
            env: &[("AGENTKERNEL_CONFORMANCE", "docker"), ("AGENTKERNEL_CONFORMANCE_RUNTIME", "runsc")],
            halves: ROOT,
        },
        limit: 20,
    },
    // The engine is used as one of another machine.
    Stage {
        name: "conformance-docker-tls",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("conformance"),
            env: &[("AGENTKERNEL_CONFORMANCE", "docker"), ("AGENTKERNEL_ENGINE_ELSEWHERE", "tls")],
            halves: ROOT,
        },
        limit: 20,
    },
    Stage {
        name: "conformance-podman",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("conformance"),
            env: &[("AGENTKERNEL_CONFORMANCE", "podman")],
            halves: BOTH,
        },
        limit: 20,
    },
    Stage {
        name: "backend-native",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("backend"),
            env: &[("AGENTKERNEL_BACKEND", "native")],
            halves: BOTH,
        },
        limit: 10,
    },
    Stage {
        name: "backend-docker",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("backend"),
            env: &[("AGENTKERNEL_BACKEND", "docker")],
            halves: ROOT,
        },
        limit: 15,
    },
    Stage {
        name: "backend-podman",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("backend"),
            env: &[("AGENTKERNEL_BACKEND", "podman")],
            halves: BOTH,
        },
        limit: 15,
    },
    Stage {
        name: "egress-native",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("egress"),
            env: &[("AGENTKERNEL_BACKEND", "native")],
            halves: BOTH,
        },
        limit: 15,
    },
    Stage {
        name: "egress-docker",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("egress"),
            env: &[("AGENTKERNEL_BACKEND", "docker")],
            halves: BOTH,
        },
        limit: 15,
    },
    Stage {
        name: "egress-docker-tls",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("egress"),
            env: &[("AGENTKERNEL_BACKEND", "docker"), ("AGENTKERNEL_ENGINE_ELSEWHERE", "tls")],
            halves: ROOT,
        },
        limit: 15,
    },
    Stage {
        name: "egress-podman",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("egress"),
            env: &[("AGENTKERNEL_BACKEND", "podman")],
            halves: BOTH,
        },
        limit: 15,
    },
    Stage {
        name: "runners",
        work: Work::Program { package: TESTKIT, target: Target::Test("runners"), env: &[], halves: BOTH },
        limit: 10,
    },
    Stage {
        name: "cli",
        work: Work::Program { package: TESTKIT, target: Target::Test("cli"), env: &[], halves: BOTH },
        limit: 15,
    },
    Stage {
        name: "server",
        work: Work::Program { package: TESTKIT, target: Target::Test("server"), env: &[], halves: BOTH },
        limit: 15,
    },
    Stage {
        name: "clients",
        work: Work::Program { package: TESTKIT, target: Target::Test("clients"), env: &[], halves: BOTH },
        limit: 15,
    },
    Stage {
        name: "page",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("page"),
            // Each test has a browser of its own.
            env: &[("RUST_TEST_THREADS", "2")],
            halves: ROOT,
        },
        limit: 15,
    },
    Stage {
        name: "mcp",
        work: Work::Program { package: TESTKIT, target: Target::Test("mcp"), env: &[], halves: BOTH },
        limit: 15,
    },
    Stage {
        name: "mcp-clients",
        work: Work::Program { package: TESTKIT, target: Target::Test("mcp_clients"), env: &[], halves: USER },
        limit: 10,
    },
    // Apple's program, as its documents describe it: a stand-in.
    Stage {
        name: "cli-apple",
        work: Work::Program { package: TESTKIT, target: Target::Test("cli_apple"), env: &[], halves: USER },
        limit: 10,
    },
    Stage {
        name: "cli-docker",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("cli_docker"),
            // Each test has an engine of its own, and two of them share directories below /run.
            env: &[("RUST_TEST_THREADS", "1")],
            halves: ROOT,
        },
        limit: 20,
    },
    Stage {
        name: "cli-podman",
        work: Work::Program {
            package: TESTKIT,
            target: Target::Test("cli_podman"),
            // As above: Podman's are below /run and /var/lib.
            env: &[("RUST_TEST_THREADS", "1")],
            halves: ROOT,
        },
        limit: 20,
    },
    Stage {
        name: "docs",
        work: Work::Program { package: TESTKIT, target: Target::Test("docs"), env: &[], halves: BOTH },
        limit: 10,
    },
    Stage {
        name: "escape",
        work: Work::Program { package: TESTKIT, target: Target::Test("escape"), env: &[], halves: BOTH },
        limit: 15,
    },
];

/// Stages whose tests use packages of PyPI, npm and crates.io, and whose: what `scripts/packages` is called with.
pub(super) const PACKAGES: &[(&str, &[&str])] = &[
    ("clients", &["python", "node", "rust"]),
    ("mcp", &["python"]),
    ("mcp-clients", &["mcp-clients"]),
    ("page", &["python"]),
];

/// What the tests need on the machine: the program, and the Debian package that has it.
pub(super) const TOOLS: &[(&str, &str)] = &[
    ("newuidmap", "uidmap"),
    ("newgidmap", "uidmap"),
    ("useradd", "passwd"),
    ("python3", "python3-minimal"),
    ("strace", "strace"),
    ("ip", "iproute2"),
    ("iptables", "iptables"),
    ("busybox", "busybox-static"),
    ("docker-registry", "docker-registry"),
    ("dockerd", "docker.io"),
    ("containerd", "containerd"),
    ("rootlesskit", "rootlesskit"),
    ("podman", "podman"),
    ("runc", "runc"),
    ("runsc", "runsc"),
    ("slirp4netns", "slirp4netns"),
    ("fuse-overlayfs", "fuse-overlayfs"),
    ("curl", "curl"),
    ("wget", "wget"),
    ("openssl", "openssl"),
    ("ssh-keygen", "openssh-client"),
    ("sshd", "openssh-server"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("zsh", "zsh"),
    ("fish", "fish"),
    ("elvish", "elvish"),
    ("java", "openjdk-17-jdk-headless"),
    ("chromium", "chromium"),
];
