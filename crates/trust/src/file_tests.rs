use super::*;
use crate::keychain::tests::Memory;
use agentkernel_model::secret::Secret;
use std::{cell::Cell, fs, os::unix::fs::PermissionsExt as _, path::Path, rc::Rc};

/// A person who knows a passphrase, and how often they were asked.
#[derive(Debug, Clone)]
struct Person(&'static str, Rc<Cell<u32>>);

impl Ask for Person {
    fn passphrase(&self, _: Asking) -> Result<Secret> {
        self.1.set(self.1.get() + 1);
        Secret::new(self.0.as_bytes().to_vec())
    }
}

fn person(says: &'static str) -> Person {
    Person(says, Rc::default())
}

fn vault(place: &Path, wanted: Option<Protection>) -> FileVault {
    let none = Memory { missing: true, ..Memory::default() };
    FileVault::new(place.join("secrets"), Box::new(none), Box::new(person("right")), wanted)
}

fn change(name: &str, value: &str) -> Change {
    let value = Secret::new(value.as_bytes().to_vec()).unwrap();
    Change { name: name.parse().unwrap(), value, hosts: None, header: None, set_at: 5, by_caller: false }
}

fn value(vault: &FileVault, name: &str) -> Option<Vec<u8>> {
    let entry = vault.get(&name.parse().unwrap()).unwrap();
    entry.map(|entry| entry.value().reveal().to_vec())
}

#[test]
fn secrets_are_kept_replaced_and_forgotten() {
    let place = tempfile::tempdir().unwrap();
    let own = || vault(place.path(), None);
    assert!(own().list().unwrap().is_empty() && own().protection().unwrap().is_none());
    assert!(!own().delete(&"A".parse().unwrap()).unwrap());
    assert!(!place.path().join("secrets").exists(), "looking makes nothing");
    assert!(!own().put(change("A", "one")).unwrap().replaced);
    assert!(own().put(change("A", "two\n\0")).unwrap().replaced);
    own().put(change("B", "other")).unwrap();
    assert_eq!(value(&own(), "A").unwrap(), b"two\n\0");
    assert_eq!(own().list().unwrap().len(), 2);
    assert!(own().delete(&"A".parse().unwrap()).unwrap());
    assert!(!own().delete(&"A".parse().unwrap()).unwrap());
    assert_eq!((value(&own(), "A"), value(&own(), "B").unwrap()), (None, b"other".to_vec()));
}

#[test]
fn hosts_stay_when_a_value_is_replaced_and_known_names_have_some() {
    let place = tempfile::tempdir().unwrap();
    let own = vault(place.path(), None);
    let hosts = |put: Put| put.meta.hosts().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(hosts(own.put(change("ANTHROPIC_API_KEY", "v")).unwrap()), ["api.anthropic.com"]);
    assert!(hosts(own.put(change("MINE", "v")).unwrap()).is_empty());
    let mut bound = change("MINE", "v");
    bound.hosts =
        Some(vec!["b.x.com".parse().unwrap(), "a.x.com".parse().unwrap(), "b.x.com".parse().unwrap()]);
    bound.header = "X-Mine".parse().ok();
    assert_eq!(hosts(own.put(bound).unwrap()), ["a.x.com", "b.x.com"]);
    let kept = own.put(change("MINE", "w")).unwrap();
    assert_eq!(kept.meta.header().unwrap().as_str(), "x-mine");
    assert_eq!(hosts(kept), ["a.x.com", "b.x.com"]);
    let mut free = change("ANTHROPIC_API_KEY", "v");
    free.hosts = Some(Vec::new());
    assert!(hosts(own.put(free).unwrap()).is_empty());
    assert!(hosts(own.put(change("ANTHROPIC_API_KEY", "w")).unwrap()).is_empty());
}

#[test]
fn nothing_of_a_secret_is_on_the_disk_in_clear() {
    let place = tempfile::tempdir().unwrap();
    vault(place.path(), None).put(change("ANTHROPIC_API_KEY", "sk-hidden")).unwrap();
    for file in fs::read_dir(place.path().join("secrets")).unwrap() {
        let file = file.unwrap();
        let bytes = fs::read(file.path()).unwrap();
        for text in ["sk-hidden", "c2staGlkZGVu", "ANTHROPIC", "anthropic.com"] {
            let found = bytes.windows(text.len()).any(|window| window == text.as_bytes());
            assert!(!found, "{text} in {:?}", file.path());
        }
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
    }
}

#[test]
fn a_damaged_vault_is_said_and_never_overwritten() {
    let place = tempfile::tempdir().unwrap();
    vault(place.path(), None).put(change("A", "one")).unwrap();
    let path = place.path().join("secrets/vault");
    let whole = fs::read(&path).unwrap();
    let mut changed = whole.clone();
    *changed.last_mut().unwrap() ^= 1;
    let newer = [&whole[..7], &[9], &whole[8..]].concat();
    let broken = [whole[..whole.len() / 2].to_vec(), Vec::new(), b"{}".to_vec(), changed, newer];
    for bytes in broken {
        fs::write(&path, &bytes).unwrap();
        let own = vault(place.path(), None);
        let told = [
            own.list().map(drop),
            own.get(&"A".parse().unwrap()).map(drop),
            own.put(change("B", "two")).map(drop),
            own.delete(&"A".parse().unwrap()).map(drop),
        ];
        for result in told {
            let error = result.unwrap_err();
            assert!(error.message().contains("secrets/vault") && error.hint().is_some(), "{error}");
        }
        assert_eq!(fs::read(&path).unwrap(), bytes, "left as it is");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(value(&vault(place.path(), None), "A").unwrap(), b"one");
}

#[test]
fn a_key_that_is_gone_or_another_is_said_and_never_made_anew() {
    let place = tempfile::tempdir().unwrap();
    vault(place.path(), None).put(change("A", "one")).unwrap();
    let path = place.path().join("secrets/vault.key");
    let key = fs::read(&path).unwrap();
    let mut other = key.clone();
    *other.last_mut().unwrap() ^= 1;
    let refused = |kind: Kind| {
        let own = vault(place.path(), None);
        assert_eq!(own.list().unwrap_err().kind(), kind);
        assert_eq!(own.put(change("B", "two")).unwrap_err().kind(), kind);
    };
    fs::write(&path, &other).unwrap();
    refused(Kind::Denied);
    fs::write(&path, &key[1..]).unwrap();
    refused(Kind::Internal);
    fs::remove_file(&path).unwrap();
    refused(Kind::Conflict);
    assert!(!path.exists());
}

#[test]
fn a_key_whose_vault_was_never_written_is_used() {
    let place = tempfile::tempdir().unwrap();
    let own = vault(place.path(), None);
    own.put(change("A", "one")).unwrap();
    // As after a kill between the two.
    fs::remove_file(place.path().join("secrets/vault")).unwrap();
    let key = fs::read(place.path().join("secrets/vault.key")).unwrap();
    vault(place.path(), None).put(change("A", "two")).unwrap();
    assert_eq!(fs::read(place.path().join("secrets/vault.key")).unwrap(), key);
    assert_eq!(value(&vault(place.path(), None), "A").unwrap(), b"two");
}

#[test]
fn a_passphrase_is_needed_and_asked_for_once() {
    let place = tempfile::tempdir().unwrap();
    let with = |says: &Person, wanted| {
        let none = Memory { missing: true, ..Memory::default() };
        FileVault::new(place.path().join("secrets"), Box::new(none), Box::new(says.clone()), wanted)
    };
    let right = person("right");
    let own = with(&right, Some(Protection::Passphrase));
    own.put(change("A", "one")).unwrap();
    assert_eq!(own.protection().unwrap(), Some(Protection::Passphrase));
    assert!(!place.path().join("secrets/vault.key").exists());
    let again = with(&right, None);
    let before = right.1.get();
    assert_eq!((value(&again, "A").unwrap(), value(&again, "B")), (b"one".to_vec(), None));
    assert_eq!(right.1.get(), before + 1);
    let error = with(&person("wrong"), None).put(change("A", "two")).unwrap_err();
    assert!(error.kind() == Kind::Denied && error.message().contains("passphrase"), "{error}");
    assert_eq!(with(&right, Some(Protection::KeyFile)).list().unwrap_err().kind(), Kind::Conflict);
}

#[test]
fn a_keychain_that_is_ready_holds_the_key() {
    let place = tempfile::tempdir().unwrap();
    let memory = Memory::default();
    let with = |memory: &Memory| {
        FileVault::new(place.path().join("secrets"), Box::new(memory.clone()), Box::new(person("x")), None)
    };
    with(&memory).put(change("A", "one")).unwrap();
    assert_eq!(with(&memory).protection().unwrap(), Some(Protection::Keychain));
    assert!(!place.path().join("secrets/vault.key").exists());
    assert_eq!(value(&with(&memory), "A").unwrap(), b"one");
    // Another keychain, and none at all.
    assert_eq!(with(&Memory::default()).list().unwrap_err().kind(), Kind::Conflict);
    let none = Memory { missing: true, ..Memory::default() };
    assert_eq!(with(&none).put(change("A", "two")).unwrap_err().kind(), Kind::Unavailable);
    assert_eq!(value(&with(&memory), "A").unwrap(), b"one");
}

#[test]
fn a_file_cannot_make_this_process_spend_without_bound() {
    let place = tempfile::tempdir().unwrap();
    let own = vault(place.path(), Some(Protection::Passphrase));
    own.put(change("A", "one")).unwrap();
    let path = place.path().join("secrets/vault");
    let bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"65536").unwrap();
    // As many digits, so that the lengths stay right: more than is allowed takes two more.
    let mut longer = bytes.clone();
    longer.splice(at..at + 5, *b"4000000");
    let length = u32::from_be_bytes(bytes[8..12].try_into().unwrap()) + 2;
    longer[8..12].copy_from_slice(&length.to_be_bytes());
    fs::write(&path, longer).unwrap();
    let asked = person("right");
    let none = Memory { missing: true, ..Memory::default() };
    let own = FileVault::new(place.path().join("secrets"), Box::new(none), Box::new(asked.clone()), None);
    assert_eq!(own.list().unwrap_err().kind(), Kind::Internal);
    assert_eq!(asked.1.get(), 0);
}

#[test]
fn writers_at_once_lose_nothing() {
    let place = tempfile::tempdir().unwrap();
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let place = place.path();
            scope.spawn(move || {
                for round in 0..8 {
                    vault(place, None).put(change(&format!("K{writer}_{round}"), "v")).unwrap();
                }
            });
        }
    });
    assert_eq!(vault(place.path(), None).list().unwrap().len(), 32);
}

