//! Images whose layers or settings aim past the image, written byte by byte: at the host when they are unpacked, and at it
//! again when something runs on them.

use super::{
    bench::{Bench, expect},
    sample::Sample,
};
use crate::Test;
use agentkernel_testkit::{env::Finished, oci::ImageConfig};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use std::fs;
use tar::{Builder, EntryType, Header};

const IMAGE: &str = "hostile:1";

pub(crate) const fn tests() -> [Test; 4] {
    [
        ("image/layers-that-lead-out", lead_out),
        ("image/whiteouts-that-lead-out", whiteouts),
        ("image/settings", settings),
        ("image/link-at-volume", link_at_volume),
    ]
}

/// A directory of the host with one file, which nothing may reach or change.
struct Outside(std::path::PathBuf);

impl Outside {
    fn new(bench: &Bench) -> Self {
        let directory = bench.env.directory("outside");
        bench.env.file("outside/file", "secret\n");
        Self(directory)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn untouched(&self, by: &str) -> Result<(), String> {
        let entries = fs::read_dir(&self.0).map_err(|e| e.to_string())?.filter_map(Result::ok);
        let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        let content = fs::read_to_string(self.0.join("file")).unwrap_or_default();
        let holds = names == ["file"] && content == "secret\n";
        expect(holds, || format!("{by}: the host was changed: {names:?}, {content:?}"))
    }
}

/// One member of a layer: its name as it stands in the archive, what it is, what it links to or holds.
type Member<'a> = (&'a str, EntryType, &'a str);

fn layer(members: &[Member<'_>]) -> Result<Vec<u8>, String> {
    let mut archive = Builder::new(Vec::new());
    for (name, kind, text) in members {
        let is_link = matches!(kind, EntryType::Symlink | EntryType::Link);
        let content = if is_link { "" } else { text };
        let mut header = Header::new_gnu();
        // No library writes such names.
        let fields = header.as_old_mut();
        put(&mut archive, EntryType::GNULongName, name, &mut fields.name)?;
        if is_link {
            put(&mut archive, EntryType::GNULongLink, text, &mut fields.linkname)?;
        }
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content.as_bytes()).map_err(|e| format!("set-up: {e}"))?;
    }
    archive.into_inner().map_err(|e| format!("set-up: {e}"))
}

/// Puts `text` into `field`, and where it has no room for it, before the member in a record of GNU's, of type `long`.
fn put(
    archive: &mut Builder<Vec<u8>>,
    long: EntryType,
    text: &str,
    field: &mut [u8; 100],
) -> Result<(), String> {
    let fitting = text.len().min(field.len());
    field[..fitting].copy_from_slice(&text.as_bytes()[..fitting]);
    if fitting == text.len() {
        return Ok(());
    }
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
    header.set_entry_type(long);
    header.set_size(text.len() as u64 + 1);
    header.set_cksum();
    archive.append(&header, format!("{text}\0").as_bytes()).map_err(|e| format!("set-up: {e}"))
}

/// A layer with busybox.
fn base() -> Result<Vec<u8>, String> {
    let mut archive = Builder::new(Vec::new());
    let write = |archive: &mut Builder<Vec<u8>>| -> std::io::Result<()> {
        archive.append_path_with_name("/bin/busybox", "bin/busybox")?;
        for applet in ["sh", "cat", "ls", "echo"] {
            let mut header = Header::new_gnu();
            header.set_entry_type(EntryType::Symlink);
            header.set_size(0);
            archive.append_link(&mut header, format!("bin/{applet}"), "busybox")?;
        }
        Ok(())
    };
    write(&mut archive).map_err(|e| format!("set-up: {e}"))?;
    archive.into_inner().map_err(|e| format!("set-up: {e}"))
}

/// Has an archive as `docker save` writes it imported.
fn import(bench: &Bench, layers: &[Vec<u8>]) -> Result<Finished, String> {
    let sum = |bytes: &[u8]| Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect::<String>();
    let diff_ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sum(layer))).collect();
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let config = json!({
        "architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = config.to_string();
    let name = format!("{}.json", sum(config.as_bytes()));
    let paths: Vec<String> = (0..layers.len()).map(|number| format!("{number}/layer.tar")).collect();
    let manifest = json!([{"Config": name, "RepoTags": [IMAGE], "Layers": paths}]).to_string();
    let parts = layers.iter().map(Vec::as_slice).zip(&paths).map(|(bytes, path)| (path.as_str(), bytes));
    let texts = [(name.as_str(), config.as_bytes()), ("manifest.json", manifest.as_bytes())];
    let mut archive = Builder::new(Vec::new());
    for (path, bytes) in parts.chain(texts) {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, bytes).map_err(|e| format!("set-up: {e}"))?;
    }
    let archive = archive.into_inner().map_err(|e| format!("set-up: {e}"))?;
    let file = bench.env.file("hostile.tar", archive);
    Ok(bench.agentkernel(&["images", "import", "--force", &file.display().to_string()]).run())
}

