//! What waits to be written. A sandbox decides how much happens, so all of it is bounded, and what does nothing outside
//! cannot crowd out what does.

use super::entry::{Entry, Weight};
use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

/// Entries of each weight that wait; what comes when so many do is counted and forgotten.
pub(super) const WAITING: usize = 1024;
/// Entries of one second and one weight that is not heavy; more are counted and forgotten.
pub(super) const LIGHT_A_SECOND: u32 = 100;
/// For so long a name is counted instead of told again, and so is what found no place.
pub(super) const MINUTE: Duration = Duration::from_secs(60);
/// Names of each weight whose questions are counted; others are told one by one.
pub(super) const NAMES: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: VecDeque<Entry>,
    heavy: Account,
    asked: Account,
    light: Account,
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
    second: Option<Second>,
    names: BTreeMap<String, Asked>,
}

/// How many entries a second had.
#[derive(Debug)]
struct Second {
    ends: Instant,
    count: u32,
}

/// Questions about a name after the one that was told.
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
        let weight = entry.weight();
        let account = self.account(weight);
        if let Some(name) = entry.asked_name()
            && let Some(asked) = account.names.get_mut(name)
            && now < asked.until
        {
            asked.more += 1;
            return;
        }
        if account.waiting >= WAITING || (weight != Weight::Heavy && !account.has_room(now)) {
            return self.lose(&entry, now);
        }
        if let Some(name) = entry.asked_name()
            && let Some(more) = account.count_from_now(name, now, weight)
        {
            self.wait(Entry::of_name_again(name, more, weight));
        }
        self.wait(entry);
    }

    fn wait(&mut self, entry: Entry) {
        self.account(entry.weight()).waiting += 1;
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
        let due = |(account, weight): (&Account, Weight)| {
            let is_news = move |asked: &&Asked| asked.is_news(weight);
            let names = account.names.values().filter(is_news).map(|asked| asked.until);
            names.chain(account.due).min()
        };
        [(&self.heavy, Weight::Heavy), (&self.asked, Weight::Name), (&self.light, Weight::Light)]
            .into_iter()
            .filter_map(due)
            .min()
    }

    fn account(&mut self, weight: Weight) -> &mut Account {
        match weight {
            Weight::Heavy => &mut self.heavy,
            Weight::Name => &mut self.asked,
            Weight::Light => &mut self.light,
        }
    }

    fn accounts(&mut self) -> [(&mut Account, Weight); 3] {
        [(&mut self.heavy, Weight::Heavy), (&mut self.asked, Weight::Name), (&mut self.light, Weight::Light)]
    }

    fn counted(&mut self, until: Until) -> Option<Entry> {
        self.accounts().into_iter().find_map(|(account, weight)| {
            let is_due = |asked: &Asked| asked.is_news(weight) && until.is_after(asked.until);
            let name = account.names.iter().find(|(_, asked)| is_due(asked)).map(|(name, _)| name.clone())?;
            let asked = account.names.remove(&name)?;
            Some(Entry::of_name_again(&name, asked.more, weight))
        })
    }

    fn lost(&mut self, until: Until) -> Option<Entry> {
        self.accounts().into_iter().find_map(|(account, weight)| {
            account.due.filter(|due| until.is_after(*due))?;
            account.due = None;
            Some(Entry::lost(std::mem::take(&mut account.lost), weight))
        })
    }
}

impl Account {
    /// Whether this second has room for one more entry, which takes it.
    fn has_room(&mut self, now: Instant) -> bool {
        let second = self.second.get_or_insert(Second { ends: now, count: 0 });
        if now >= second.ends {
            *second = Second { ends: now + Duration::from_secs(1), count: 0 };
        }
        let has = second.count < LIGHT_A_SECOND;
        second.count += u32::from(has);
        has
    }

    /// The question about `name` is told; more are counted, where there is room. What it had is to be told before.
    fn count_from_now(&mut self, name: &str, now: Instant, weight: Weight) -> Option<u64> {
        // One with a count stays until that was told. This one's count, when it has one, begins anew.
        let before = self.names.remove(name).filter(|asked| asked.is_news(weight));
        if self.names.len() >= NAMES {
            self.names.retain(|_, asked| asked.is_news(weight) || now < asked.until);
        }
        if self.names.len() < NAMES {
            self.names.insert(name.to_owned(), Asked { until: now + MINUTE, more: 0 });
        }
        before.map(|asked| asked.more)
    }
}

impl Asked {
    /// Whether the count is told. Whoever looks up a name asks for both kinds of addresses, which is no more than one look.
    const fn is_news(&self, weight: Weight) -> bool {
        match weight {
            Weight::Name => self.more > 1,
            Weight::Heavy | Weight::Light => self.more > 0,
        }
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
