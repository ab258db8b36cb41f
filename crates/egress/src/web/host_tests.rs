use super::*;

fn place(name: &str, port: u16) -> Place {
    Place { name: name.to_owned(), address: ([127, 0, 0, 1], port).into() }
}

fn meant(hosts: &[&str], uri: &str, place: &Place) -> bool {
    let mut request = Request::builder().uri(uri);
    for host in hosts {
        request = request.header(HOST, *host);
    }
    is_meant_for(&request.body(()).unwrap(), place)
}

#[test]
fn the_host_has_to_be_the_place() {
    let rows: &[(&[&str], &str, bool)] = &[
        (&["api.x.com"], "/", true),
        (&["API.x.com"], "/", true),
        (&["api.x.com."], "/", true),
        (&["api.x.com:443"], "/", true),
        (&["api.x.com:"], "/", true),
        (&[], "https://api.x.com/", true),
        (&["api.x.com"], "https://api.x.com/", true),
        (&[], "/", false),
        (&["api.x.com:80"], "/", false),
        (&["api.x.com:0443x"], "/", false),
        (&["evil.com"], "/", false),
        (&["api.x.com.evil.com"], "/", false),
        (&["x.com"], "/", false),
        (&["api.x.com", "api.x.com"], "/", false),
        (&["api.x.com, evil.com"], "/", false),
        (&["evil.com@api.x.com"], "/", false),
        (&["api.x.com@evil.com"], "/", false),
        (&["api.x.com/"], "/", false),
        (&["api.x.com.."], "/", false),
        (&[""], "/", false),
        (&["evil.com"], "https://api.x.com/", false),
        (&["api.x.com"], "https://evil.com/", false),
    ];
    for (hosts, uri, wanted) in rows {
        assert_eq!(meant(hosts, uri, &place("api.x.com", 443)), *wanted, "{hosts:?} {uri}");
    }
}

#[test]
fn addresses_are_compared_as_addresses() {
    assert!(meant(&["[::1]:8443"], "/", &place("::1", 8443)));
    assert!(meant(&["[0:0::1]"], "/", &place("::1", 8443)));
    assert!(!meant(&["[::2]"], "/", &place("::1", 8443)));
    assert!(meant(&["127.0.0.1:80"], "/", &place("127.0.0.1", 80)));
    assert!(!meant(&["127.1"], "/", &place("127.0.0.1", 80)));
}

#[test]
fn what_is_sent_names_the_port_where_it_is_unusual() {
    assert_eq!(authority(&place("a.com", 443), &Scheme::HTTPS), "a.com");
    assert_eq!(authority(&place("a.com", 443), &Scheme::HTTP), "a.com:443");
    assert_eq!(authority(&place("::1", 8080), &Scheme::HTTP), "[::1]:8080");
}
