//! Tests of the front door on the backend `apple`, with a stand-in for Apple's command line (`testkit/standins`).
#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "helpers of tests, outside of #[test] functions")]

mod cli_apple {
    mod runs;
    mod sandboxes;
    mod site;
}
