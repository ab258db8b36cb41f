use super::*;
use agentkernel_model::Kind;
use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

/// A keychain in memory, in place of the session's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    pub(crate) items: Rc<RefCell<BTreeMap<String, Secret>>>,
    pub(crate) missing: bool,
}

impl Memory {
    fn reach(&self) -> Result<()> {
        if self.missing { Err(Error::new(Kind::Unavailable, "there is no keychain")) } else { Ok(()) }
    }
}

impl Keychain for Memory {
    fn ready(&self) -> Result<()> {
        self.reach()
    }

    fn get(&self, account: &str) -> Result<Option<Secret>> {
        self.reach()?;
        Ok(self.items.borrow().get(account).cloned())
    }

    fn put(&self, account: &str, _: &str, value: &Secret) -> Result<()> {
        self.reach()?;
        self.items.borrow_mut().insert(account.to_owned(), value.clone());
        Ok(())
    }

    fn delete(&self, account: &str) -> Result<bool> {
        self.reach()?;
        Ok(self.items.borrow_mut().remove(account).is_some())
    }

    fn accounts(&self) -> Result<Vec<String>> {
        self.reach()?;
        Ok(self.items.borrow().keys().cloned().collect())
    }
}

fn change(name: &str, value: &str) -> Change {
    let value = Secret::new(value.as_bytes().to_vec()).unwrap();
    Change { name: name.parse().unwrap(), value, hosts: None, header: None, set_at: 5, by_caller: false }
}

#[test]
fn items_are_secrets_and_keys_of_vaults_are_none() {
    let memory = Memory::default();
    let vault = KeychainVault::new(Box::new(memory.clone()));
    memory.put("vault-key/abc", "", &Secret::new(vec![1; 32]).unwrap()).unwrap();
    assert!(!vault.put(change("B", "two")).unwrap().replaced);
    assert!(!vault.put(change("A", "one")).unwrap().replaced);
    assert!(vault.put(change("A", "three")).unwrap().replaced);
    let names: Vec<String> = vault.list().unwrap().iter().map(|meta| meta.name().to_string()).collect();
    assert_eq!(names, ["A", "B"]);
    assert_eq!(vault.get(&"A".parse().unwrap()).unwrap().unwrap().value().reveal(), b"three");
    assert!(vault.delete(&"A".parse().unwrap()).unwrap());
    assert!(!vault.delete(&"A".parse().unwrap()).unwrap());
    assert_eq!(memory.items.borrow().len(), 2);
}

#[test]
fn an_item_that_somebody_else_wrote_is_no_secret() {
    let memory = Memory::default();
    let vault = KeychainVault::new(Box::new(memory.clone()));
    vault.put(change("A", "one")).unwrap();
    let foreign = memory.items.borrow()["secret/A"].clone();
    // Another one's item under this name, and rubbish.
    memory.put("secret/B", "", &foreign).unwrap();
    memory.put("secret/C", "", &Secret::new(b"rubbish".to_vec()).unwrap()).unwrap();
    for name in ["B", "C"] {
        let error = vault.get(&name.parse().unwrap()).unwrap_err();
        assert!(error.hint().is_some() && !error.to_string().contains("rubbish"), "{error}");
        assert!(vault.delete(&name.parse().unwrap()).unwrap());
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_session_without_a_bus_has_no_keychain() {
    for bus in
        [None, Some("unixexec:path=/bin/true".to_owned()), Some("unix:path=/nonexistent/bus".to_owned())]
    {
        let error = OsKeychain::new(bus).ready().unwrap_err();
        assert!(error.kind() == Kind::Unavailable && error.hint().is_some(), "{error}");
    }
}
