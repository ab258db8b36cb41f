//! The pool at work: the one task that decides, starts, lends and ends.

use super::{
    demand::{Demand, Loan},
    key::{Build, Key},
    protocol::{DaemonStatus, KindStatus, Phase, short},
    recipe::Wish,
    shelf::{Placed, Shelf, Step, Taken},
    size::PoolSize,
    warm::{self, Meaning, Warm},
};
use crate::engine::Engine;
use agentkernel_model::{Error, Result, id::SandboxId};
use std::{collections::BTreeMap, future::pending};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

/// Sandboxes that are brought up at once.
const BOOTS: usize = 2;
/// Sandboxes that are lent at once; further runs take the ordinary road.
const MAX_LENT: usize = 64;
/// Failures that are kept for whoever stops the daemon.
const MAX_FAILURES: usize = 16;

/// What happens to a pool.
enum Event {
    Demand(Demand),
    Returned(SandboxId),
    Booted(Key, Result<Warm>),
    EndedByItself(SandboxId),
    Removed(Result<()>),
    /// Time passed: what is due is found by looking.
    Nothing,
    /// This process was told to end.
    Terminated,
}

/// Somebody who gets the next one of `key` that comes up.
#[derive(Debug)]
struct Waiter {
    key: Key,
    answer: oneshot::Sender<Option<Loan>>,
}

#[derive(Debug)]
pub(super) struct Pool<'e> {
    engine: &'e Engine,
    build: Build,
    shelf: Shelf<Warm>,
    lent: BTreeMap<SandboxId, Warm>,
    /// Who came first is first. There are as many of a key as the shelf knows to be awaited.
    waiters: Vec<Waiter>,
    boots: JoinSet<(Key, Result<Warm>)>,
    watches: JoinSet<SandboxId>,
    endings: JoinSet<Result<()>>,
    returns: (mpsc::UnboundedSender<SandboxId>, mpsc::UnboundedReceiver<SandboxId>),
    phase: watch::Sender<Phase>,
    hits: u64,
    misses: u64,
    /// Why things could not be removed.
    failures: Vec<String>,
    /// Why the last one did not come up.
    trouble: Option<Error>,
}

impl<'e> Pool<'e> {
    /// # Errors
    /// When the running program cannot be told from others.
    pub(super) fn new(
        engine: &'e Engine,
        size: PoolSize,
        named: Vec<Wish>,
        phase: watch::Sender<Phase>,
    ) -> Result<Self> {
        Ok(Self {
            engine,
            build: Build::this(&engine.host)?,
            shelf: Shelf::new(size, named, Instant::now()),
            lent: BTreeMap::new(),
            waiters: Vec::new(),
            boots: JoinSet::new(),
            watches: JoinSet::new(),
            endings: JoinSet::new(),
            returns: mpsc::unbounded_channel(),
            phase,
            hits: 0,
            misses: 0,
            failures: Vec::new(),
            trouble: None,
        })
    }

    /// Works until it was stopped and nothing is left; the answer is what could not be removed. `filled` is called once
    /// everything that was named is warm.
    ///
    /// # Errors
    /// Why something that was named did not come up the first time: then nothing of the pool is left either.
    pub(super) async fn run(
        mut self,
        mut demands: mpsc::Receiver<Demand>,
        mut terminated: impl AsyncFnMut(),
        filled: impl FnOnce(),
    ) -> Result<Vec<String>> {
        let mut filled = Some(filled);
        let mut failed = None;
        loop {
            self.proceed();
            if filled.is_some() && !self.is_stopping() {
                if self.shelf.is_full() {
                    filled.take().into_iter().for_each(|filled| filled());
                } else if let Some(error) = self.trouble.take() {
                    failed = Some(error);
                    self.stop();
                    self.return_all();
                }
            }
            if self.is_stopping() && self.is_empty() {
                break;
            }
            let event = self.event(&mut demands, &mut terminated).await;
            self.handle(event);
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(self.failures),
        }
    }

