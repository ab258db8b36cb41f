use super::*;
use crate::daemon::{key::Key, recipe::Recipe};

/// A kind of sandbox, by a hexadecimal digit. Its working directory tells its recipe from others.
fn wish(digit: char) -> Wish {
    recipe_under(digit, digit)
}

fn recipe_under(recipe: char, key: char) -> Wish {
    let spec = serde_json::json!({
        "image": "host", "workspace": "none", "env": [], "workdir": format!("/{recipe}"), "user": null, "ports": [],
        "policy": agentkernel_model::policy::EffectivePolicy::of_profile(Default::default()),
        "isolation": "any", "lifetime": "ephemeral",
    });
    let recipe = serde_json::json!({
        "backend": "one", "spec": spec, "image": null, "facts": { "path": [], "home": null },
    });
    let recipe: Recipe = serde_json::from_value(recipe).unwrap();
    recipe.check().unwrap();
    Wish { key: key_of(key), recipe }
}

fn key_of(digit: char) -> Key {
    Key::try_from(digit.to_string().repeat(64)).unwrap()
}

fn shelf(min: usize, max: usize, named: &str) -> (Shelf<u32>, Instant) {
    let now = Instant::now();
    let size = PoolSize::new(Some(min), Some(max)).unwrap();
    (Shelf::new(size, named.chars().map(wish).collect(), now), now)
}

/// Boots all that is to be booted, each with the next number; what was evicted is returned.
fn fill(shelf: &mut Shelf<u32>, numbers: &mut u32, now: Instant) -> Vec<u32> {
    let mut evicted = Vec::new();
    while let Some(step) = shelf.next(now) {
        match step {
            Step::Evict(sandbox) => evicted.push(sandbox),
            Step::Boot(wish) => {
                *numbers += 1;
                assert_eq!(shelf.booted(&wish.key, *numbers, now), Placed::Kept);
            }
        }
        assert!(shelf.total() <= shelf.size().max());
    }
    evicted
}

/// The one that is warm.
fn take(shelf: &mut Shelf<u32>, digit: char, now: Instant) -> Option<u32> {
    match shelf.take(&key_of(digit), now) {
        Taken::Warm(sandbox) => Some(sandbox),
        Taken::Soon | Taken::None => None,
    }
}

/// Begins to boot one.
fn begin(shelf: &mut Shelf<u32>, now: Instant) -> bool {
    matches!(shelf.next(now), Some(Step::Boot(_)))
}

/// How many of each are warm, in order.
fn warm(shelf: &Shelf<u32>) -> Vec<usize> {
    shelf.kept().map(|kept| kept.warm).collect()
}

#[test]
fn each_is_taken_once_and_replaced() {
    let (mut shelf, now) = shelf(3, 5, "a");
    let mut numbers = 0;
    assert!(!shelf.is_full());
    assert!(fill(&mut shelf, &mut numbers, now).is_empty());
    assert!(shelf.is_full());
    assert_eq!((warm(&shelf), shelf.warm()), (vec![3], 3));
    assert_eq!([0; 4].map(|_| take(&mut shelf, 'a', now)), [Some(1), Some(2), Some(3), None]);
    assert_eq!(take(&mut shelf, 'b', now), None);
    fill(&mut shelf, &mut numbers, now);
    assert_eq!(take(&mut shelf, 'a', now), Some(4));
}

#[test]
fn never_more_are_booted_than_there_is_room_for() {
    let (mut shelf, now) = shelf(3, 5, "a");
    for _ in 0..3 {
        assert!(matches!(shelf.next(now), Some(Step::Boot(_))));
    }
    assert!(shelf.next(now).is_none(), "those under way count");
}

#[test]
fn kinds_share_and_the_one_asked_for_longest_ago_gives_way() {
    let (mut shelf, now) = shelf(3, 5, "");
    let mut numbers = 0;
    let mut ended = 0;
    for (digit, counts, evicted) in [
        ('a', vec![3], 0),
        // Nothing is thrown away as long as there is room.
        ('b', vec![2, 3], 0),
        ('c', vec![1, 2, 2], 1),
        ('d', vec![1, 1, 2, 1], 1),
        ('e', vec![1, 1, 1, 1, 1], 1),
        ('f', vec![1, 1, 1, 1, 1], 1),
    ] {
        let mut gone = shelf.want(wish(digit), now);
        gone.extend(fill(&mut shelf, &mut numbers, now));
        assert_eq!((warm(&shelf), gone.len()), (counts, evicted), "{digit}");
        ended += gone.len();
    }
    assert_eq!(take(&mut shelf, 'a', now), None, "it was forgotten");
    assert!(take(&mut shelf, 'b', now).is_some());
    assert_eq!(numbers, u32::try_from(ended).unwrap() + 5);
    // Asked for last, it is the last to be forgotten.
    fill(&mut shelf, &mut numbers, now);
    for digit in "0123".chars() {
        shelf.want(wish(digit), now);
    }
    assert!(take(&mut shelf, 'b', now).is_some());
}

