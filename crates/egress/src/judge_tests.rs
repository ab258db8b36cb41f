use super::*;
use crate::{HostGateway, Limits, Setup};
use agentkernel_model::egress::{EgressRules, Otherwise};
use std::{net::SocketAddr, time::Duration};

#[test]
fn a_connection_outlives_the_answer_that_led_to_it() {
    let rules = EgressRules { rules: Vec::new(), otherwise: Otherwise::Deny };
    let mut setup = Setup::of_host(rules, "").unwrap();
    setup.secrets =
        agentkernel_trust::resolve(&["KEY=hidden-value:api.x.com".parse().unwrap()], &[]).unwrap();
    let gateway = HostGateway::new(setup, Limits::of_process()).unwrap();
    let (shared, now) = (gateway.shared(), Instant::now());
    let address = SocketAddr::from(([93, 184, 215, 14], 443));
    let place = Place { name: "api.x.com".to_owned(), address };
    let before = RuleJudge::on(shared, &place);
    assert!(before.request(&place, "GET", "/").is_err(), "nobody was told this address");
    shared.pins.add("api.x.com", address.ip(), Duration::ZERO, now, |_| false);
    let judge = RuleJudge::on(shared, &place);
    // It is forgotten, as by time.
    for number in 0..10_000_u32 {
        shared.pins.add(
            "other.x.com",
            IpAddr::from((0x0800_0000 + number).to_be_bytes()),
            Duration::ZERO,
            now,
            |_| false,
        );
    }
    assert!(!shared.pins.has("api.x.com", address.ip(), now));
    assert_eq!(judge.request(&place, "GET", "/"), Ok(None), "it is let out beside the rules");
    assert_eq!(judge.secrets(&place).len(), 1);
    let elsewhere = Place { address: ([93, 184, 215, 15], 443).into(), ..place.clone() };
    assert!(judge.request(&elsewhere, "GET", "/").is_err() && judge.secrets(&elsewhere).is_empty());
    let late = RuleJudge::on(shared, &place);
    assert!(late.request(&place, "GET", "/").is_err() && late.secrets(&place).is_empty());
}
