//! An image of a well-known name, made from what is on this machine.

use agentkernel_testkit::{
    TestEnv,
    oci::{Image, ImageConfig, LayerWriter},
};
use std::{fs, path::PathBuf, process::Command};

/// busybox and the machine's own python3, under the name of the image that detection wants for `python3`.
pub(super) fn python(env: &TestEnv, reference: &str) -> Image {
    let place = env.directory("layers");
    let mut layer = LayerWriter::create(place.join(reference.replace([':', '/'], "-"))).unwrap();
    layer.file("bin/busybox", 0o755, &fs::read("/bin/busybox").unwrap()).unwrap();
    for applet in ["sh", "sleep", "true", "cat", "echo"] {
        layer.symlink(&format!("bin/{applet}"), "busybox").unwrap();
    }
    layer.file("etc/passwd", 0o644, b"root:x:0:0::/root:/bin/sh\n").unwrap();
    let program = fs::canonicalize("/usr/bin/python3").unwrap();
    layer.file("usr/bin/python3", 0o755, &fs::read(&program).unwrap()).unwrap();
    let ldd = Command::new("/usr/bin/ldd").arg(&program).output().unwrap().stdout;
    for word in String::from_utf8(ldd).unwrap().split_whitespace().filter(|word| word.starts_with('/')) {
        layer.file(word.trim_start_matches('/'), 0o755, &fs::read(word).unwrap()).unwrap();
    }
    let library = PathBuf::from("/usr/lib").join(program.file_name().unwrap());
    for directory in ["", "encodings", "importlib", "collections"] {
        for entry in fs::read_dir(library.join(directory)).unwrap().filter_map(Result::ok) {
            let path = entry.path();
            if path.extension().is_some_and(|e| e == "py") {
                let inside = path.to_str().unwrap().trim_start_matches('/');
                layer.file(inside, 0o644, &fs::read(&path).unwrap()).unwrap();
            }
        }
    }
    // Without a home it looks for more than it needs, and says what it misses.
    let env = [("PATH", "/bin:/usr/bin"), ("PYTHONHOME", "/usr")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    let config = ImageConfig { env: env.to_vec(), ..ImageConfig::default() };
    Image::new(reference.parse().unwrap(), &config, &[layer.finish().unwrap()])
}
