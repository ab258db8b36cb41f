//! The attempts, by what they are about.

mod boundaries;
mod calls;
mod files;
mod limits;
mod network;
mod processes;
mod restarts;

use super::attempt::Attempt;

pub(crate) fn all() -> Vec<Attempt> {
    let groups = [
        calls::attempts(),
        processes::attempts(),
        files::attempts(),
        restarts::attempts(),
        limits::attempts(),
        boundaries::attempts(),
        network::attempts(),
    ];
    groups.into_iter().flatten().collect()
}
