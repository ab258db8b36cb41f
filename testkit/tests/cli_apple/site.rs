//! A world with a `container` in its PATH, and an image of busybox in its store.

use agentkernel_testkit::{
    TestEnv,
    env::Invocation,
    oci::{Image, ImageConfig, LayerWriter, Layout},
};
use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

pub(crate) const IMAGE: &str = "tools:1";

pub(crate) struct Site {
    pub(crate) env: TestEnv,
    bin: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        let env = TestEnv::new();
        let bin = env.directory("apple/bin");
        env.directory("apple/state");
        let standin = Path::new(env!("CARGO_MANIFEST_DIR")).join("standins/container.py");
        let program = env.file("apple/bin/container", fs::read(standin).unwrap());
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
        let site = Self { env, bin };
        site.import();
        site
    }

    /// `agentkernel`, which finds the stand-in.
    pub(crate) fn agentkernel(&self, words: &[&str]) -> Invocation {
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.bin.display());
        self.env.agentkernel(words).env("PATH", path)
    }

    /// `agentkernel run` on it, with `words` after its own.
    pub(crate) fn run(&self, words: &[&str]) -> Invocation {
        let own = ["run", "-B", "apple", "-i", IMAGE, "--no-network"];
        self.agentkernel(&[&own[..], words].concat())
    }

    fn state(&self) -> PathBuf {
        self.bin.parent().unwrap().join("state")
    }

    pub(crate) fn fault(&self, command: &str, how: &str) {
        self.env.file("apple/state/fault.json", serde_json::json!({ command: how }).to_string());
    }

    /// What every call was given.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.state().join("calls")).unwrap_or_default()
    }

    pub(crate) fn containers(&self) -> Vec<String> {
        let names = fs::read_dir(self.state().join("containers")).into_iter().flatten();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// That no sandbox is left.
    pub(crate) fn end(&self) {
        assert_eq!(self.containers(), Vec::<String>::new());
        self.env.assert_nothing_left();
    }

    fn import(&self) {
        let place = self.env.directory("busybox");
        let mut layer = LayerWriter::create(place.join("base")).unwrap();
        layer.busybox().unwrap();
        layer.directory("root", 0o755).unwrap();
        let path = vec![("PATH".to_owned(), "/bin".to_owned())];
        let config = ImageConfig { env: path, ..ImageConfig::default() };
        let image = Image::new(IMAGE.parse().unwrap(), &config, &[layer.finish().unwrap()]);
        let layout = Layout::write(place.join("layout"), &[image]).unwrap();
        self.env.own_all(&place);
        self.agentkernel(&["images", "import", layout.directory().to_str().unwrap()]).run().ok();
    }
}
