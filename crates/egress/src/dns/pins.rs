//! Which names this sandbox was told for which addresses. A rule that allows a name allows it there and nowhere else.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Programs keep addresses longer than they are told to; connections are not made in the second of the answer.
const LEAST: Duration = Duration::from_secs(600);
const MOST: Duration = Duration::from_secs(86_400);
/// Pairs of a name and an address. The oldest go first: a sandbox that asks for more loses its own. Those that rules forbid
/// something for go last: else a sandbox would get rid of them by asking for others.
const MAX: usize = 8192;
/// Names of one address, which are all asked about when something connects to it. The same of them.
const MAX_NAMES: usize = 32;

/// All of one sandbox. Names are in lower case, without a dot at their end.
#[derive(Debug, Default)]
pub(crate) struct Pins(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    names: HashMap<IpAddr, Vec<Pin>>,
    /// In the order in which they came.
    order: VecDeque<(IpAddr, Arc<str>)>,
}

#[derive(Debug)]
struct Pin {
    name: Arc<str>,
    until: Instant,
}

impl Pins {
    /// `name` leads to `ip` for as long as its answer says, within bounds. `forbids` says whether something is forbidden at the
    /// addresses of a name.
    pub(crate) fn add(
        &self,
        name: &str,
        ip: IpAddr,
        ttl: Duration,
        now: Instant,
        forbids: impl Fn(&str) -> bool,
    ) {
        let until = now + ttl.clamp(LEAST, MOST);
        let ip = ip.to_canonical();
        let mut table = self.table();
        let pins = table.names.entry(ip).or_default();
        if let Some(pin) = pins.iter_mut().find(|pin| &*pin.name == name) {
            pin.until = pin.until.max(until);
            return;
        }
        let name: Arc<str> = name.into();
        let first = |pins: &[Pin]| pins.iter().position(|pin| !forbids(&pin.name)).unwrap_or(0);
        let oldest = (pins.len() >= MAX_NAMES).then(|| pins.remove(first(pins)).name);
        pins.push(Pin { name: Arc::clone(&name), until });
        if let Some(oldest) = oldest {
            table.order.retain(|(at, name)| *at != ip || *name != oldest);
        }
        table.order.push_back((ip, name));
        if table.order.len() > MAX {
            table.forget_oldest(forbids);
        }
    }

    pub(crate) fn has(&self, name: &str, ip: IpAddr, now: Instant) -> bool {
        let table = self.table();
        let pins = table.names.get(&ip.to_canonical());
        pins.is_some_and(|pins| pins.iter().any(|pin| &*pin.name == name && pin.until > now))
    }

    /// The names that lead to `ip`.
    pub(crate) fn names(&self, ip: IpAddr, now: Instant) -> Vec<Arc<str>> {
        let table = self.table();
        let pins = table.names.get(&ip.to_canonical()).into_iter().flatten();
        pins.filter(|pin| pin.until > now).map(|pin| Arc::clone(&pin.name)).collect()
    }

    fn table(&self) -> std::sync::MutexGuard<'_, Table> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_oldest(&mut self, forbids: impl Fn(&str) -> bool) {
        let oldest = self.order.iter().position(|(_, name)| !forbids(name)).unwrap_or(0);
        let Some((ip, name)) = self.order.remove(oldest) else { return };
        if let Some(pins) = self.names.get_mut(&ip) {
            pins.retain(|pin| pin.name != name);
            if pins.is_empty() {
                self.names.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_holds_for_its_name_its_address_and_its_time() {
        let (pins, now) = (Pins::default(), Instant::now());
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        pins.add("a.com", ip, Duration::from_secs(3600), now, |_| false);
        pins.add("b.com", ip, Duration::ZERO, now, |_| false);
        assert!(pins.has("a.com", ip, now) && pins.has("a.com", "::ffff:192.0.2.1".parse().unwrap(), now));
        assert!(!pins.has("c.com", ip, now) && !pins.has("a.com", "192.0.2.2".parse().unwrap(), now));
        let names: Vec<String> = pins.names(ip, now).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a.com", "b.com"]);
        let later = now + Duration::from_secs(601);
        assert!(pins.has("a.com", ip, later) && !pins.has("b.com", ip, later));
    }

    #[test]
    fn an_address_has_the_newest_names() {
        let (pins, now) = (Pins::default(), Instant::now());
        let ip: IpAddr = "192.0.2.1".parse().unwrap();
        for n in 0..40 {
            pins.add(&format!("n{n}.com"), ip, Duration::ZERO, now, |_| false);
        }
        assert_eq!(pins.names(ip, now).len(), MAX_NAMES);
        assert!(!pins.has("n7.com", ip, now) && pins.has("n8.com", ip, now));
        assert_eq!(pins.table().order.len(), MAX_NAMES);
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let (pins, now) = (Pins::default(), Instant::now());
        let ip = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        for n in 0..MAX + 10 {
            pins.add("a.com", ip(n), Duration::ZERO, now, |_| false);
            pins.add("a.com", ip(n), Duration::ZERO, now, |_| false);
        }
        assert!(!pins.has("a.com", ip(9), now) && pins.has("a.com", ip(10), now));
        let table = pins.table();
        assert_eq!((table.order.len(), table.names.len()), (MAX, MAX));
    }

    #[test]
    fn what_forbids_something_is_not_got_rid_of_by_asking_for_others() {
        let (pins, now) = (Pins::default(), Instant::now());
        let ip = |n: usize| IpAddr::from(u32::try_from(n).unwrap().to_be_bytes());
        let forbids = |name: &str| name.starts_with("bound");
        pins.add("bound.com", ip(0), Duration::ZERO, now, forbids);
        for n in 0..=MAX_NAMES {
            pins.add(&format!("n{n}.com"), ip(0), Duration::ZERO, now, forbids);
        }
        assert!(pins.has("bound.com", ip(0), now) && !pins.has("n1.com", ip(0), now));
        assert_eq!(pins.names(ip(0), now).len(), MAX_NAMES);
        for n in 0..MAX {
            pins.add("a.com", ip(n + 1), Duration::ZERO, now, forbids);
        }
        assert!(pins.has("bound.com", ip(0), now) && !pins.has("a.com", ip(1), now));
        assert_eq!(pins.table().order.len(), MAX);
        // Where there are no others, they are bounded all the same.
        for n in 0..=MAX_NAMES {
            pins.add(&format!("bound{n}.com"), ip(0), Duration::ZERO, now, forbids);
        }
        assert_eq!(pins.names(ip(0), now).len(), MAX_NAMES);
    }
}
