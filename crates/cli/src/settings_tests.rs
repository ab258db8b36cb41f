use super::*;

#[test]
fn data_lives_where_xdg_says() {
    let dir = |data: Option<&str>, home: Option<&str>| data_dir(data.map(Path::new), home.map(Path::new));
    assert_eq!(dir(Some("/x"), Some("/h")).unwrap(), Path::new("/x/agentkernel"));
    assert_eq!(dir(None, Some("/h")).unwrap(), Path::new("/h/.local/share/agentkernel"));
    assert!(dir(None, None).unwrap_err().hint().unwrap().contains("XDG_DATA_HOME"));
}

#[test]
fn accounts_are_found_by_number() {
    let table = "root:x:0:0:root:/root:/bin/sh\n::7:7::/x:\nbroken\nada:x:1000:1000:Ada:/home/ada:/bin/bash\nb:x:5:5::rel:/";
    let ada = Account::find(table, 1000).unwrap();
    assert_eq!((ada.name.as_str(), ada.home.as_path()), ("ada", Path::new("/home/ada")));
    assert_eq!(Account::find(table, 7), None);
    assert_eq!(Account::find(table, 5), None);
    assert_eq!(Account::find(table, 100), None);
}

#[test]
fn only_plain_words_name_a_terminal() {
    assert_eq!(terminal_type("xterm-256color").unwrap().value(), "xterm-256color");
    for bad in ["", "../../etc", "x\u{1b}y", &"x".repeat(65)] {
        assert!(terminal_type(bad).is_none(), "{bad:?}");
    }
}
