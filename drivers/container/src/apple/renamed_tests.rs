use super::*;

fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(9);
        // As hostile as it may be: the library's own ways in refuse some names.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        let links = matches!(kind, EntryType::Link | EntryType::Symlink);
        header.set_size(if links { 0 } else { content.len() as u64 });
        if links {
            header.set_link_name_literal(content).unwrap();
        }
        header.set_cksum();
        builder.append(&header, if links { &[] } else { content.as_bytes() }).unwrap();
    }
    builder.into_inner().unwrap()
}

/// `name kind content-or-target`.
fn listed(bytes: &[u8]) -> Vec<String> {
    let mut archive = Archive::new(bytes);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        assert_eq!((entry.header().uid().unwrap(), entry.header().mtime().unwrap()), (7, 9));
        let target = entry.link_name_bytes().map(|target| String::from_utf8(target.into_owned()).unwrap());
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        format!("{name} {:?} {}", entry.header().entry_type(), target.unwrap_or(content))
    });
    entries.collect()
}

fn copied(entries: &[(&str, EntryType, &str)], base: &str, name: &str) -> Result<Vec<String>> {
    let mut out = Vec::new();
    copy(archive(entries).as_slice(), &mut out, base, name).map(|()| listed(&out))
}

#[test]
fn a_tree_gets_the_name_that_is_wanted() {
    let tree = [
        ("./src/", EntryType::Directory, ""),
        ("./src/a", EntryType::Regular, "text"),
        ("./src/l", EntryType::Symlink, "../../etc"),
        ("./src/h", EntryType::Link, "./src/a"),
    ];
    let expected = ["new/ Directory ", "new/a Regular text", "new/l Symlink ../../etc", "new/h Link new/a"];
    assert_eq!(copied(&tree, "src", "new").unwrap(), expected);
    let root = [("././", EntryType::Directory, ""), ("././etc/x", EntryType::Regular, "y")];
    assert_eq!(copied(&root, ".", "all").unwrap(), ["all/ Directory ", "all/etc/x Regular y"]);
}

#[test]
fn long_names_stay_whole() {
    let name = "n".repeat(200);
    let mut out = Vec::new();
    copy(archive(&[("./f", EntryType::Regular, "x")]).as_slice(), &mut out, "f", &name).unwrap();
    assert_eq!(listed(&out), [format!("{name} Regular x")]);
}

#[test]
fn names_that_were_not_asked_for_are_refused() {
    for path in ["/etc/passwd", "./src/../../x", "../x", "./other/x", "."] {
        let error = copied(&[(path, EntryType::Regular, "x")], "src", "new").unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{path}");
    }
    let link = [("./src/h", EntryType::Link, "/etc/shadow")];
    assert_eq!(copied(&link, "src", "new").unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn garbage_is_an_error() {
    let mut out = Vec::new();
    assert_eq!(copy([b'x'; 1024].as_slice(), &mut out, "a", "b").unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn the_padding_of_an_archive_is_read_to_its_end() {
    let mut padded = archive(&[("./a", EntryType::Regular, "1")]);
    padded.resize(padded.len() + 20 * 512, 0);
    let mut rest = padded.as_slice();
    copy(&mut rest, Vec::new(), ".", "b").unwrap();
    assert_eq!(rest.len(), 0, "who writes it would meet a closed pipe");
    let endless = padded.as_slice().chain(io::repeat(0));
    assert_eq!(copy(endless, Vec::new(), ".", "b").unwrap_err().kind(), Kind::Invalid);
}
