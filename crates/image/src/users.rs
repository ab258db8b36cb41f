//! The user of an image: from `USER` as written to numbers, by the image's own tables.

use crate::merged::Merged;
use agentkernel_model::{Error, Kind, Result, command::User, path::GuestPath, text::printable};

/// Bytes of /etc/passwd and /etc/group.
const MAX_TABLE: u64 = 1 << 20;
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";

/// Who runs an image's commands, where nobody says otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageUser {
    pub(crate) user: User,
    pub(crate) home: GuestPath,
}

/// Finds the user that `written` (`name`, `uid`, each with `:group` or `:gid`) means in `root`, as Docker does: a name
/// has to be there, a number need not. Without `written` it is root.
///
/// # Errors
/// [`Kind::Invalid`] when a name is not there or a table is broken; [`Kind::Unsupported`] for ids that sandboxes do not
/// have.
pub(crate) fn resolve(root: &Merged, written: Option<&str>) -> Result<ImageUser> {
    let written = written.unwrap_or("0");
    let (name, group) = match written.split_once(':') {
        Some((name, group)) => (name, Some(group).filter(|group| !group.is_empty())),
        None => (written, None),
    };
    let name = if name.is_empty() { "0" } else { name };
    let passwd = table(root, PASSWD)?;
    let entry = find_user(&passwd, name);
    let uid = match (&entry, number(name)) {
        (Some(entry), _) => entry.uid,
        (None, Some(uid)) => uid,
        (None, None) => return Err(unknown("user", name, PASSWD)),
    };
    let gid = match group {
        None => entry.as_ref().map_or(0, |entry| entry.gid),
        Some(group) => match (find_group(&table(root, GROUP)?, group), number(group)) {
            (Some(gid), _) | (None, Some(gid)) => gid,
            (None, None) => return Err(unknown("group", group, GROUP)),
        },
    };
    if uid > u64::from(User::MAX_ID) || gid > u64::from(User::MAX_ID) {
        let message = format!("the image's user {} has the ids {uid}:{gid}", printable(written));
        return Err(Error::new(Kind::Unsupported, message)
            .with_hint(format!("ids up to {} exist in a sandbox", User::MAX_ID)));
    }
    let id = |id: u64| u32::try_from(id).unwrap_or(User::MAX_ID);
    let user = User { uid: id(uid), gid: id(gid) };
    let home = entry.and_then(|entry| entry.home.parse().ok());
    let home = match home {
        Some(home) => home,
        None if uid == 0 => "/root".parse()?,
        None => "/".parse()?,
    };
    Ok(ImageUser { user, home })
}

struct Account<'a> {
    uid: u64,
    gid: u64,
    home: &'a str,
}

/// By name first: a name may look like a number.
fn find_user<'a>(passwd: &'a str, name: &str) -> Option<Account<'a>> {
    let accounts = || {
        passwd.lines().filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let (uid, gid) = (fields.nth(1)?, fields.next()?);
            let account = Account { uid: number(uid)?, gid: number(gid)?, home: fields.nth(1).unwrap_or("") };
            Some((name, account))
        })
    };
    let by_name = accounts().find(|(known, _)| *known == name);
    let by_number = || number(name).and_then(|uid| accounts().find(|(_, account)| account.uid == uid));
    by_name.or_else(by_number).map(|(_, account)| account)
}

fn find_group(groups: &str, name: &str) -> Option<u64> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| number(fields.nth(1)?))?
    })
}

fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse::<u32>().ok().map(u64::from))?
}

/// Bytes that are no text become signs that no name holds.
fn table(root: &Merged, path: &str) -> Result<String> {
    let read = root.read(path, MAX_TABLE).map_err(|e| {
        Error::invalid(format!("{path} of the image cannot be read: {}", printable(&e.to_string())))
    })?;
    Ok(String::from_utf8_lossy(&read.unwrap_or_default()).into_owned())
}

fn unknown(what: &str, name: &str, path: &str) -> Error {
    Error::invalid(format!("the image's {what} '{}' is not in its {path}", printable(name)))
        .with_hint("the image is broken: its maker has to add the account or write a number")
}

#[cfg(test)]
#[path = "users_tests.rs"]
mod tests;