#[test]
fn what_is_sealed_opens_for_its_scope_alone_and_is_in_no_list() {
    let place = tempfile::tempdir().unwrap();
    let own = || vault(place.path(), None);
    let entry = |name: &str, host: &str, value: &str| {
        let meta = Meta::new(name.parse().unwrap(), vec![host.parse().unwrap()], None, 0).unwrap();
        Entry::new(meta, Secret::new(value.as_bytes().to_vec()).unwrap())
    };
    let entries = [entry("A", "a.example", "hidden-one"), entry("A", "b.example", "hidden-two")];
    let sealed = own().seal("box", &entries).unwrap();
    assert!(!sealed.windows(6).any(|part| part == b"hidden"));
    assert_eq!(own().unseal("box", &sealed).unwrap(), entries);
    assert!(own().list().unwrap().is_empty(), "they are not of the vault");
    // Other secrets come and go.
    own().put(change("B", "other")).unwrap();
    assert_eq!(own().unseal("box", &sealed).unwrap(), entries);
    assert_eq!(own().unseal("other", &sealed).unwrap_err().kind(), Kind::Denied);
    let mut changed = sealed.clone();
    changed[30] ^= 1;
    assert_eq!(own().unseal("box", &changed).unwrap_err().kind(), Kind::Denied);
    fs::remove_dir_all(place.path().join("secrets")).unwrap();
    assert_eq!(own().unseal("box", &sealed).unwrap_err().kind(), Kind::Denied);
}