    async fn event(
        &mut self,
        demands: &mut mpsc::Receiver<Demand>,
        terminated: &mut impl AsyncFnMut(),
    ) -> Event {
        let deadline = self.shelf.deadline(Instant::now());
        let time = async {
            match deadline {
                Some(at) => sleep_until(at).await,
                None => pending().await,
            }
        };
        tokio::select! {
            Some(demand) = demands.recv() => Event::Demand(demand),
            Some(id) = self.returns.1.recv() => Event::Returned(id),
            Some(Ok((key, booted))) = self.boots.join_next() => Event::Booted(key, booted),
            // An error is a watch that was called off.
            Some(watched) = self.watches.join_next() => watched.map_or(Event::Nothing, Event::EndedByItself),
            Some(removed) = self.endings.join_next() => Event::Removed(
                removed.unwrap_or_else(|e| Err(Error::internal("a removal was cut off").with_source(e)))
            ),
            () = time => Event::Nothing,
            () = terminated() => Event::Terminated,
        }
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Demand(demand) => self.serve(demand, now),
            Event::Returned(id) => {
                let returned = self.lent.remove(&id);
                self.end(returned);
            }
            Event::Booted(key, Ok(warm)) => self.place(&key, warm, now),
            Event::Booted(key, Err(error)) => self.note_failure(&key, error, now),
            Event::EndedByItself(id) => {
                // One that is lent is its borrower's, who sees it end.
                let dead = self.shelf.ended(|warm| warm.id() == id, now);
                self.end(dead);
            }
            Event::Removed(Ok(())) | Event::Nothing => {}
            Event::Removed(Err(error)) => {
                if self.failures.len() < MAX_FAILURES {
                    self.failures.push(short(&error.to_string()));
                }
            }
            Event::Terminated => {
                self.stop();
                self.return_all();
            }
        }
    }

    fn serve(&mut self, demand: Demand, now: Instant) {
        self.dismiss();
        match demand {
            Demand::Take(key, answer) => self.take(key, answer, now),
            Demand::Want(wish) => self.want(*wish, now),
            Demand::Status(answer) => {
                let _left = answer.send(self.status());
            }
            Demand::Stop(answer) => {
                self.stop();
                let _left = answer.send(self.lent.len());
            }
        }
    }

    fn take(&mut self, key: Key, answer: oneshot::Sender<Option<Loan>>, now: Instant) {
        if self.lent.len() + self.waiters.len() >= MAX_LENT {
            return self.turn_away(answer);
        }
        match self.shelf.take(&key, now) {
            Taken::Warm(warm) => self.lend(warm, answer),
            Taken::Soon => self.waiters.push(Waiter { key, answer }),
            Taken::None => self.turn_away(answer),
        }
    }

    fn lend(&mut self, warm: Warm, answer: oneshot::Sender<Option<Loan>>) {
        self.hits += 1;
        let loan = Loan::new(warm.lent(), self.returns.0.clone());
        self.lent.insert(warm.id(), warm);
        // A borrower that has left drops the loan, which gives it back.
        let _left = answer.send(Some(loan));
    }

    fn turn_away(&mut self, answer: oneshot::Sender<Option<Loan>>) {
        self.misses += 1;
        let _left = answer.send(None);
    }

    /// Sends those on their own way for whom nothing comes up any more, and forgets those who have left.
    fn dismiss(&mut self) {
        for waiter in std::mem::take(&mut self.waiters) {
            let Waiter { key, answer } = waiter;
            if answer.is_closed() {
                self.shelf.leave(&key);
                self.misses += 1;
            } else if self.waiters.iter().filter(|w| w.key == key).count() >= self.shelf.awaited(&key) {
                self.turn_away(answer);
            } else {
                self.waiters.push(Waiter { key, answer });
            }
        }
    }

    /// Only what this daemon would make as the one who wants it does: others may speak to another engine than we do.
    fn want(&mut self, wish: Wish, now: Instant) {
        if self.is_stopping() {
            return;
        }
        let recipe = &wish.recipe;
        let means = recipe
            .check()
            .and_then(|()| recipe.find_backend(self.engine))
            .and_then(|_| recipe.resolve(self.engine, &self.build));
        if means.is_ok_and(|(_, key)| key == wish.key) {
            let surplus = self.shelf.want(wish, now);
            self.end(surplus);
        }
    }

    fn status(&self) -> DaemonStatus {
        let size = self.shelf.size();
        let kinds = self.shelf.kept().map(|kept| KindStatus {
            backend: kept.wish.recipe.backend().to_string(),
            image: short(&kept.wish.recipe.spec().image.to_string()),
            profile: kept.wish.recipe.spec().policy.profile.to_string(),
            warm: kept.warm,
            trouble: kept.trouble.map(str::to_owned),
        });
        DaemonStatus {
            pid: std::process::id(),
            phase: *self.phase.borrow(),
            warm: self.shelf.warm(),
            in_use: self.lent.len(),
            min_warm: size.min(),
            max_warm: size.max(),
            hits: self.hits,
            misses: self.misses,
            kinds: kinds.collect(),
        }
    }

    /// Does what is to be done without waiting for anything.
    fn proceed(&mut self) {
        let now = Instant::now();
        let overdue = self.shelf.overdue(now);
        self.end(overdue);
        self.dismiss();
        while !self.is_stopping() && self.boots.len() < BOOTS {
            match self.shelf.next(now) {
                None => break,
                Some(Step::Evict(warm)) => self.end([warm]),
                Some(Step::Boot(wish)) => self.boot(&wish, now),
            }
        }
    }

    fn boot(&mut self, wish: &Wish, now: Instant) {
        match warm::plan(self.engine, &self.build, wish) {
            Ok(Meaning::Startable(plan)) => {
                let (key, phase) = (wish.key.clone(), self.phase.subscribe());
                self.boots.spawn(async move { (key, warm::bring_up(*plan, phase).await) });
            }
            Ok(Meaning::Other(key)) => {
                let outdated = self.shelf.rename(&wish.key, key);
                self.end(outdated);
            }
            Err(error) => self.note_failure(&wish.key, error, now),
        }
    }

    /// Gives what came up to whoever waits for it, or keeps it warm.
    fn place(&mut self, key: &Key, mut warm: Warm, now: Instant) {
        if self.is_stopping() {
            return self.end([warm]);
        }
        warm.watch(|sandbox, id| {
            self.watches.spawn(async move {
                sandbox.gone().await;
                id
            })
        });
        // Those who left meanwhile get nothing.
        self.dismiss();
        match self.shelf.booted(key, warm, now) {
            Placed::Kept => {}
            Placed::Surplus(warm) => self.end([warm]),
            Placed::Awaited(warm) => match self.waiters.iter().position(|waiter| waiter.key == *key) {
                Some(first) => {
                    let waiter = self.waiters.remove(first);
                    self.lend(warm, waiter.answer);
                }
                None => self.end([warm]),
            },
        }
    }

    fn note_failure(&mut self, key: &Key, error: Error, now: Instant) {
        self.shelf.failed(key, short(&error.to_string()), now);
        self.trouble = Some(error);
    }

    fn end(&mut self, sandboxes: impl IntoIterator<Item = Warm>) {
        for warm in sandboxes {
            self.endings.spawn(warm.end());
        }
    }

    fn is_stopping(&self) -> bool {
        *self.phase.borrow() == Phase::Stopping
    }

    fn is_empty(&self) -> bool {
        self.lent.is_empty() && self.boots.is_empty() && self.endings.is_empty()
    }

    /// From here on nothing is lent or started.
    fn stop(&mut self) {
        self.phase.send_replace(Phase::Stopping);
        let warm = self.shelf.clear();
        self.end(warm);
    }

    /// Ends also those whose commands run.
    fn return_all(&mut self) {
        let lent = std::mem::take(&mut self.lent);
        self.end(lent.into_values());
    }
}
