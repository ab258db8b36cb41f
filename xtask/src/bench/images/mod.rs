//! `cargo xtask bench images`: pulling, running what is cached, many records, detection in large trees.
//!
//! As with the other rows, a half is measured by a worker that is that person; the registry is the same for both.

mod cached;
mod detection;
mod layout;
mod page;
mod pull;
mod records;
mod registry;
mod software;

use super::{
    Worker, numbers::Number, report, rounds::Rounds, rounds::Subject, rounds::interleave, rows::Timings,
    tools::busybox_rootfs,
};
use crate::{
    Outcome,
    bench::command::quiet,
    cargo,
    person::{Half, Person, Stage},
    workspace::Workspace,
};
use layout::Layout;
use registry::Registry;
use serde_json::{Value, json};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

/// How much of everything.
struct Amount {
    rounds: usize,
    pulls: usize,
    records: usize,
}

const FULL: Amount = Amount { rounds: 200, pulls: 7, records: 1000 };
const QUICK: Amount = Amount { rounds: 20, pulls: 2, records: 1000 };

/// Per cent of the content in each layer.
const LAYERS: [(&str, &[u64]); 2] = [("three", &[50, 30, 20]), ("one", &[100])];

/// What a half measured.
struct Measured {
    timings: Timings,
    /// KiB, of the most greedy pull.
    peak: Result<u64, String>,
}

struct Report {
    setting: report::Setting,
    quick: bool,
    numbers: Vec<Number>,
    halves: Vec<(Half, Measured)>,
    notes: Vec<String>,
}

/// What a worker is told. Its words are what [`Task::words`] makes and [`Task::of_words`] reads.
struct Task {
    agentkernel: PathBuf,
    home: PathBuf,
    registry: String,
    amount: Amount,
    large: Vec<Large>,
}

/// A large image at the registry.
#[derive(Debug, Clone, PartialEq)]
struct Large {
    name: String,
    /// The digests of its blobs, lowest first.
    blobs: Vec<String>,
}

/// What was typed.
#[derive(Debug, PartialEq)]
struct Request {
    quick: bool,
    json: bool,
    write: bool,
    /// Measured in place of a release build.
    binary: Option<PathBuf>,
}

impl Request {
    fn of_words(words: &[&str]) -> Outcome<Self> {
        let mut request = Self { quick: false, json: false, write: true, binary: None };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--quick" => request.quick = true,
                "--json" => request.json = true,
                "--no-write" => request.write = false,
                "--binary" => request.binary = Some(words.next().ok_or("--binary needs a path")?.into()),
                other => {
                    let known = "--quick, --json, --no-write, --binary PATH";
                    return Err(format!("'{other}' is not an option of bench images: {known}").into());
                }
            }
        }
        Ok(request)
    }

    fn binary(&self) -> Outcome<PathBuf> {
        if let Some(binary) = &self.binary {
            return Ok(binary.clone());
        }
        eprintln!("bench: building the release binary");
        cargo::build(&["build", "--release", "-p", "agentkernel"], "agentkernel")
    }
}

