//! The conformance suite of the seam: the doc comments of `agentkernel_backend` as cases that can fail.
//!
//! A case knows no backend by name. What a backend cannot do, its capabilities say, and only that lets a case be
//! skipped ([`Need`]). Most cases run on both roads: `run_once`, and create, start and exec. Inside a sandbox a case
//! uses `/bin/sh` and coreutils only, and names files relative to a working directory wherever isolation is not the
//! subject, so that a backend without a root of its own can be checked as well.

pub mod bench;
pub mod case;
mod cases;
pub mod image;
pub mod skips;
pub mod subject;

pub use bench::Bench;
pub use case::{Case, Failure, Need, Outcome, Road, Verdict};
pub use cases::cases;
pub use subject::Subject;
