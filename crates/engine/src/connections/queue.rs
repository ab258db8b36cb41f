//! What waits to be written. A sandbox decides how much happens, so all of it is bounded, and what does nothing outside
//! cannot crowd out what does.

use super::entry::{Entry, Weight};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Entries of each weight that wait; what comes when so many do is counted and forgotten.
pub(super) const WAITING: usize = 1024;
/// Light entries of one second; more are counted and forgotten.
pub(super) const LIGHT_A_SECOND: u32 = 100;
/// For so long a name that was refused is counted instead of told again, and so is what found no place.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// Names whose questions are counted; others are told one by one.
pub(super) const NAMES: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Entry>,
    heavy: Account,
    light: Account,
    second: Option<Second>,
    names: BTreeMap<String, Asked>,
    /// When the first that waits is tried again, if nothing else happens.
    again: Option<Instant>,
}

/// Of the entries of one weight.
#[derive(Debug, Default)]
struct Account {
    waiting: usize,
    /// Found no place, or could not be written.
    lost: u64,
    /// When that is told.
    due: Option<Instant>,
}

/// How many light entries a second had.
#[derive(Debug)]
struct Second {
    ends: Instant,
    count: u32,
}

/// Questions about a refused name after the one that was told.
#[derive(Debug)]
struct Asked {
    until: Instant,
    more: u64,
}

/// What to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// What is due.
    Now(Instant),
    /// Also what is being counted: nothing comes any more.
    TheEnd,
}

impl Queue {
    /// Never waits. `entry` has its place, or is counted.
    pub(super) fn push(&mut self, entry: Entry, now: Instant) {
        if let Some(name) = entry.refused_name()
            && let Some(asked) = self.names.get_mut(name)
            && now < asked.until
        {
            asked.more += 1;
            return;
        }
        let weight = entry.weight();
        let is_too_much =
            self.account(weight).waiting >= WAITING || (weight == Weight::Light && !self.has_room(now));
        if is_too_much {
            return self.lose(&entry, now);
        }
        if let Some(name) = entry.refused_name().map(str::to_owned) {
            self.count_from_now(name, now);
        }
        self.account(weight).waiting += 1;
        self.waiting.push_back(entry);
    }

    /// Counts `entry`, which could not be written.
    pub(super) fn lose(&mut self, entry: &Entry, now: Instant) {
        let account = self.account(entry.weight());
        account.lost = account.lost.saturating_add(entry.lines());
        account.due.get_or_insert(now + MINUTE);
    }

    /// Counts `entry`, for which the disk or this process had no room; one that says so waits until there is.
    pub(super) fn not_written(&mut self, entry: Entry, now: Instant) {
        if !entry.is_shortage() {
            return self.lose(&entry, now);
        }
        self.account(entry.weight()).waiting += 1;
        self.waiting.push_front(entry);
        self.again = Some(now + MINUTE);
    }

    /// The next to write.
    pub(super) fn next(&mut self, until: Until) -> Option<Entry> {
        self.again = None;
        if let Some(entry) = self.waiting.pop_front() {
            self.account(entry.weight()).waiting -= 1;
            return Some(entry);
        }
        self.counted(until).or_else(|| self.lost(until))
    }

    /// When something that is counted has to be told, if nothing else happens.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.again.is_some() {
            // Nothing goes before the one that waits.
            return self.again;
        }
        let names = self.names.values().filter(|asked| asked.more > 0).map(|asked| asked.until);
        names.chain(self.heavy.due).chain(self.light.due).min()
    }

    fn account(&mut self, weight: Weight) -> &mut Account {
        match weight {
            Weight::Heavy => &mut self.heavy,
            Weight::Light => &mut self.light,
        }
    }

    /// Whether this second has room for one more light entry, which takes it.
    fn has_room(&mut self, now: Instant) -> bool {
        let second = self.second.get_or_insert(Second { ends: now, count: 0 });
        if now >= second.ends {
            *second = Second { ends: now + Duration::from_secs(1), count: 0 };
        }
        let has = second.count < LIGHT_A_SECOND;
        second.count += u32::from(has);
        has
    }

    /// The question about `name` is told; more are counted, where there is room.
    fn count_from_now(&mut self, name: String, now: Instant) {
        // One with a count stays until that was told. This one's count, when it has one, begins anew: what it had is
        // told by an entry of its own before.
        if let Some(before) = self.names.remove(&name).filter(|asked| asked.more > 0) {
            self.light.waiting += 1;
            self.waiting.push_back(Entry::of_name_again(&name, before.more));
        }
        if self.names.len() >= NAMES {
            self.names.retain(|_, asked| asked.more > 0 || now < asked.until);
        }
        if self.names.len() < NAMES {
            self.names.insert(name, Asked { until: now + MINUTE, more: 0 });
        }
    }

    fn counted(&mut self, until: Until) -> Option<Entry> {
        let is_due = |asked: &Asked| asked.more > 0 && until.is_after(asked.until);
        let name = self.names.iter().find(|(_, asked)| is_due(asked)).map(|(name, _)| name.clone())?;
        let asked = self.names.remove(&name)?;
        Some(Entry::of_name_again(&name, asked.more))
    }

    fn lost(&mut self, until: Until) -> Option<Entry> {
        [(&mut self.heavy, Weight::Heavy), (&mut self.light, Weight::Light)].into_iter().find_map(
            |(account, weight)| {
                account.due.filter(|due| until.is_after(*due))?;
                account.due = None;
                Some(Entry::lost(std::mem::take(&mut account.lost), weight))
            },
        )
    }
}

impl Until {
    fn is_after(self, due: Instant) -> bool {
        match self {
            Self::Now(now) => now >= due,
            Self::TheEnd => true,
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
