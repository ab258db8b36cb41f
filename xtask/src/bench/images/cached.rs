//! `run` on images that are here, beside the image `host`.

use super::Task;
use crate::{
    Outcome,
    bench::{command::quiet, rounds::Subject},
};

pub(super) const BUSYBOX: &str = "busybox";
/// The large image in several layers: as much as python has, with the `true` of this machine.
const LARGE: &str = "three";

pub(super) const HOST_ROW: &str = "agentkernel run --image host --no-network -- true";
pub(super) const BUSYBOX_ROW: &str = "agentkernel run --image BUSYBOX --no-network -- true";
pub(super) const LARGE_ROW: &str = "agentkernel run --image LARGE --no-network -- true";

const DATA: &str = "cached";

pub(super) fn subjects(task: &Task) -> Outcome<Vec<Subject<'_>>> {
    for image in [BUSYBOX, LARGE] {
        let mut pull = task.agentkernel(DATA, &["images", "pull", &task.reference(image)]);
        quiet(&mut pull, &task.home.join("cached.log")).map_err(|why| format!("pull of {image}: {why}"))?;
    }
    let run = |row, image: String| {
        Subject::new(row, move || {
            task.agentkernel(DATA, &["run", "--image", &image, "--no-network", "--", "true"])
        })
    };
    Ok(vec![
        Subject::of_words(super::super::rows::SPAWN, vec!["true".to_owned()]),
        run(HOST_ROW, "host".to_owned()),
        run(BUSYBOX_ROW, task.reference(BUSYBOX)),
        run(LARGE_ROW, task.reference(LARGE)),
    ])
}