pub(super) fn run(words: &[&str]) -> Outcome<ExitCode> {
    let request = Request::of_words(words)?;
    let workspace = Workspace::load()?;
    let stage = Stage::new("bench-images")?;
    let binary = request.binary()?;
    let agentkernel = stage.program(&binary, "agentkernel")?;
    let worker = stage.program(&std::env::current_exe()?, "xtask")?;
    let mut report = Report {
        setting: report::Setting::read(),
        quick: request.quick,
        numbers: Vec::new(),
        halves: Vec::new(),
        notes: Vec::new(),
    };
    let registry = Registry::start(stage.path())?;
    let large = publish(&registry, stage.path(), &mut report.setting)?;
    if let Some(binary) = &request.binary {
        report.setting.add("binary", format!("{}, of whatever commit", binary.display()));
    }
    let mut loads = vec![format!("{} before", load())];
    for half in [Half::Root, Half::User] {
        let person = match Person::of(half)? {
            Ok(person) => person,
            Err(why) => {
                eprintln!("bench: SKIPPED the half as {}: {why}", half.as_str());
                report.notes.push(format!("Not measured as {}: {why}.", half.as_str()));
                continue;
            }
        };
        eprintln!("bench: as {}: records and trees, then interleaved rounds, then pulls", half.as_str());
        let home = person.home_under(stage.path(), half.as_str())?;
        let task = Task {
            agentkernel: agentkernel.clone(),
            home: home.clone(),
            registry: registry.address().to_owned(),
            amount: if report.quick { QUICK } else { FULL },
            large: large.clone(),
        };
        let value = Worker { program: &worker, person: &person, home: &home, dir: stage.path() }
            .ask(&task.words())?;
        let measured = Measured::from_json(&value).ok_or("the worker said something else")?;
        report.numbers.extend(page::numbers(half, &measured));
        report.halves.push((half, measured));
        loads.push(format!("{} after the half as {}", load(), half.as_str()));
    }
    report.setting.add("load", loads.join("; "));
    let tables = page::markdown(&report);
    if request.json {
        println!("{}", page::json(&report));
    } else {
        println!("{tables}");
    }
    if request.write && !report.quick {
        report::write_page(&workspace, report::IMAGES, &tables)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the images and puts them into the registry.
fn publish(registry: &Registry, dir: &Path, setting: &mut report::Setting) -> Outcome<Vec<Large>> {
    eprintln!("bench: making images of {} MB of this machine's software", software::BYTES / 1_000_000);
    let log = dir.join("images.log");
    let rootfs = busybox_rootfs(dir)?;
    let mut small = Layout::new(dir.join("layout-busybox"))?;
    quiet(Command::new("tar").arg("-cf").arg(small.archive()).arg("-C").arg(rootfs).arg("."), &log)?;
    small.add_layer()?;
    small.finish()?;
    registry.push(&small, cached::BUSYBOX)?;
    let mut large = Vec::new();
    for (name, shares) in LAYERS {
        let (mut parts, bytes) = software::parts(shares)?;
        if let Some(lowest) = parts.first_mut() {
            lowest.extend(software::base()?);
        }
        let mut layout = Layout::new(dir.join(format!("layout-{name}")))?;
        for part in &parts {
            quiet(&mut software::packing(part, &dir.join("list"), &layout.archive())?, &log)?;
            layout.add_layer()?;
        }
        layout.finish()?;
        registry.push(&layout, name)?;
        let entries: usize = parts.iter().map(std::collections::BTreeSet::len).sum();
        setting.add(
            if parts.len() == 1 { "image in one layer" } else { "image in three layers" },
            format!(
                "{:.1} MB in {entries} files, links and directories; {:.1} MB compressed",
                bytes as f64 / 1e6,
                layout.compressed() as f64 / 1e6
            ),
        );
        large.push(Large { name: name.to_owned(), blobs: layout.blobs() });
        // The registry has it.
        fs::remove_dir_all(layout.dir())?;
    }
    Ok(large)
}

/// The load of the machine, in the kernel's words.
fn load() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

/// The worker: the words of a [`Task`]; its results as one JSON object on stdout.
pub(super) fn worker(words: &[&str]) -> Outcome<ExitCode> {
    let task = Task::of_words(words).ok_or("bench-worker is started by bench, not by hand")?;
    println!("{}", measure(&task)?.to_json());
    Ok(ExitCode::SUCCESS)
}

fn measure(task: &Task) -> Outcome<Measured> {
    let log = task.home.join("try.log");
    let mut subjects: Vec<Subject<'_>> = cached::subjects(task)?;
    subjects.extend(records::subjects(task)?);
    subjects.extend(detection::subjects(task)?);
    let mut timings = interleave(subjects, Rounds { timed: task.amount.rounds, warm_up: 3 }, &log);
    // Apart: a pull leaves the disk and its cache in another state than it found them.
    let rounds = Rounds { timed: task.amount.pulls, warm_up: 1 };
    // Of each image three rows, each tried before, and one more for its peak.
    let samples = task.large.len() * (3 * (rounds.timed + rounds.warm_up + 1) + 1);
    let places = pull::Places::new(&task.home, samples)?;
    let pulls = interleave(pull::subjects(task, &places), rounds, &log);
    timings.rows.extend(pulls.rows);
    timings.missing.extend(pulls.missing);
    Ok(Measured { timings, peak: pull::peak(task, &places) })
}

impl Task {
    /// agentkernel with its data in `data`, a directory of the home.
    fn agentkernel(&self, data: &str, words: &[&str]) -> Command {
        let mut command = Command::new(&self.agentkernel);
        command.args(words).env("XDG_DATA_HOME", self.home.join(data)).current_dir(&self.home);
        command
    }

    fn reference(&self, image: &str) -> String {
        format!("{}/{image}", self.registry)
    }

    fn words(&self) -> Vec<String> {
        let Amount { rounds, pulls, records } = self.amount;
        let mut words = vec![
            "images".to_owned(),
            self.agentkernel.display().to_string(),
            self.home.display().to_string(),
            self.registry.clone(),
        ];
        words.extend([rounds, pulls, records].map(|count| count.to_string()));
        words.extend(self.large.iter().map(|image| format!("{}={}", image.name, image.blobs.join(","))));
        words
    }

    /// Without the first word.
    fn of_words(words: &[&str]) -> Option<Self> {
        let [agentkernel, home, registry, rounds, pulls, records, large @ ..] = words else { return None };
        let image = |word: &&str| {
            let (name, blobs) = word.split_once('=')?;
            Some(Large { name: name.to_owned(), blobs: blobs.split(',').map(str::to_owned).collect() })
        };
        Some(Self {
            agentkernel: agentkernel.into(),
            home: home.into(),
            registry: (*registry).to_owned(),
            amount: Amount {
                rounds: rounds.parse().ok()?,
                pulls: pulls.parse().ok()?,
                records: records.parse().ok()?,
            },
            large: large.iter().map(image).collect::<Option<_>>()?,
        })
    }
}

impl Measured {
    fn to_json(&self) -> Value {
        json!({"timings": self.timings.to_json(), "peak": self.peak.as_ref().ok(), "why": self.peak.as_ref().err()})
    }

    fn from_json(value: &Value) -> Option<Self> {
        let why = || value["why"].as_str().unwrap_or("the worker did not say why").to_owned();
        Some(Self {
            timings: Timings::from_json(&value["timings"])?,
            peak: value["peak"].as_u64().ok_or_else(why),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_what_was_typed() {
        let request = Request::of_words(&["--quick", "--binary", "/b"]).unwrap();
        assert_eq!(
            request,
            Request { quick: true, json: false, write: true, binary: Some(PathBuf::from("/b")) }
        );
        assert!(Request::of_words(&["--binary"]).is_err());
        assert!(Request::of_words(&["--fast"]).is_err());
    }

    #[test]
    fn a_task_survives_the_command_line() {
        let blobs = vec!["aa".to_owned(), "bb".to_owned()];
        let task = Task {
            agentkernel: "/a b".into(),
            home: "/h".into(),
            registry: "127.0.0.1:1".to_owned(),
            amount: QUICK,
            large: vec![Large { name: "three".to_owned(), blobs }],
        };
        let words = task.words();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let back = Task::of_words(&words[1..]).unwrap();
        assert_eq!(back.words(), task.words());
        assert_eq!((back.large, back.amount.records), (task.large, 1000));
        assert!(Task::of_words(&words[..3]).is_none());
    }

    #[test]
    fn measurements_survive_the_pipe_between_the_halves() {
        for peak in [Ok(7), Err("no time".to_owned())] {
            let measured = Measured { timings: Timings::default(), peak: peak.clone() };
            assert_eq!(Measured::from_json(&measured.to_json()).unwrap().peak, peak);
        }
    }
}