/// Whatever is refused is refused in words, and nothing of the host is said.
fn decent(ran: &Finished) -> Result<(), String> {
    let text = ran.err();
    let told = ran.code != Some(125) || text.lines().any(|line| line.starts_with("error: "));
    let clean = !text.contains("panicked") && !text.chars().any(|c| c.is_control() && c != '\n' && c != '\t');
    let silent = !ran.out().contains("secret") && !text.contains("secret");
    let ended = ran.code.is_some();
    expect(told && clean && silent && ended, || ran.to_string())
}

/// An attack in layers above the first one.
fn attack(bench: &Bench, outside: &Outside, what: &str, layers: &[&[Member<'_>]]) -> Result<(), String> {
    let mut all = vec![base()?];
    for members in layers {
        all.push(layer(members)?);
    }
    let imported = import(bench, &all)?;
    outside.untouched(what)?;
    decent(&imported).map_err(|e| format!("{what}: {e}"))?;
    if imported.code == Some(0) {
        let script = "cat /out/file /taken /out/new 2>/dev/null; echo x 2>/dev/null >/out/made; echo end";
        let ran = bench.run(IMAGE, &["--no-workspace"], &["/bin/sh", "-c", script]).run();
        outside.untouched(what)?;
        decent(&ran).map_err(|e| format!("{what}: {e}"))?;
        expect(ran.out().ends_with("end\n"), || format!("{what}: {ran}"))?;
    }
    Ok(())
}

fn lead_out(bench: &Bench) -> Result<(), String> {
    use EntryType::{Link, Regular, Symlink};
    let outside = Outside::new(bench);
    let (dir, file, new) = (outside.path(""), outside.path("file"), outside.path("new"));
    let dir = dir.trim_end_matches('/');
    let (above_file, above_new) =
        (format!("../../../../../../../..{file}"), format!("../../../../../../../..{new}"));
    let out = ("out", Symlink, dir);
    let attacks: [(&str, &[&[Member<'_>]]); 10] = [
        ("below a link", &[&[out, ("out/new", Regular, "new")]]),
        ("over a link's file", &[&[out, ("out/file", Regular, "new")]]),
        ("below a link of another layer", &[&[out], &[("out/new", Regular, "new")]]),
        (
            "a directory over a link",
            &[&[out], &[("out/", EntryType::Directory, ""), ("out/new", Regular, "")]],
        ),
        ("a hard link through a link", &[&[out, ("taken", Link, "out/file")]]),
        ("a hard link to the host", &[&[("taken", Link, &file)]]),
        ("a hard link above", &[&[("taken", Link, &above_file)]]),
        ("a name above", &[&[(&above_new, Regular, "new")]]),
        ("an absolute name", &[&[(&new, Regular, "new")]]),
        (
            "a link to a link",
            &[&[("a", Symlink, ".."), ("b", Symlink, "a/../.."), out, ("b/out/new", Regular, "new")]],
        ),
    ];
    for (what, layers) in attacks {
        attack(bench, &outside, what, layers)?;
    }
    Ok(())
}

fn whiteouts(bench: &Bench) -> Result<(), String> {
    use EntryType::{Regular, Symlink};
    let outside = Outside::new(bench);
    let dir = outside.path("");
    let dir = dir.trim_end_matches('/');
    let above = format!("../../../../../../../..{}", outside.path(".wh.file"));
    let out = ("out", Symlink, dir);
    let attacks: [(&str, &[&[Member<'_>]]); 7] = [
        ("a whiteout below a link", &[&[out, ("out/.wh.file", Regular, "")]]),
        ("below a link of another layer", &[&[out], &[("out/.wh.file", Regular, "")]]),
        ("an opaque directory that is a link", &[&[out], &[("out/.wh..wh..opq", Regular, "")]]),
        ("a whiteout above", &[&[(&above, Regular, "")]]),
        ("of its own directory", &[&[(".wh..", Regular, "")]]),
        ("of the directory above", &[&[(".wh...", Regular, "")]]),
        ("of nothing", &[&[(".wh.", Regular, "")]]),
    ];
    for (what, layers) in attacks {
        attack(bench, &outside, what, layers)?;
    }
    Ok(())
}

/// What an image says of how it wants to be run.
fn settings(bench: &Bench) -> Result<(), String> {
    let outside = Outside::new(bench);
    let long = "a".repeat(70_000);
    let env = |key: &str, value: &str| ImageConfig {
        env: vec![(key.to_owned(), value.to_owned())],
        ..ImageConfig::default()
    };
    let user = |user: &str| ImageConfig { user: user.to_owned(), ..ImageConfig::default() };
    let place = |workdir: &str| ImageConfig { workdir: workdir.to_owned(), ..ImageConfig::default() };
    let entry = |words: &[&str]| ImageConfig {
        entrypoint: words.iter().map(|w| (*w).to_owned()).collect(),
        ..ImageConfig::default()
    };
    let file = outside.path("file");
    let configs = [
        user("../../etc/passwd"),
        user("0:0:0"),
        user("-1"),
        user("4294967295"),
        user("root\n\u{1b}[2J"),
        user(&long),
        place("../../.."),
        place("/proc/self/fd/3"),
        place("/proc/1/cwd/../../.."),
        place("/out"),
        place(&long),
        place("a\u{7}b"),
        env("LD_PRELOAD", &file),
        env("", "x"),
        env("A\u{0}B", "x"),
        env("\u{1b}[2J", "x"),
        env("A", &long),
        entry(&[""]),
        entry(&["../../../../bin/sh"]),
        entry(&["/bin/cat", &file]),
        entry(&["/out/file"]),
        entry(&["\u{1b}[2J"]),
        entry(&[&long]),
    ];
    for (number, config) in configs.into_iter().enumerate() {
        let shown: String = format!("{config:?}").chars().take(200).collect();
        let mut sample = Sample::new(bench, &format!("settings{number}"))?;
        sample.link("out", outside.path("").trim_end_matches('/'))?;
        let path = sample.config.env.clone();
        sample.config = ImageConfig { env: [path, config.env.clone()].concat(), ..config };
        // An image that cannot be meant is refused as it comes.
        if let Err(refused) = sample.import(bench, IMAGE) {
            expect(refused.contains("error: ") && !refused.contains("panicked"), || {
                format!("{shown}: {refused}")
            })?;
            continue;
        }
        let ran = bench.run(IMAGE, &["--no-workspace"], &["/bin/sh", "-c", "echo end"]).run();
        outside.untouched(&shown)?;
        decent(&ran).map_err(|e| format!("{shown}: {e}"))?;
    }
    Ok(())
}

/// A volume's place in the image, or what is above it, leads to the host: nothing is mounted there.
fn link_at_volume(bench: &Bench) -> Result<(), String> {
    let outside = Outside::new(bench);
    let mine = bench.env.directory("mine");
    bench.env.file("mine/own", "own\n");
    for (link, target) in [("data", "/data"), ("data", "/data/deep/er"), ("deep/data", "/deep/data/x")] {
        let mut sample = Sample::new(bench, &format!("volume{}", target.len()))?;
        sample.link(link, outside.path("").trim_end_matches('/'))?;
        sample.import(bench, IMAGE)?;
        let volume = format!("{}:{target}", mine.display());
        let script = format!(
            "echo new 2>/dev/null >{target}/made; cat {target}/file /{link}/file 2>/dev/null; echo end"
        );
        let ran = bench.run(IMAGE, &["--no-workspace", "-v", &volume], &["/bin/sh", "-c", &script]).run();
        outside.untouched(target)?;
        decent(&ran).map_err(|e| format!("{target}: {e}"))?;
        let names: Vec<_> = fs::read_dir(&mine)
            .map_err(|e| e.to_string())?
            .filter_map(Result::ok)
            .map(|e| e.file_name())
            .collect();
        expect(names.iter().all(|name| name == "own" || name == "made"), || format!("{target}: {names:?}"))?;
    }
    Ok(())
}
