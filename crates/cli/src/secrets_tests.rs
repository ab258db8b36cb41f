use super::*;
use agentkernel_model::policy::PolicyRequest;
use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    secrets: SecretArgs,
}

fn wanted(args: &[&str]) -> Result<Wanted> {
    let line = Line::try_parse_from([&["agentkernel"], args].concat()).unwrap();
    line.secrets.wanted()
}

fn policy(args: &[&str]) -> EffectivePolicy {
    let wanted = wanted(args).unwrap();
    EffectivePolicy::resolve(PolicyRequest {
        secrets: wanted.bindings.iter().map(SecretGrant::from).collect(),
        secret_files: wanted.files,
        ..PolicyRequest::default()
    })
}

fn given(word: &str) -> SecretBinding {
    word.parse().unwrap()
}

fn nothing() -> Result<Vec<SecretBinding>> {
    Ok(Vec::new())
}

#[test]
fn neither_errors_nor_debug_show_what_was_written() {
    let line = Line::try_parse_from(["agentkernel", "-S", "KEY=hunter2:a.example"]).unwrap();
    assert!(!format!("{:?}", line.secrets).contains("hunter2"));
    for args in [&["--secret", "hunter2=x"][..], &["-S", "KEY=hunter2"], &["--secret-file", "hunter2!"]] {
        let error = wanted(args).unwrap_err();
        assert!(!format!("{error} {:?}", error.hint()).contains("hunter2!"), "{error}");
        assert!(!format!("{error} {:?}", error.hint()).contains("=hunter2"), "{error}");
    }
}

#[test]
fn flags_replace_what_a_file_says_of_the_same_secret() {
    let flags = wanted(&["-S", "A:flag.example", "--secret-file", "F"]).unwrap();
    let all = flags.over(
        vec![given("A:file.example"), given("B:file.example")],
        vec!["F".parse().unwrap(), "E".parse().unwrap()],
    );
    assert_eq!(all.bindings, [given("B:file.example"), given("A:flag.example")]);
    assert_eq!(all.files.iter().map(SecretName::as_str).collect::<Vec<_>>(), ["E", "F"]);
}

#[test]
fn a_start_looks_up_what_the_sandbox_has() {
    let policy = policy(&["-S", "A:a.example", "-S", "B", "--secret-file", "F"]);
    let all = Wanted::of_policy(&policy, &[], nothing, "").unwrap();
    assert_eq!(all.bindings, [given("A:a.example"), given("B")]);
    let all = Wanted::of_policy(&policy, &[given("A=x:a.example")], nothing, "").unwrap();
    assert_eq!(all.bindings, [given("A=x:a.example"), given("B")]);
    for stray in ["A=x:b.example", "C=x:a.example"] {
        let error = Wanted::of_policy(&policy, &[given(stray)], nothing, "").unwrap_err();
        assert!(error.to_string().contains("was not made with secret"), "{error}");
    }
}

#[test]
fn a_value_goes_in_the_header_that_the_sandbox_was_made_with() {
    let policy = policy(&["-S", "A:a.example:X-Key", "-S", "B:b.example"]);
    let all = Wanted::of_policy(&policy, &[given("A=x:a.example")], nothing, "").unwrap();
    assert_eq!(all.bindings[0].header().map(|header| header.as_str()), Some("x-key"));
    assert!(matches!(all.bindings[0].origin(), Origin::Inline(_)));
    for stray in ["A:a.example:X-Other", "B:b.example:X-Key"] {
        assert!(Wanted::of_policy(&policy, &[given(stray)], nothing, "").is_err(), "{stray}");
    }
}

#[test]
fn a_sandbox_that_runs_is_given_no_new_value() {
    let kept = || Ok(vec![given("A=kept:a.example")]);
    let name = "one".parse().unwrap();
    refuse_new_values(&[given("A=kept:a.example"), given("B:b.example")], kept, &name).unwrap();
    let error = refuse_new_values(&[given("A=new:a.example")], kept, &name).unwrap_err();
    assert_eq!(error.kind(), Kind::Conflict);
    let needless = || panic!("nothing was given");
    refuse_new_values(&[given("B:b.example")], needless, &name).unwrap();
}

#[test]
fn a_value_of_the_command_line_is_kept_or_needed_again() {
    let policy = policy(&["-S", "A=x:a.example"]);
    let error = Wanted::of_policy(&policy, &[], nothing, "agentkernel sandbox start one").unwrap_err();
    assert_eq!(error.hint(), Some("agentkernel sandbox start one --secret A=VALUE:a.example"));
    let kept = || Ok(vec![given("A=kept:a.example")]);
    assert_eq!(Wanted::of_policy(&policy, &[], kept, "").unwrap().bindings, [given("A=kept:a.example")]);
    let needless = || panic!("nobody needs what is kept");
    let all = Wanted::of_policy(&policy, &[given("A=y:a.example")], needless, "").unwrap();
    assert_eq!(all.bindings, [given("A=y:a.example")]);
}
