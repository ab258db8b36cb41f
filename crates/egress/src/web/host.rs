//! Whom a request is meant for, compared with where its connection goes.

use super::Place;
use hyper::{
    Request,
    header::HOST,
    http::uri::{Authority, Scheme},
};
use std::net::IpAddr;

/// Whether every place of `request` that names a host names `place`, and at least one does. Without this a request could be
/// decided for one host and served by another that shares its address (domain fronting, coalesced connections).
pub(super) fn is_meant_for<B>(request: &Request<B>, place: &Place) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || (host.is_none() && request.uri().authority().is_none()) {
        return false;
    }
    let header = host.is_none_or(|host| {
        host.to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .is_some_and(|authority| names(&authority, place))
    });
    header && request.uri().authority().is_none_or(|authority| names(authority, place))
}

fn names(authority: &Authority, place: &Place) -> bool {
    if authority.as_str().contains('@') {
        return false;
    }
    let Some(port) = port(authority) else { return false };
    port.is_none_or(|port| port == place.address.port()) && same(host(authority), &place.name)
}

/// `None` where there is one that is none; a port that is left out may be any.
fn port(authority: &Authority) -> Option<Option<u16>> {
    let rest = authority.as_str().rsplit_once(']').map_or(authority.as_str(), |(_, rest)| rest);
    match rest.split_once(':') {
        None | Some((_, "")) => Some(None),
        Some((_, digits)) if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().ok().map(Some),
        Some(_) => None,
    }
}

/// Without brackets and without a dot at its end.
pub(super) fn host(authority: &Authority) -> &str {
    let host = authority.host();
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.strip_suffix('.').unwrap_or(host)
}

fn same(host: &str, name: &str) -> bool {
    host.eq_ignore_ascii_case(name)
        || matches!((host.parse::<IpAddr>(), name.parse::<IpAddr>()), (Ok(a), Ok(b)) if a == b)
}

/// As it is sent to the other side, whatever the client wrote.
pub(super) fn authority(place: &Place, scheme: &Scheme) -> String {
    let bracketed = place.name.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    let name = if bracketed { format!("[{}]", place.name) } else { place.name.clone() };
    let usual = if *scheme == Scheme::HTTPS { 443 } else { 80 };
    match place.address.port() {
        port if port == usual => name,
        port => format!("{name}:{port}"),
    }
}

#[cfg(test)]
#[path = "host_tests.rs"]
mod tests;
