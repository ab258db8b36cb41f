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
/// Pairs of a name and an address. The oldest go first: a sandbox that asks for more loses its own.
const MAX: usize = 8192;
/// Names of one address, which are all asked about when something connects to it.
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
    /// `name` leads to `ip` for as long as its answer says, within bounds.
    pub(crate) fn add(&self, name: &str, ip: IpAddr, ttl: Duration, now: Instant) {
        let until = now + ttl.clamp(LEAST, MOST);
        let ip = ip.to_canonical();
        let mut table = self.table();
        let pins = table.names.entry(ip).or_default();
        if let Some(pin) = pins.iter_mut().find(|pin| &*pin.name == name) {
            pin.until = pin.until.max(until);
            return;
        }
        let name: Arc<str> = name.into();
        let oldest = (pins.len() >= MAX_NAMES).then(|| pins.remove(0).name);
        pins.push(Pin { name: Arc::clone(&name), until });
        if let Some(oldest) = oldest {
            table.order.retain(|(at, name)| *at != ip || *name != oldest);
        }
        table.order.push_back((ip, name));
        if table.order.len() > MAX {
            table.forget_oldest();
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
    fn forget_oldest(&mut self) {
        let Some((ip, name)) = self.order.pop_front() else { return };
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
        pins.add("a.com", ip, Duration::from_secs(3600), now);
        pins.add("b.com", ip, Duration::ZERO, now);
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
            pins.add(&format!("n{n}.com"), ip, Duration::ZERO, now);
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
            pins.add("a.com", ip(n), Duration::ZERO, now);
            pins.add("a.com", ip(n), Duration::ZERO, now);
        }
        assert!(!pins.has("a.com", ip(9), now) && pins.has("a.com", ip(10), now));
        let table = pins.table();
        assert_eq!((table.order.len(), table.names.len()), (MAX, MAX));
    }
}
