use super::*;
use crate::{
    fixture::{Archive, header},
    member::What,
};
use agentkernel_model::Kind;
use std::io;

fn read(archive: &[u8]) -> Result<Vec<Member>> {
    let mut members = Members::new(archive, 1 << 20);
    let mut all = Vec::new();
    while let Some(member) = members.next()? {
        all.push(member);
    }
    Ok(all)
}

fn refused(archive: &[u8]) -> String {
    let error = read(archive).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid, "{error}");
    error.to_string()
}

#[test]
fn long_names_of_both_kinds_are_resolved() {
    let long = "d/".repeat(60) + "end";
    let archive = Archive::default()
        .entry(b'L', "././@LongLink", "", format!("{long}\0").as_bytes())
        .entry(b'K', "././@LongLink", "", b"over/there\0")
        .symlink("short", "short")
        .pax(b'x', &[("path", long.as_bytes()), ("linkpath", b"else/where"), ("size", b"0")])
        .hard_link("short", "short")
        .file("plain", "content");
    let members = read(&archive.end()).unwrap();
    assert_eq!(members[0].name.bytes(), long.as_bytes());
    assert_eq!(members[0].what, What::Symlink(b"over/there".to_vec()));
    assert_eq!(members[1].name.bytes(), long.as_bytes());
    assert!(matches!(&members[1].what, What::HardLink(to) if to.bytes() == b"else/where"));
    assert_eq!(members[2].name.bytes(), b"plain");
}

#[test]
fn pax_headers_win_and_end_with_their_entry() {
    let archive = Archive::default()
        .pax(b'g', &[("uid", b"7"), ("mtime", b"5.5"), ("comment", b"anything")])
        .pax(b'x', &[("uid", b"8"), ("SCHILY.xattr.user.a", b"x\ny=z"), ("size", b"3")])
        .raw(&mut header(b'0', "a", "", 0), b"abc")
        .file("b", "")
        .pax(b'x', &[("mtime", b"")])
        .file("c", "");
    let members = read(&archive.end()).unwrap();
    let seen: Vec<_> = members.iter().map(|m| (m.uid, m.size, m.modified, m.attributes.len())).collect();
    let nanos = 500_000_000;
    assert_eq!(seen, [(8, 3, (5, nanos), 1), (7, 0, (5, nanos), 0), (7, 0, (1_000_000_000, 0), 0)]);
    assert_eq!(members[0].attributes[0], (b"user.a".to_vec(), b"x\ny=z".to_vec()));
}

#[test]
fn extended_headers_are_bounded_in_all() {
    let half = vec![b'x'; 600 * 1024];
    let one = Archive::default().pax(b'x', &[("comment", &half)]);
    read(&one.clone().file("a", "").pax(b'x', &[("comment", &half)]).file("b", "").end()).unwrap();
    let two = one.pax(b'x', &[("comment", &half)]).file("a", "");
    assert!(refused(&two.end()).contains("1 MiB"));
    let lying = Archive::default().raw(&mut header(b'L', "x", "", 10 << 30), b"");
    assert!(refused(&lying.end()).contains("1 MiB"));
    let mut many = Archive::default();
    for _ in 0..2100 {
        many = many.pax(b'x', &[]);
    }
    assert!(refused(&many.file("a", "").end()).contains("1 MiB"));
    let kept = vec![b'x'; 70 * 1024];
    assert!(refused(&Archive::default().pax(b'g', &[("path", &kept)]).end()).contains("64 KiB"));
}

#[test]
fn sparse_files_and_unknown_types_are_refused() {
    assert!(refused(&Archive::default().entry(b'S', "a", "", b"").end()).contains("sparse"));
    let pax = Archive::default().pax(b'x', &[("GNU.sparse.major", b"1")]).file("a", "");
    assert!(refused(&pax.end()).contains("sparse"));
    assert!(refused(&Archive::default().entry(b'M', "a", "", b"").end()).contains("unknown type 'M'"));
}

#[test]
fn what_is_cut_off_is_refused() {
    let whole = Archive::default().pax(b'x', &[("path", b"a")]).file("b", "content").directory("c").end();
    assert_eq!(read(&whole).unwrap().len(), 2);
    assert_eq!(read(&whole[..whole.len() - 512]).unwrap().len(), 2, "one empty block ends it as well");
    for length in (0..whole.len() - 1023).chain([whole.len() - 600, whole.len() - 1]) {
        assert!(refused(&whole[..length]).contains("ends too early"), "at {length}");
    }
    let dangling = Archive::default().pax(b'x', &[("path", b"a")]);
    assert!(refused(&dangling.end()).contains("ends too early"));
}

#[test]
fn damage_is_refused() {
    let mut archive = Archive::default().file("a", "content").end();
    archive[0] ^= 1;
    assert!(refused(&archive).contains("no tar archive"));
    assert!(refused(&[b'x'; 2048]).contains("no tar archive"));
    let mut bad = header(b'0', "a", "", 0);
    bad.as_old_mut().size = *b"0000000009z\0";
    assert!(refused(&Archive::default().raw(&mut bad, b"").end()).contains("number"));
    let hidden = Archive::default().file("a", "").0;
    let hidden = [hidden.as_slice(), &[0; 512], &hidden, &[0; 1024]].concat();
    assert!(refused(&hidden).contains("after an empty block"));
}

#[test]
fn old_headers_are_read() {
    let mut old = header(b'\0', "d/", "", 0);
    old.as_old_mut().uid = *b"        ";
    old.as_old_mut().gid = [0; 8];
    let members = read(&Archive::default().raw(&mut old, b"").end()).unwrap();
    assert_eq!((&members[0].what, members[0].uid), (&What::Directory, 0));
}

#[test]
fn everything_is_read_but_not_forever() {
    let mut archive = Archive::default().file("a", "x").end();
    archive.extend_from_slice(&[7; 100_000]);
    let mut left = archive.as_slice();
    let mut members = Members::new(&mut left, 1 << 20);
    while members.next().unwrap().is_some() {}
    assert!(left.is_empty(), "{} bytes are left", left.len());

    let endless = Read::chain(archive.as_slice(), io::repeat(0));
    let mut members = Members::new(endless, 1 << 20);
    members.next().unwrap();
    assert_eq!(members.next().unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn what_the_reader_says_is_passed_on() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other(Error::new(Kind::Timeout, "the registry is slow")))
        }
    }
    let error = Members::new(Broken, 0).next().unwrap_err();
    assert_eq!((error.kind(), error.message()), (Kind::Timeout, "the registry is slow"));
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(mut blocks in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..3000), fix in proptest::bool::ANY) {
        if fix && blocks.len() >= 512 {
            let mut block = *blocks.first_chunk::<512>().unwrap();
            let mut header = tar::Header::new_old();
            header.as_mut_bytes().copy_from_slice(&block);
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
            blocks[..512].copy_from_slice(&block);
        }
        let _ = read(&blocks);
    }
}
