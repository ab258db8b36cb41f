//! Kill -9 at any moment, and many callers at once.

use agentkernel_testkit::{TestEnv, env::cgroups_of};
use rustix::process::Signal;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How many kills, and how many runs of each of 16 callers: few here, 100 and 32 in the long suite of CI.
fn count(variable: &str, default: u32) -> u32 {
    std::env::var(variable).map_or(default, |n| n.parse().unwrap_or_else(|_| panic!("{variable} is '{n}'")))
}

/// xorshift64*: moments that differ between runs and can be repeated from the printed seed.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
        let seed = std::env::var("AGENTKERNEL_TEST_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or(u64::try_from(now % u128::from(u64::MAX)).unwrap()) | 1;
        println!("AGENTKERNEL_TEST_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, limit: Duration) -> Duration {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let part = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 40;
        limit.mul_f64(f64::from(u32::try_from(part).unwrap()) / f64::from(1 << 24))
    }
}

#[test]
fn kill_of_run_at_random_moments_leaves_nothing() {
    let env = TestEnv::new();
    let whole = env.agentkernel(&["run", "-i", "host", "--", "true"]).run().ok().elapsed;
    let mut moments = Moments::new();
    for _ in 0..count("AGENTKERNEL_TEST_KILLS", 25) {
        let live =
            env.agentkernel(&["run", "-i", "host", "--", "sh", "-c", "sleep 0.05 & sleep 600"]).start();
        // Past the end of a run too: then it is killed while the command runs.
        let _killed_below = live.ends_within(moments.below(whole * 2));
        live.signal(Signal::KILL);
        live.finish();
    }
    env.agentkernel(&["run", "-i", "host", "--", "true"]).run().ok();
    env.assert_nothing_left();
}

#[test]
fn kill_of_lifecycle_verbs_loses_and_leaves_nothing() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "kept", "--image", "host"]).run().ok();
    let mut moments = Moments::new();
    for round in 0..count("AGENTKERNEL_TEST_KILLS", 25).div_ceil(5) {
        let name = format!("doomed-{round}");
        for arguments in [
            &["sandbox", "create", &name, "--image", "host"][..],
            &["sandbox", "start", &name],
            &["sandbox", "start", "kept"],
            &["sandbox", "stop", "kept"],
            &["sandbox", "remove", &name],
        ] {
            let live = env.agentkernel(arguments).start();
            let _killed_below = live.ends_within(moments.below(Duration::from_millis(60)));
            live.signal(Signal::KILL);
            live.finish();
        }
    }
    env.agentkernel(&["sandbox", "start", "kept"]).run().ok();
    env.agentkernel(&["exec", "kept", "--", "echo", "alive"]).run().ok().prints("alive\n");
    let names = env.agentkernel(&["sandbox", "list", "--json"]).run().ok().json();
    for sandbox in names.as_array().unwrap() {
        env.agentkernel(&["sandbox", "remove", sandbox["name"].as_str().unwrap()]).run().ok();
    }
    env.agentkernel(&["gc"]).run().ok();
    env.assert_nothing_left();
    assert_eq!(
        std::fs::read_dir(env.data().join("sandboxes")).map_or(0, Iterator::count),
        0,
        "directories are left"
    );
}

#[test]
fn sixteen_callers_at_once_all_succeed() {
    let env = TestEnv::new();
    let runs = count("AGENTKERNEL_TEST_RUNS", 4);
    std::thread::scope(|scope| {
        for caller in 0..16 {
            let env = &env;
            scope.spawn(move || {
                for run in 0..runs {
                    let word = format!("{caller}-{run}");
                    let finished = env.agentkernel(&["run", "-i", "host", "--", "echo", &word]).run();
                    finished.ok().prints(format!("{word}\n"));
                }
            });
        }
    });
    env.assert_nothing_left();
}

/// A world kills what a test left running in it, and takes away what that leaves.
#[test]
fn a_world_ends_with_the_cgroups_of_its_sandboxes() {
    let env = TestEnv::new();
    env.agentkernel(&["sandbox", "create", "box", "--image", "host"]).run().ok();
    env.agentkernel(&["sandbox", "start", "box"]).run().ok();
    let sandboxes = std::fs::read_dir(env.data().join("sandboxes")).unwrap();
    let ids: Vec<String> = sandboxes.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    // An ordinary user may not be allowed to make any.
    assert!(!env.is_root() || !cgroups_of(&ids).is_empty(), "{ids:?} have none");
    drop(env);
    assert_eq!(cgroups_of(&ids), Vec::<std::path::PathBuf>::new());
}
