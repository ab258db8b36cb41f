//! Tar archives, unpacked for real in memory: nothing outside the directory changes, and no bound is passed.
#![no_main]

use agentkernel_archive::{Bounds, Existing, Ownership, UnpackOptions, Whiteouts, unpack};
use agentkernel_fuzz::refused;
use agentkernel_model::Kind;
use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::LazyLock,
};

const BOUNDS: Bounds = Bounds { bytes: 1 << 20, entries: 256 };
const CANARY: &str = "as it was";
const BLOCK: usize = 512;

/// Has `outside/canary` beside the directory that is unpacked into, so that `../outside/canary` is worth reaching.
static PLACE: LazyLock<PathBuf> = LazyLock::new(|| {
    let base = if Path::new("/dev/shm").is_dir() { PathBuf::from("/dev/shm") } else { std::env::temp_dir() };
    let place = base.join(format!("agentkernel-fuzz-{}", std::process::id()));
    // An earlier process of the same number may have been killed.
    let _nothing_there = fs::remove_dir_all(&place);
    fs::create_dir_all(place.join("outside")).expect("a directory in memory");
    fs::write(place.join("outside/canary"), CANARY).expect("a file in memory");
    place
});

fuzz_target!(|bytes: &[u8]| {
    let layer = UnpackOptions {
        bounds: BOUNDS,
        ownership: Ownership::Caller,
        whiteouts: Whiteouts::Overlay,
        existing: Existing::Replace,
    };
    let copy = UnpackOptions { whiteouts: Whiteouts::Plain, existing: Existing::Refuse, ..layer };
    for options in [layer, copy] {
        let tree = PLACE.join("tree");
        fs::create_dir(&tree).expect("a directory in memory");
        let directory = File::open(&tree).expect("the directory");
        match unpack(bytes, rustix::fd::AsFd::as_fd(&directory), &options) {
            Ok(made) => assert!(made.bytes <= BOUNDS.bytes && made.entries <= BOUNDS.entries),
            Err(error) => refused(&error, &[Kind::Invalid, Kind::AlreadyExists, Kind::Unsupported]),
        }
        untouched();
        let (mut entries, mut size) = (0, 0);
        clear(&tree, &mut entries, &mut size);
        assert!(entries <= BOUNDS.entries && size <= BOUNDS.bytes, "{entries} entries, {size} bytes");
    }
});

fn untouched() {
    let mut names: Vec<_> =
        fs::read_dir(&*PLACE).expect("the place").map(|e| e.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["outside", "tree"]);
    let outside = PLACE.join("outside");
    assert_eq!(fs::read_dir(&outside).expect("outside").count(), 1);
    assert_eq!(fs::read_to_string(outside.join("canary")).expect("the canary"), CANARY);
    let mode = fs::metadata(outside.join("canary")).expect("the canary").permissions().mode();
    assert_eq!(mode & 0o111, 0);
}

/// Removes the tree and counts what was in it. Hard links count once for each name, but their bytes once.
fn clear(directory: &Path, entries: &mut u64, size: &mut u64) {
    fs::set_permissions(directory, Permissions::from_mode(0o700)).expect("our directory");
    for entry in fs::read_dir(directory).expect("our directory") {
        let path = entry.expect("an entry").path();
        *entries += 1;
        let meta = path.symlink_metadata().expect("an entry");
        if meta.is_dir() {
            clear(&path, entries, size);
            continue;
        }
        if meta.is_file() && std::os::unix::fs::MetadataExt::nlink(&meta) == 1 {
            *size += meta.len();
        }
        fs::remove_file(&path).expect("our file");
    }
    fs::remove_dir(directory).expect("our directory");
}

// A header is only read when its checksum is right, which no mutation keeps.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
    let size = fuzzer_mutate(data, size, max_size);
    let mut at = 0;
    while let Some(header) = data[..size].get_mut(at..at + BLOCK) {
        if header.iter().all(|b| *b == 0) {
            at += BLOCK;
            continue;
        }
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|b| u32::from(*b)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits: String = header[124..136].iter().map(|b| char::from(*b)).collect();
        let length = usize::from_str_radix(digits.trim_matches(['\0', ' ']), 8).unwrap_or(0).min(size);
        at += BLOCK + length.next_multiple_of(BLOCK);
    }
    size
});
