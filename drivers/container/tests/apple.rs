//! The backend `apple` against a stand-in for the command line `container`, which speaks its documented commands and runs
//! what it is told in namespaces of its own (`testkit/standins/container.py`).
#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

mod apple {
    mod commands;
    mod faults;
    mod files;
    mod life;
    mod site;
    mod words;
}