#[test]
fn asking_in_turn_throws_nothing_away() {
    let (mut shelf, now) = shelf(3, 5, "");
    let mut numbers = 0;
    shelf.want(wish('a'), now);
    shelf.want(wish('b'), now);
    for digit in "abababab".chars() {
        fill(&mut shelf, &mut numbers, now);
        let before = numbers;
        assert!(take(&mut shelf, digit, now).is_some());
        assert!(fill(&mut shelf, &mut numbers, now).is_empty());
        assert_eq!(numbers, before + 1);
    }
}

#[test]
fn what_is_old_is_made_anew() {
    let (mut shelf, now) = shelf(2, 2, "a");
    let mut numbers = 0;
    fill(&mut shelf, &mut numbers, now);
    assert_eq!(shelf.deadline(now), Some(now + MAX_AGE));
    let before = now + MAX_AGE - Duration::from_millis(1);
    assert!(shelf.overdue(before).is_empty());
    assert_eq!(shelf.overdue(now + MAX_AGE), [1, 2]);
    fill(&mut shelf, &mut numbers, now + MAX_AGE);
    assert_eq!(shelf.deadline(now + MAX_AGE), Some(now + 2 * MAX_AGE));
    assert_eq!(shelf.overdue(now + FORGOTTEN * 10), [3, 4]);
    assert_eq!(warm(&shelf), [0], "what was named is never forgotten");
}

#[test]
fn what_nobody_asks_for_is_forgotten() {
    let (mut shelf, now) = shelf(1, 2, "");
    shelf.want(wish('a'), now);
    shelf.want(wish('b'), now + FORGOTTEN / 2);
    assert!(shelf.overdue(now + FORGOTTEN).is_empty());
    assert_eq!(warm(&shelf), [0]);
    assert_eq!(shelf.deadline(now + FORGOTTEN), Some(now + FORGOTTEN / 2 + FORGOTTEN));
}

#[test]
fn failures_are_followed_by_patience() {
    let (mut shelf, mut now) = shelf(1, 1, "a");
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(matches!(shelf.next(now), Some(Step::Boot(_))));
        shelf.failed(&key_of('a'), "no room".to_owned(), now);
        assert_eq!(shelf.kept().next().unwrap().trouble, Some("no room"));
        assert!(shelf.next(now).is_none());
        let next = now + Duration::from_secs(seconds);
        assert_eq!(shelf.deadline(now), Some(next));
        assert_eq!(shelf.deadline(next), None, "no deadline in the past: it is there to be done");
        now = next;
    }
    assert!(matches!(shelf.next(now), Some(Step::Boot(_))));
    assert_eq!(shelf.booted(&key_of('a'), 1, now), Placed::Kept);
    assert_eq!(shelf.kept().next().unwrap().trouble, None);
    // One that ends again and again is no success.
    assert_eq!(shelf.ended(|sandbox| *sandbox == 1, now), Some(1));
    assert_eq!(shelf.deadline(now), Some(now + Duration::from_secs(60)));
    assert_eq!(shelf.ended(|sandbox| *sandbox == 1, now), None);
    now += Duration::from_secs(60);
    let mut numbers = 1;
    fill(&mut shelf, &mut numbers, now);
    assert_eq!(take(&mut shelf, 'a', now), Some(2));
    assert!(shelf.next(now).is_some(), "one that was of use is followed by the next at once");
}

#[test]
fn the_same_recipe_under_another_key_takes_the_place_of_the_old() {
    for named in ["a", ""] {
        let (mut shelf, now) = shelf(2, 2, named);
        let mut numbers = 0;
        shelf.want(wish('a'), now);
        fill(&mut shelf, &mut numbers, now);
        let late = take(&mut shelf, 'a', now);
        assert!(late.is_some() && matches!(shelf.next(now), Some(Step::Boot(_))));
        assert_eq!(shelf.want(recipe_under('a', 'b'), now), [2]);
        assert_eq!(
            shelf.booted(&key_of('a'), 9, now),
            Placed::Surplus(9),
            "it was under way under the old key"
        );
        fill(&mut shelf, &mut numbers, now);
        assert!(take(&mut shelf, 'b', now).is_some());
        let renamed = shelf.rename(&key_of('b'), key_of('c'));
        assert_eq!((renamed.len(), shelf.warm()), (1, 0));
        assert!(shelf.rename(&key_of('b'), key_of('d')).is_empty());
    }
}

