//! What is kept warm, and what should be: the bookkeeping of the pool. Knows no sandbox, starts nothing, asks no clock.

use super::{key::Key, recipe::Wish, size::PoolSize};
use std::{collections::VecDeque, time::Duration};
use tokio::time::Instant;

/// A warm sandbox that is older is thrown away and made anew.
pub(super) const MAX_AGE: Duration = Duration::from_secs(300);
/// What nobody has asked for in this time is no longer kept warm, unless `daemon start` named it.
pub(super) const FORGOTTEN: Duration = Duration::from_secs(3600);
/// How long after a failure the next attempt is made: doubled each time, until one is taken.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const LONGEST_PATIENCE: Duration = Duration::from_secs(60);

/// Who decides what is kept warm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// Whoever started the daemon.
    Named,
    /// Runs that found nothing.
    Recent,
}

/// One kind of sandbox.
#[derive(Debug)]
struct Row<T> {
    wish: Wish,
    /// Oldest first.
    warm: VecDeque<(T, Instant)>,
    booting: usize,
    /// Of those that are booting, how many somebody waits for: they will not be warm.
    awaited: usize,
    choice: Choice,
    asked: Instant,
    patience: Option<Patience>,
    trouble: Option<String>,
}

#[derive(Debug, Clone, Copy)]
struct Patience {
    until: Instant,
    length: Duration,
}

/// A kind of sandbox, for `daemon status`.
#[derive(Debug)]
pub(super) struct Kept<'a> {
    pub(super) wish: &'a Wish,
    pub(super) warm: usize,
    pub(super) trouble: Option<&'a str>,
}

/// What there is for somebody who asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    Warm(T),
    /// One is booting that nobody else waits for, and is kept for whoever asked.
    Soon,
    None,
}

/// What becomes of one that came up.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Placed<T> {
    Kept,
    /// Somebody waits for it.
    Awaited(T),
    /// There is no place for it any more: to be ended.
    Surplus(T),
}

/// What is to be done next.
#[derive(Debug)]
pub(super) enum Step<T> {
    Boot(Box<Wish>),
    /// There is no room for what was asked for later.
    Evict(T),
}

#[derive(Debug)]
pub(super) struct Shelf<T> {
    size: PoolSize,
    /// The one that was asked for last comes first. Never more than [`PoolSize::max`].
    rows: Vec<Row<T>>,
}

impl<T> Row<T> {
    const fn new(wish: Wish, choice: Choice, now: Instant) -> Self {
        Self {
            wish,
            warm: VecDeque::new(),
            booting: 0,
            awaited: 0,
            choice,
            asked: now,
            patience: None,
            trouble: None,
        }
    }

    /// What is warm, or will be.
    fn count(&self) -> usize {
        self.warm.len() + self.booting - self.awaited
    }

    /// One that was booting is not any more.
    fn landed(&mut self) {
        self.booting = self.booting.saturating_sub(1);
        self.awaited = self.awaited.min(self.booting);
    }

    fn wait(&mut self, now: Instant) {
        let length = self.patience.map_or(FIRST_PATIENCE, |p| (p.length * 2).min(LONGEST_PATIENCE));
        self.patience = Some(Patience { until: now + length, length });
    }

    fn is_patient(&self, now: Instant) -> bool {
        self.patience.is_some_and(|patience| patience.until > now)
    }

    /// Gives up what was made under the old key. Those under way still have it, and are not found when they come.
    fn renamed(&mut self, key: Key) -> impl Iterator<Item = T> {
        self.wish.key = key;
        (self.booting, self.awaited) = (0, 0);
        self.warm.drain(..).map(|(sandbox, _)| sandbox)
    }

    fn into_warm(self) -> impl Iterator<Item = T> {
        self.warm.into_iter().map(|(sandbox, _)| sandbox)
    }
}

