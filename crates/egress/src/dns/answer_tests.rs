use super::{answer::addresses, message::Query};
use hickory_proto::{
    op::{Message, MessageType, OpCode, Query as Question},
    rr::{
        Name, RData, Record, RecordType,
        rdata::{A, AAAA, CNAME},
    },
};
use std::net::{IpAddr, Ipv4Addr};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn answer(asked: &str, records: &[(&str, RData)]) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.add_query(Question::query(name(asked), RecordType::A));
    for (owner, data) in records {
        message.add_answer(Record::from_rdata(name(owner), 60, data.clone()));
    }
    message.to_vec().unwrap()
}

fn alias(to: &str) -> RData {
    RData::CNAME(CNAME(name(to)))
}

fn v4(last: u8) -> RData {
    RData::A(A(Ipv4Addr::new(192, 0, 2, last)))
}

#[test]
fn addresses_of_the_name_and_of_its_aliases_in_any_order_and_no_others() {
    let answer = answer(
        "a.com.",
        &[
            ("c.com.", v4(1)),
            ("b.com.", alias("C.com.")),
            ("A.com.", alias("b.com.")),
            ("evil.com.", v4(2)),
            ("a.com.", RData::AAAA(AAAA("2001:db8::1".parse().unwrap()))),
        ],
    );
    let found: Vec<IpAddr> = addresses(&answer).into_iter().map(|(ip, _)| ip).collect();
    assert_eq!(found, ["192.0.2.1".parse::<IpAddr>().unwrap(), "2001:db8::1".parse().unwrap()]);
}

#[test]
fn a_circle_of_aliases_and_garbage_end() {
    let circle = answer("a.com.", &[("a.com.", alias("b.com.")), ("b.com.", alias("a.com."))]);
    assert!(addresses(&circle).is_empty());
    for length in 0..circle.len() {
        assert!(addresses(&circle[..length]).is_empty());
    }
}

#[test]
fn a_question_of_our_own_is_read_back() {
    let query = Query::about("api.example.com", super::message::Kind::V6).unwrap();
    assert_eq!(query.name().as_deref(), Some("api.example.com"));
    assert!(query.asks_for_ipv6());
    assert!(Query::about("a..b", super::message::Kind::V4).is_none());
    assert!(Query::about(&"a.".repeat(200), super::message::Kind::V4).is_none());
}

#[test]
fn the_sinkhole_is_an_address_for_whoever_asked_for_one() {
    let query = Query::about("evil.com", super::message::Kind::V4).unwrap();
    let answer = query.sinkhole(super::SINKHOLE);
    assert_eq!(addresses(&answer).len(), 1);
    assert_eq!(addresses(&answer)[0].0, IpAddr::V4(super::SINKHOLE));
    let query = Query::about("evil.com", super::message::Kind::V6).unwrap();
    assert!(addresses(&query.sinkhole(super::SINKHOLE)).is_empty());
}