#[test]
fn a_kind_that_becomes_another_that_is_known_is_given_up() {
    let (mut shelf, now) = shelf(1, 2, "");
    let mut numbers = 0;
    shelf.want(wish('a'), now);
    shelf.want(wish('b'), now);
    fill(&mut shelf, &mut numbers, now);
    assert_eq!(shelf.rename(&key_of('a'), key_of('b')).len(), 1);
    assert_eq!(warm(&shelf), [1]);
}

#[test]
fn what_is_named_twice_counts_once_and_never_gives_way() {
    let (mut shelf, now) = shelf(2, 4, "aab");
    let mut numbers = 0;
    fill(&mut shelf, &mut numbers, now);
    assert_eq!(warm(&shelf), [2, 2]);
    // What runs ask for finds room beside it.
    for (digit, counts) in [('c', vec![1, 2, 1]), ('d', vec![1, 1, 1, 1]), ('e', vec![1, 1, 1, 1])] {
        shelf.want(wish(digit), now);
        fill(&mut shelf, &mut numbers, now);
        assert_eq!(warm(&shelf), counts, "{digit}");
    }
    for (digit, there) in [('a', true), ('b', true), ('c', false), ('d', true), ('e', true)] {
        assert_eq!(take(&mut shelf, digit, now).is_some(), there, "{digit}");
    }
    shelf.overdue(now + FORGOTTEN);
    assert_eq!(warm(&shelf).len(), 2);
}

#[test]
fn where_everything_is_named_nothing_else_is_kept() {
    let (mut shelf, now) = shelf(1, 1, "a");
    fill(&mut shelf, &mut 0, now);
    assert!(shelf.want(wish('c'), now).is_empty());
    assert_eq!(
        (warm(&shelf), take(&mut shelf, 'c', now), take(&mut shelf, 'a', now)),
        (vec![1], None, Some(1))
    );
}

#[test]
fn who_comes_while_one_boots_gets_that_one() {
    let (mut shelf, now) = shelf(2, 2, "a");
    let key = key_of('a');
    assert_eq!(shelf.take(&key, now), Taken::None, "nothing is under way");
    assert!(begin(&mut shelf, now));
    assert_eq!(shelf.take(&key, now), Taken::Soon);
    assert_eq!(shelf.take(&key, now), Taken::None, "it is spoken for");
    assert!(begin(&mut shelf, now) && begin(&mut shelf, now), "what will not be warm is in nobody's way");
    assert!(!begin(&mut shelf, now));
    assert_eq!(shelf.booted(&key, 1, now), Placed::Awaited(1));
    assert_eq!([2, 3].map(|number| shelf.booted(&key, number, now)), [Placed::Kept, Placed::Kept]);
    assert_eq!((warm(&shelf), shelf.awaited(&key)), (vec![2], 0));
}

#[test]
fn who_waits_in_vain_is_not_counted_any_more() {
    let (mut shelf, now) = shelf(2, 2, "");
    let (key, other) = (key_of('a'), key_of('b'));
    shelf.want(wish('a'), now);
    for (round, end) in [1_u32, 2, 3].into_iter().zip(["leaves", "fails", "changes"]) {
        let now = now + FORGOTTEN / 4 * round;
        assert!(begin(&mut shelf, now), "{end}");
        assert_eq!((shelf.take(&key, now), shelf.awaited(&key)), (Taken::Soon, 1));
        match end {
            "leaves" => {
                shelf.leave(&key);
                assert_eq!(shelf.booted(&key, round, now), Placed::Kept);
                assert_eq!(take(&mut shelf, 'a', now), Some(round));
            }
            "fails" => shelf.failed(&key, "no room".to_owned(), now),
            _ => assert!(shelf.rename(&key, other.clone()).is_empty()),
        }
        assert_eq!((shelf.awaited(&key), shelf.awaited(&other)), (0, 0), "{end}");
    }
}

#[test]
fn nothing_is_left_when_it_is_cleared() {
    let (mut shelf, now) = shelf(2, 2, "a");
    let mut numbers = 0;
    fill(&mut shelf, &mut numbers, now);
    assert!(matches!(take(&mut shelf, 'a', now), Some(1)));
    assert!(matches!(shelf.next(now), Some(Step::Boot(_))));
    assert_eq!(shelf.clear(), [2]);
    assert_eq!(shelf.booted(&key_of('a'), 3, now), Placed::Surplus(3));
    assert!(shelf.next(now).is_none() && shelf.is_full() && shelf.deadline(now).is_none());
}
