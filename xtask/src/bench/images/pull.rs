//! A pull beside what does the same by hand: `skopeo copy` to a directory, and `tar x` of each layer.

use super::{Large, Task};
use crate::{
    Outcome,
    bench::{command::quiet, rounds::Subject},
};
use std::{
    cell::Cell,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

/// More than one sample puts on the disk.
const SAMPLE: u64 = 400_000_000;

/// A new directory for each sample, all removed at the end: with the mount option `discard` a removal costs more than a
/// pull, and the next sample would pay some of it.
pub(super) struct Places {
    dir: PathBuf,
    count: Cell<usize>,
}

/// `$0` is the image, `$1` the directory, the others are blobs.
const COPY: &str = "\
set -e
image=$0 dir=$1; shift
skopeo --insecure-policy copy --src-tls-verify=false docker://$image dir:$dir/blobs
mkdir $dir/root
for blob; do tar -xzf $dir/blobs/$blob -C $dir/root; done";

fn layers(image: &str) -> String {
    format!("{image} {}", if image == "one" { "layer" } else { "layers" })
}

pub(super) fn ours(image: &str) -> String {
    format!("agentkernel images pull, {}", layers(image))
}

pub(super) fn theirs(image: &str) -> String {
    format!("skopeo copy + tar x, {}", layers(image))
}

/// Our pull ends when everything is on the disk; this is the by-hand way to the same.
pub(super) fn theirs_flushed(image: &str) -> String {
    format!("skopeo copy + tar x + sync -f, {}", layers(image))
}

impl Places {
    /// For so many samples.
    ///
    /// # Errors
    /// When the disk has not enough room for them.
    pub(super) fn new(home: &Path, samples: usize) -> Outcome<Self> {
        let dir = home.join("pulls");
        fs::create_dir_all(&dir)?;
        let disk = rustix::fs::statvfs(&dir)?;
        let (free, needed) = (disk.f_bavail * disk.f_frsize, SAMPLE * samples as u64);
        if free < needed {
            let gb = |bytes: u64| bytes as f64 / 1e9;
            return Err(
                format!("{samples} pulls need {:.1} GB, and {:.1} are free", gb(needed), gb(free)).into()
            );
        }
        Ok(Self { dir, count: Cell::new(0) })
    }

    /// The next one, empty; nothing waits for the disk that is not of the sample.
    fn next(&self) -> Result<(), String> {
        self.count.set(self.count.get() + 1);
        let here = self.here();
        let ready = fs::create_dir(&here).and_then(|()| Ok(rustix::fs::syncfs(File::open(&here)?)?));
        ready.map_err(|error| format!("{}: {error}", here.display()))
    }

    fn here(&self) -> PathBuf {
        self.dir.join(self.count.get().to_string())
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        // Software has directories that their owner may not write to.
        let opened = Command::new("chmod").args(["-R", "u+rwX"]).arg(&self.dir).output().map(drop);
        if let Err(error) = opened.and_then(|()| fs::remove_dir_all(&self.dir)) {
            eprintln!("bench: {} is left behind: {error}", self.dir.display());
        }
    }
}

pub(super) fn subjects<'a>(task: &'a Task, places: &'a Places) -> Vec<Subject<'a>> {
    let each = task.large.iter().flat_map(|image| {
        let pull = || pulling(task, places, &image.name);
        let copy = || copying(task, places, image, COPY);
        let flushed = move || copying(task, places, image, &format!("{COPY}\nsync -f $dir"));
        [
            Subject::new(ours(&image.name), pull),
            Subject::new(theirs(&image.name), copy),
            Subject::new(theirs_flushed(&image.name), flushed),
        ]
        .map(|subject| subject.prepared_by(|| places.next()))
    });
    each.collect()
}

fn pulling(task: &Task, places: &Places, image: &str) -> Command {
    let mut command = task.agentkernel("", &["images", "pull", &task.reference(image)]);
    command.env("XDG_DATA_HOME", places.here());
    command
}

fn copying(task: &Task, places: &Places, image: &Large, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).arg(task.reference(&image.name)).arg(places.here()).args(&image.blobs);
    command
}

/// The most memory that a pull had at any time, in KiB, as wait4 tells it to time(1).
pub(super) fn peak(task: &Task, places: &Places) -> Result<u64, String> {
    const TIME: &str = "/usr/bin/time";
    if !Path::new(TIME).exists() {
        return Err("time is not installed: apt-get install time".to_owned());
    }
    let (said, log) = (task.home.join("peak"), task.home.join("peak.log"));
    let mut most = 0;
    for image in &task.large {
        places.next()?;
        let pull = pulling(task, places, &image.name);
        let mut command = Command::new(TIME);
        command.args(["-f", "%M", "-o"]).arg(&said).arg(pull.get_program()).args(pull.get_args());
        command.env("XDG_DATA_HOME", places.here()).current_dir(&task.home);
        quiet(&mut command, &log)?;
        let text = fs::read_to_string(&said).map_err(|error| error.to_string())?;
        let kib: u64 = text.trim().parse().map_err(|_| format!("time said '{}'", text.trim()))?;
        most = most.max(kib);
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_sample_has_a_place_of_its_own_and_none_stays() {
        let home = tempfile::tempdir().unwrap();
        let places = Places::new(home.path(), 1).unwrap();
        places.next().unwrap();
        fs::write(places.here().join("file"), "x").unwrap();
        places.next().unwrap();
        assert_eq!(fs::read_dir(places.here()).unwrap().count(), 0);
        drop(places);
        assert!(!home.path().join("pulls").exists());
    }

    #[test]
    fn pulls_that_do_not_fit_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let why = Places::new(home.path(), 1_000_000_000).err().unwrap().to_string();
        assert!(why.starts_with("1000000000 pulls need"), "{why}");
    }
}
