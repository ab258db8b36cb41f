use super::*;
use agentkernel_egress::{Connection, Outcome};
use agentkernel_model::egress::Protocol;
use std::time::SystemTime;

fn name(name: &str) -> Entry {
    Entry::of_name(name, None)
}

fn connection(outcome: Outcome) -> Entry {
    Entry::of_connection(&Connection {
        started: SystemTime::now(),
        lasted: Duration::ZERO,
        protocol: Protocol::Tcp,
        destination: "93.184.215.14:443".parse().unwrap(),
        name: None,
        rule: None,
        outcome,
        sent: 0,
        received: 0,
    })
}

fn drained(queue: &mut Queue, until: Until) -> Vec<Entry> {
    std::iter::from_fn(|| queue.next(until)).collect()
}

/// What they stand for.
fn counts(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(Entry::lines).collect()
}

#[test]
fn a_flood_of_what_was_blocked_crowds_out_nothing_that_went_out() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for n in 0..60_000 {
        queue.push(name(&format!("h{n}.example.com")), now);
        queue.push(connection(Outcome::Resolver), now);
    }
    queue.push(connection(Outcome::Closed), now);
    let entries = drained(&mut queue, Until::TheEnd);
    assert_eq!(entries.iter().filter(|entry| entry.weight() == Weight::Heavy).count(), 1);
    assert_eq!(
        entries.len(),
        LIGHT_A_SECOND as usize + 2,
        "those of a second, one that went out, and a count"
    );
    assert_eq!(counts(&entries).iter().sum::<u64>(), 120_001);
    assert!(drained(&mut queue, Until::TheEnd).is_empty());
}

#[test]
fn a_second_has_its_own_room() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for second in 0..3 {
        for n in 0..LIGHT_A_SECOND + 1 {
            queue.push(name(&format!("{second}.{n}")), now + Duration::from_secs(second));
        }
    }
    let entries = drained(&mut queue, Until::TheEnd);
    assert_eq!(entries.len(), 3 * LIGHT_A_SECOND as usize + 1);
    assert_eq!(entries.last().unwrap().lines(), 3);
}

#[test]
fn what_waits_is_bounded_and_counted() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for _ in 0..WAITING + 5 {
        queue.push(connection(Outcome::Closed), now);
    }
    let soon = drained(&mut queue, Until::Now(now));
    assert_eq!(soon.len(), WAITING, "the count is told when it is due");
    assert_eq!(queue.due(), Some(now + MINUTE));
    let late = drained(&mut queue, Until::Now(now + MINUTE));
    assert_eq!(counts(&late), [5]);
    assert_eq!((late[0].weight(), queue.due()), (Weight::Heavy, None));
}

#[test]
fn a_count_that_could_not_be_written_is_counted_on() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for lines in [1, 1, 2] {
        queue.lose(&Entry::lost(lines, Weight::Light), now);
    }
    let told = queue.next(Until::TheEnd).unwrap();
    queue.lose(&told, now);
    queue.lose(&name("a.example.com"), now);
    assert_eq!(counts(&drained(&mut queue, Until::TheEnd)), [5]);
}

#[test]
fn a_name_that_is_asked_for_again_is_counted_for_a_minute() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for _ in 0..1000 {
        queue.push(name("a.example.com"), now);
    }
    assert_eq!(counts(&drained(&mut queue, Until::Now(now))), [1], "the first one at once");
    assert_eq!(queue.due(), Some(now + MINUTE));
    let later = drained(&mut queue, Until::Now(now + MINUTE));
    assert_eq!((counts(&later), later[0].asked_name()), (vec![999], Some("a.example.com")));
    // Asked for late, before anybody looked: both are told.
    queue.push(name("a.example.com"), now + MINUTE);
    queue.push(name("a.example.com"), now + MINUTE);
    queue.push(name("a.example.com"), now + 2 * MINUTE);
    assert_eq!(counts(&drained(&mut queue, Until::Now(now + 2 * MINUTE))), [1, 1, 1]);
    assert_eq!(queue.due(), None);
}

#[test]
fn names_that_are_counted_are_bounded() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for n in 0..2 * NAMES {
        queue.push(name(&n.to_string()), now + Duration::from_millis(n as u64 * 20));
    }
    assert_eq!(queue.light.names.len(), NAMES);
    queue.push(name("late"), now + 2 * MINUTE);
    assert_eq!(queue.light.names.len(), 1, "those whose minute is over make room");
}

#[test]
fn what_waits_for_room_is_not_tried_all_the_time() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    queue.lose(&connection(Outcome::Closed), now);
    queue.push(Entry::of_shortage(agentkernel_egress::Shortage::Descriptors), now);
    let later = now + 2 * MINUTE;
    let first = queue.next(Until::Now(later)).unwrap();
    queue.not_written(first, later);
    assert_eq!(queue.due(), Some(later + MINUTE), "what is counted cannot be written before it");
}

#[test]
fn names_that_left_have_room_of_their_own() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    for n in 0..1000 {
        queue.push(name(&format!("h{n}.example.com")), now);
        queue.push(connection(Outcome::Closed), now);
    }
    for n in 0..300 {
        queue.push(Entry::of_asked_name(&format!("data{n}.example.com")), now);
    }
    let entries = drained(&mut queue, Until::TheEnd);
    let of = |weight| entries.iter().filter(move |entry| entry.weight() == weight);
    assert_eq!(of(Weight::Heavy).count(), 1000, "connections are not crowded out");
    let asked: Vec<u64> = of(Weight::Name).map(Entry::lines).collect();
    assert_eq!((asked.len(), asked[100]), (LIGHT_A_SECOND as usize + 1, 200), "nor are they, by others");
}

#[test]
fn a_name_that_left_is_told_once_a_minute() {
    let (mut queue, now) = (Queue::default(), Instant::now());
    // IPv4 and IPv6.
    for _ in 0..2 {
        queue.push(Entry::of_asked_name("a.example.com"), now);
    }
    assert_eq!((counts(&drained(&mut queue, Until::TheEnd)), queue.due()), (vec![1], None));
    queue.push(name("a.example.com"), now);
    assert_eq!(counts(&drained(&mut queue, Until::Now(now))), [1], "one that is refused since is told");
    for _ in 0..7 {
        queue.push(Entry::of_asked_name("a.example.com"), now);
    }
    assert_eq!(queue.due(), Some(now + MINUTE));
    assert_eq!(counts(&drained(&mut queue, Until::Now(now + MINUTE))), [8]);
}
