use super::*;

#[test]
fn the_usual_socket_is_taken_where_nothing_is_named() {
    let place = tempfile::tempdir().unwrap();
    let run = Some(place.path());
    assert_eq!(session_bus(None, run), None);
    std::fs::write(place.path().join("bus"), "").unwrap();
    let usual = format!("unix:path={}/bus", place.path().display());
    assert_eq!(session_bus(None, run), Some(usual.clone()));
    assert_eq!(session_bus(Some(String::new()), run), Some(usual));
    assert_eq!(session_bus(Some("unix:abstract=x".to_owned()), run).as_deref(), Some("unix:abstract=x"));
    assert_eq!(session_bus(None, None), None);
}

#[test]
fn usual_names_are_those_of_the_table() {
    let names: Vec<String> = usual_names().iter().map(ToString::to_string).collect();
    assert!(names.iter().any(|name| name == "ANTHROPIC_API_KEY"), "{names:?}");
}
