//! UDP that goes nowhere. The rest is tried from inside real sandboxes.

use crate::support::{Lab, rules, soon};
use agentkernel_backend::{Ends, Packet};
use agentkernel_egress::{Outcome, Reason};
use agentkernel_model::egress::Otherwise;
use std::io::ErrorKind;

async fn rejected(lab: &mut Lab, outside: &str) {
    let ends = Ends { inside: "192.0.2.2:4000".parse().unwrap(), outside: outside.parse().unwrap() };
    lab.inside.packets.send(Packet { ends, payload: b"x".to_vec() }).await.unwrap();
    assert_eq!(soon(lab.inside.rejected.recv()).await, Some(ends));
}

#[tokio::test]
async fn what_goes_nowhere_is_told_once_however_often_it_is_tried() {
    let all = rules(&["allow udp:255.255.255.255", "allow udp:127.0.0.0/8"], Otherwise::Deny);
    let mut lab = Lab::new(all, Vec::new(), |_| {});
    // The kernel of this machine lets no socket speak to everybody that did not ask for it.
    for outside in ["255.255.255.255:9", "127.0.0.1:53", "10.0.0.1:9"].repeat(3) {
        rejected(&mut lab, outside).await;
    }
    let outcomes: Vec<Outcome> = lab.end().await.iter().map(|connection| connection.outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Unreachable(ErrorKind::PermissionDenied),
            Outcome::Refused(Reason::Resolver),
            Outcome::Refused(Reason::NotListed)
        ]
    );
}
