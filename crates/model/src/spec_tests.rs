use super::*;
use crate::policy::Profile;

fn spec(runtime: Option<&str>) -> SandboxSpec {
    SandboxSpec {
        image: ImageRef::Host,
        workspace: Workspace::None,
        env: Vec::new(),
        workdir: None,
        user: None,
        ports: Vec::new(),
        policy: EffectivePolicy::of_profile(Profile::Moderate),
        isolation: Isolation::Any,
        lifetime: Lifetime::Named,
        files: Vec::new(),
        init_script: None,
        runtime: runtime.map(|name| name.parse().unwrap()),
    }
}

/// Records of before the field was there say nothing of it, and read the same.
#[test]
fn a_runtime_that_nobody_named_is_not_in_the_text() {
    let text = serde_json::to_string(&spec(None)).unwrap();
    assert!(!text.contains("runtime"), "{text}");
    assert_eq!(serde_json::from_str::<SandboxSpec>(&text).unwrap(), spec(None));
}

#[test]
fn a_runtime_reads_back_and_goes_through_its_grammar() {
    let text = serde_json::to_string(&spec(Some("runsc"))).unwrap();
    assert_eq!(serde_json::from_str::<SandboxSpec>(&text).unwrap(), spec(Some("runsc")));
    assert!(serde_json::from_str::<SandboxSpec>(&text.replace("runsc", "/bin/sh")).is_err());
}
