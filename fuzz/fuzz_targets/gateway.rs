//! What the gateway reads of a sandbox and of resolvers before anything is decided: greetings, questions, answers, paths.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| agentkernel_egress::fuzzing::read(bytes));