impl<T> Shelf<T> {
    /// `named`, at most [`PoolSize::max`] of them, are kept warm from the beginning to the end.
    pub(super) fn new(size: PoolSize, named: Vec<Wish>, now: Instant) -> Self {
        let mut rows: Vec<Row<T>> = Vec::new();
        for wish in named {
            if !rows.iter().any(|row| row.wish.key == wish.key) {
                rows.push(Row::new(wish, Choice::Named, now));
            }
        }
        rows.truncate(size.max());
        Self { size, rows }
    }

    pub(super) const fn size(&self) -> PoolSize {
        self.size
    }

    fn share(&self) -> usize {
        self.size.share(self.rows.len())
    }

    fn total(&self) -> usize {
        self.rows.iter().map(Row::count).sum()
    }

    pub(super) fn warm(&self) -> usize {
        self.rows.iter().map(|row| row.warm.len()).sum()
    }

    pub(super) fn kept(&self) -> impl Iterator<Item = Kept<'_>> {
        self.rows.iter().map(|row| Kept {
            wish: &row.wish,
            warm: row.warm.len(),
            trouble: row.trouble.as_deref(),
        })
    }

    /// Whether everything that should be warm is.
    pub(super) fn is_full(&self) -> bool {
        let share = self.share();
        self.rows.iter().all(|row| row.warm.len() >= share)
    }

    /// Somebody found nothing of `wish`. Returns what makes room for it: to be ended.
    pub(super) fn want(&mut self, wish: Wish, now: Instant) -> Vec<T> {
        if self.touch(&wish.key, now).is_some() {
            return Vec::new();
        }
        if let Some(row) = self.rows.iter_mut().find(|row| row.wish.recipe == wish.recipe) {
            // The same words mean something else by now: nobody will ask for the old ones again.
            row.asked = now;
            return row.renamed(wish.key).collect();
        }
        self.rows.insert(0, Row::new(wish, Choice::Recent, now));
        if self.rows.len() <= self.size.max() {
            return Vec::new();
        }
        // Where everything was named, this is the new one itself.
        let last = self.rows.iter().rposition(|row| row.choice == Choice::Recent);
        last.map(|at| self.rows.remove(at)).into_iter().flat_map(Row::into_warm).collect()
    }

    /// The oldest one of `key`, which is no longer kept then: it is never put back.
    pub(super) fn take(&mut self, key: &Key, now: Instant) -> Taken<T> {
        let Some(row) = self.touch(key, now) else { return Taken::None };
        if let Some((sandbox, _)) = row.warm.pop_front() {
            row.patience = None;
            return Taken::Warm(sandbox);
        }
        if row.booting == row.awaited {
            return Taken::None;
        }
        row.awaited += 1;
        Taken::Soon
    }

    /// How many of `key` are booting for somebody who waits.
    pub(super) fn awaited(&self, key: &Key) -> usize {
        self.rows.iter().find(|row| row.wish.key == *key).map_or(0, |row| row.awaited)
    }

    /// Somebody who waited for one of `key` has left.
    pub(super) fn leave(&mut self, key: &Key) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.wish.key == *key) {
            row.awaited = row.awaited.saturating_sub(1);
        }
    }

    fn touch(&mut self, key: &Key, now: Instant) -> Option<&mut Row<T>> {
        let at = self.rows.iter().position(|row| row.wish.key == *key)?;
        self.rows[..=at].rotate_right(1);
        let row = self.rows.first_mut()?;
        row.asked = now;
        Some(row)
    }

    /// What to do next. Whoever boots tells how it went: [`Shelf::booted`], [`Shelf::failed`].
    pub(super) fn next(&mut self, now: Instant) -> Option<Step<T>> {
        let (share, full) = (self.share(), self.total() >= self.size.max());
        let row = self.rows.iter_mut().find(|row| row.count() < share && !row.is_patient(now))?;
        if !full {
            row.booting += 1;
            return Some(Step::Boot(Box::new(row.wish.clone())));
        }
        // Those that were asked for longest ago give way.
        let rich = self.rows.iter_mut().rev().find(|row| row.count() > share && !row.warm.is_empty())?;
        rich.warm.pop_front().map(|(sandbox, _)| Step::Evict(sandbox))
    }

    /// `sandbox` is up.
    pub(super) fn booted(&mut self, key: &Key, sandbox: T, now: Instant) -> Placed<T> {
        let Some(at) = self.rows.iter().position(|row| row.wish.key == *key) else {
            return Placed::Surplus(sandbox);
        };
        let row = &mut self.rows[at];
        row.trouble = None;
        if row.awaited > 0 {
            row.awaited -= 1;
            row.landed();
            row.patience = None;
            return Placed::Awaited(sandbox);
        }
        row.landed();
        if let Some(patience) = &mut row.patience {
            patience.until = now;
        }
        if self.total() >= self.size.max() {
            return Placed::Surplus(sandbox);
        }
        self.rows[at].warm.push_back((sandbox, now));
        Placed::Kept
    }

    /// One of `key` did not come up, because of `why`.
    pub(super) fn failed(&mut self, key: &Key, why: String, now: Instant) {
        if let Some(row) = self.rows.iter_mut().find(|row| row.wish.key == *key) {
            row.landed();
            row.trouble = Some(why);
            row.wait(now);
        }
    }

    /// What `recipe` made under `old` it now makes under `new`. Returns what nobody will ask for any more: to be ended.
    pub(super) fn rename(&mut self, old: &Key, new: Key) -> Vec<T> {
        let known = self.rows.iter().any(|row| row.wish.key == new);
        let Some(at) = self.rows.iter().position(|row| row.wish.key == *old) else { return Vec::new() };
        if known {
            return self.rows.remove(at).into_warm().collect();
        }
        self.rows[at].renamed(new).collect()
    }

    /// The one that `is_it`, which ended by itself.
    pub(super) fn ended(&mut self, is_it: impl Fn(&T) -> bool, now: Instant) -> Option<T> {
        for row in &mut self.rows {
            if let Some(at) = row.warm.iter().position(|(sandbox, _)| is_it(sandbox)) {
                row.trouble = Some("it ended while it was kept warm".to_owned());
                // What always ends at once is not started over and over.
                row.wait(now);
                return row.warm.remove(at).map(|(sandbox, _)| sandbox);
            }
        }
        None
    }

    /// What is too old, or of a kind that nobody asks for any more: to be ended.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<T> {
        let is_forgotten = |row: &mut Row<T>| row.choice == Choice::Recent && now >= row.asked + FORGOTTEN;
        let forgotten = self.rows.extract_if(.., is_forgotten);
        let mut overdue: Vec<T> = forgotten.flat_map(Row::into_warm).collect();
        for row in &mut self.rows {
            while row.warm.front().is_some_and(|(_, born)| now >= *born + MAX_AGE) {
                overdue.extend(row.warm.pop_front().map(|(sandbox, _)| sandbox));
            }
        }
        overdue
    }

    /// When there will be something to do next that nothing but time brings.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let share = self.share();
        let of_row = |row: &Row<T>| {
            let age = row.warm.front().map(|(_, born)| *born + MAX_AGE);
            let forgotten = (row.choice == Choice::Recent).then(|| row.asked + FORGOTTEN);
            let attempt = row.patience.map(|p| p.until).filter(|at| *at > now && row.count() < share);
            [age, forgotten, attempt].into_iter().flatten().min()
        };
        self.rows.iter().filter_map(of_row).min()
    }

    /// Everything; nothing is kept warm from here on.
    pub(super) fn clear(&mut self) -> Vec<T> {
        self.rows.drain(..).flat_map(Row::into_warm).collect()
    }
}

#[cfg(test)]
#[path = "shelf_tests.rs"]
mod tests;
