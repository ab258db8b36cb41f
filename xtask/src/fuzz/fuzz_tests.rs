use super::{
    corpus::{self, Input},
    round::Numbers,
    *,
};

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("fuzz")
}

fn names(directory: &Path, extension: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = entries
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_table_the_sources_and_the_manifest_name_the_same_targets() {
    let table = TARGETS.map(|target| target.name.to_owned()).to_vec();
    assert_eq!(names(&fuzz().join("fuzz_targets"), "rs"), table);
    let manifest: toml::Table = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap().parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap();
    let bins: Vec<&str> = bins.iter().map(|bin| bin["name"].as_str().unwrap()).collect();
    assert_eq!(bins, table);
}

#[test]
fn every_target_has_a_small_corpus_and_a_dictionary() {
    assert_eq!(names(&fuzz().join("dictionaries"), "dict"), TARGETS.map(|target| target.name.to_owned()));
    for target in TARGETS {
        let files = corpus::sizes(&fuzz().join("corpus").join(target.name)).unwrap();
        let bytes: u64 = files.iter().map(|(size, _)| size).sum();
        assert!(!files.is_empty(), "{} has none", target.name);
        assert!(files.len() <= corpus::MAX_FILES && bytes <= corpus::MAX_BYTES, "{} is too big", target.name);
    }
}

#[test]
fn the_request_is_understood_or_refused() {
    let request = parse(&["tar", "--seconds", "5", "--jobs", "2"]).unwrap();
    assert_eq!((request.targets.len(), request.seconds, request.jobs), (1, 5, 2));
    assert_eq!(parse(&[]).unwrap().targets, TARGETS);
    for words in [&["no-such"][..], &["--seconds"], &["--seconds", "0"], &["--jobs", "x"], &["--input", "/"]]
    {
        assert!(parse(words).is_err(), "{words:?}");
    }
}

#[test]
fn the_numbers_are_those_of_the_last_line() {
    let text = "#2\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 30Mb\n\
                #52\tDONE   cov: 119 ft: 165 corp: 30/80b lim: 4 exec/s: 0 rss: 30Mb\n\
                stat::number_of_executed_units: 52\n";
    assert_eq!(round::numbers(text), Numbers { executions: 52, edges: 119, inputs: 30 });
    assert_eq!(round::numbers("nothing of the kind"), Numbers::default());
}

fn input(name: &str, size: u64, edges: &[u32]) -> Input {
    Input { path: name.into(), size, edges: edges.to_vec() }
}

#[test]
fn a_measured_corpus_is_read() {
    let text = "2\n0\n/c/a\n/c/b\nSTARTED 0 3\nFT 0 1 2\nCOV 0 7\nSTARTED 1 5\nFT 1 2\nCOV 1\n";
    assert_eq!(corpus::parse(text).unwrap(), [input("/c/a", 3, &[1, 2]), input("/c/b", 5, &[2])]);
    assert_eq!(corpus::parse("1\n0\n/c/a\nFT 0 1\n"), None);
    assert_eq!(corpus::parse(""), None);
}

#[test]
fn those_inputs_are_kept_that_add_something_most_first() {
    let all = vec![
        input("little", 1, &[1]),
        input("much", 90, &[1, 2, 3]),
        input("same", 91, &[1, 2, 3]),
        input("more", 9, &[3, 4]),
        input("huge", corpus::MAX_BYTES, &[5]),
    ];
    let names: Vec<PathBuf> = corpus::choose(all).into_iter().map(|input| input.path).collect();
    assert_eq!(names, ["much", "more"].map(PathBuf::from));
    let many = (0..500).map(|n| input("x", 1, &[n])).collect();
    assert_eq!(corpus::choose(many).len(), corpus::MAX_FILES);
}
