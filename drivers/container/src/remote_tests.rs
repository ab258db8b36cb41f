use super::*;

fn docker(address: &str, material: Option<&str>) -> Result<Remote, Refused> {
    parse(address, Flavor::Docker, Beside { material: material.map(Into::into), key: None })
}

fn login(address: &str) -> Login {
    match docker(address, None) {
        Ok(Remote::Ssh(login)) => login,
        other => panic!("{address}: {other:?}"),
    }
}

#[test]
fn without_tls_only_this_machines_own_loopback_is_an_engine() {
    for address in ["tcp://127.0.0.1:2375", "tcp://localhost", "tcp://[::1]:2375/"] {
        assert!(matches!(docker(address, None), Ok(Remote::Plain(_))), "{address}");
    }
    for address in
        ["tcp://10.0.0.1:2375", "tcp://localhost.example:2375", "tcp://0.0.0.0:2375", "tcp://[::]:1"]
    {
        let refused = docker(address, None).unwrap_err();
        assert!(refused.what.contains("no TLS") && refused.hint.contains("DOCKER_TLS_VERIFY"), "{refused:?}");
        assert!(matches!(docker(address, Some("/c")), Ok(Remote::Tls { .. })), "{address}");
    }
}

#[test]
fn usual_ports_are_dockers() {
    let port = |remote: Remote| match remote {
        Remote::Plain(place) | Remote::Tls { place, .. } => place.port,
        Remote::Ssh(_) => panic!("not this"),
    };
    assert_eq!(port(docker("tcp://localhost", None).unwrap()), 2375);
    assert_eq!(port(docker("tcp://far.example", Some("/c")).unwrap()), 2376);
    assert_eq!(port(docker("tcp://far.example:7", Some("/c")).unwrap()), 7);
}

#[test]
fn what_is_no_address_is_refused() {
    for address in [
        "tcp://",
        "tcp://:1",
        "tcp://h:0",
        "tcp://h:65536",
        "tcp://h:x",
        "tcp://[1:2",
        "tcp://[h]:1",
        "tcp://a b:1",
        "http://h",
        "npipe:////./pipe/docker_engine",
        "unix://relative",
        "fd://",
        "h:1",
        "",
        "tcp://-h:1",
    ] {
        assert!(docker(address, Some("/c")).is_err(), "{address}");
    }
}

#[test]
fn a_password_in_an_address_is_not_shown() {
    for address in [
        "tcp://ada:s3cret@far.example:2375",
        "tcp://ada:s3cret@localhost",
        "tcp://ada:s3cret@",
        "tcp://ada:s3cret@p@h",
        "tcp://ada:s3cret/x@h:1",
        "ssh://ada:s3cret@h",
        "ssh://ada:s3cret@p@h",
        "ssh://ada:s3cret/@h",
        "http://ada:s3cret@h",
        "unix://ada:s3cret@h",
        "ada:s3cret@h:1",
        "ada:s3cret://@h",
        "tcp:ada:s3cret://s3cret@h",
    ] {
        for material in [None, Some("/c")] {
            let said = format!("{:?}", docker(address, material).unwrap_err());
            assert!(!said.contains("s3cret"), "{address}: {said}");
        }
    }
    let said = docker("tcp://ada:s3cret@far.example", None).unwrap_err();
    assert!(said.what.contains("'tcp://far.example'"), "{said:?}");
}

#[test]
fn ssh_is_given_words_that_are_nobodys_options() {
    let words = login("ssh://ada@far.example:2222").words();
    let end = words.iter().position(|word| word == "--").unwrap();
    assert_eq!(words[end + 1..], ["far.example", "docker", "system", "dial-stdio"]);
    assert!(words[..end].windows(2).any(|pair| pair == ["-l", "ada"]));
    assert!(words[..end].windows(2).any(|pair| pair == ["-p", "2222"]));
    assert!(words[..end].windows(2).any(|pair| pair == ["-o", "BatchMode=yes"]));
    for address in [
        "ssh://-oProxyCommand=id",
        "ssh://-oProxyCommand=id@h",
        "ssh://a@-h",
        "ssh://",
        "ssh://@h",
        "ssh://a:b@h",
        "ssh://a b@h",
        "ssh://h$(id)",
        "ssh://h/run/$(id)",
        "ssh://h/run/a;id",
        "ssh://h/a b",
        "ssh://h/\n",
        "ssh://h:0",
        "ssh://h:-1",
        "ssh://h'",
        "ssh://h?x",
        "ssh://h#x",
    ] {
        assert!(docker(address, None).is_err(), "{address}");
    }
    let said = docker("ssh://ada:s3cret@h", None).unwrap_err();
    assert!(!format!("{said:?}").contains("s3cret"), "{said:?}");
}

#[test]
fn a_socket_there_is_named_as_each_command_line_wants_it() {
    let address = "ssh://ada@far/run/user/1000/podman/podman.sock";
    let words = |flavor| match parse(address, flavor, Beside::default()) {
        Ok(Remote::Ssh(login)) => login.words().join(" "),
        other => panic!("{other:?}"),
    };
    let url = "unix:///run/user/1000/podman/podman.sock";
    assert!(words(Flavor::Docker).ends_with(&format!("-- far docker --host {url} system dial-stdio")));
    assert!(
        words(Flavor::Podman).ends_with(&format!("-- far podman --remote --url {url} system dial-stdio"))
    );
}

#[test]
fn addresses_are_shown_as_they_are_written() {
    for address in ["ssh://ada@far:22/run/x.sock", "ssh://far", "tcp://[::1]:2375", "ssh://[::1]:22"] {
        assert_eq!(docker(address, None).unwrap().to_string(), address);
    }
}

#[test]
fn either_of_dockers_words_asks_for_tls() {
    let home = Path::new("/home/ada/.docker");
    assert_eq!(material(None, None, Some(home)), None);
    assert_eq!(material(Some(""), Some(""), Some(home)), None);
    assert_eq!(material(Some("1"), None, Some(home)), Some(home.to_owned()));
    assert_eq!(material(None, Some("/c"), Some(home)), Some("/c".into()));
}
