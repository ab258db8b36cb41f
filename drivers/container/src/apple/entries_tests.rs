use super::*;

#[test]
fn what_is_not_whole_is_no_entry() {
    let said = b"b\x0081a4 5 60\0\0a\0a1ff 4 -1\0/to\0odd\0zz 1 1\0\0half\x0081a4 5";
    let list = parse(said);
    let names: Vec<&str> = list.entries.iter().map(|e| e.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(list.entries[0].target.as_deref(), Some("/to"));
    assert_eq!((list.entries[0].kind, list.entries[0].mtime), (EntryKind::Link, -1));
    assert_eq!(
        (list.entries[1].kind, list.entries[1].mode, list.entries[1].size),
        (EntryKind::File, 0o644, 5)
    );
    assert!(!list.truncated);
}

#[test]
fn what_is_cut_is_told() {
    let said = b"n\x0081a4 5 60\0\0".repeat(FileList::MAX + 1);
    let list = parse(&said);
    assert_eq!((list.entries.len(), list.truncated), (FileList::MAX, true));
}
