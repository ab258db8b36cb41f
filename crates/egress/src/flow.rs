//! One TCP connection of a sandbox: decided, connected, copied.

use crate::{
    destination::Destination,
    dns,
    gateway::Shared,
    hello::{self, Hello},
    judge::RuleJudge,
    observer::{Ledger, Outcome},
    proxy,
    pump::pump,
    reason::Reason,
    refusal::{self, Refused},
    replay::Replay,
    ruleset::{Name, Ruleset, Ruling},
    web::Place,
};
use agentkernel_backend::{ByteStream, Flow};
use agentkernel_model::egress::{EgressRule, Protocol};
use rustix::net::sockopt;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpStream,
    sync::{OwnedSemaphorePermit, watch},
    time::timeout,
};

/// Silence after which the other end is asked whether it is still there, so that dead peers do not hold a place.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// Serves `flow` to its end, holding its place.
pub(crate) async fn serve(
    shared: Arc<Shared>,
    flow: Flow,
    _place: OwnedSemaphorePermit,
    ended: watch::Receiver<bool>,
) {
    let Flow { original_dst, io } = flow;
    // What the proxy is asked for is told by itself, and so are the connections that it makes; the way to it is none to the
    // outside.
    let observer = shared.observer.clone().filter(|_| original_dst != proxy::ADDRESS);
    let mut ledger = Ledger::open(observer, original_dst, Protocol::Tcp);
    if original_dst.port() == dns::PORT {
        ledger.outcome = Outcome::Resolver;
        dns::stream::serve(&shared, io, &ledger).await;
        return;
    }
    let visit = Visit { shared, ended };
    ledger.outcome = if original_dst == proxy::ADDRESS {
        proxy::serve(&visit, io, &ledger).await
    } else {
        visit.travel(io, original_dst, &mut ledger).await
    };
}

/// What a connection needs on its way.
#[derive(Clone)]
pub(crate) struct Visit {
    pub(crate) shared: Arc<Shared>,
    ended: watch::Receiver<bool>,
}

/// A connection on its way, and what was read of it.
struct Traveller<'a> {
    io: Box<dyn ByteStream>,
    seen: Vec<u8>,
    to: Destination,
    ledger: &'a mut Ledger,
}

/// What this sandbox was told about the address, and what that comes to where no name is said.
#[derive(Clone, Copy)]
struct Told<'a> {
    names: &'a [Arc<str>],
    unnamed: Ruling<'a>,
}

impl Visit {
    /// Takes `io` where the sandbox meant it to go, if it may go there, to its end.
    pub(crate) async fn travel(
        &self,
        io: Box<dyn ByteStream>,
        meant: SocketAddr,
        ledger: &mut Ledger,
    ) -> Outcome {
        let to = self.shared.destination(meant);
        let rules = self.shared.rules();
        let traveller = Traveller { io, seen: Vec::new(), to, ledger };
        if to.address.port() == dns::PORT {
            // Behind a proxy as well, DNS is the gateway's own.
            dns::stream::serve(&self.shared, traveller.io, traveller.ledger).await;
            return Outcome::Resolver;
        }
        if rules.needs_name(&to) {
            return self.named(traveller, &rules).await;
        }
        match rules.rule(&to, None, None) {
            Ruling::Allow(rule) => {
                traveller.ledger.rule = rule.map(ToString::to_string);
                self.pass(traveller, None).await
            }
            Ruling::Deny(rule, reason) => self.refuse(traveller, rule, reason, None).await,
            Ruling::Inspect(_) => self.refuse(traveller, None, Reason::Unreadable, None).await,
        }
    }

    /// Decides by what the connection says it is for. Nothing that it said is passed on before.
    async fn named(&self, mut traveller: Traveller<'_>, rules: &Ruleset) -> Outcome {
        let names = self.shared.pins.names(traveller.to.address.ip(), Instant::now());
        if let [name] = names.as_slice() {
            traveller.ledger.name = Some(name.to_string());
        }
        let unnamed = rules.rule_unnamed(&traveller.to, names.iter().map(AsRef::as_ref));
        let mut early = None;
        if let Ruling::Allow(rule) = unnamed {
            // The other side of some protocols speaks first, and then no name is said.
            let outside = match self.connect(traveller.to.address).await {
                Ok(outside) => outside,
                Err(e) => return Outcome::Unreachable(e.kind()),
            };
            let (mut chunk, mut first) = ([0; 4096], [0]);
            let said = tokio::select! {
                _ = outside.peek(&mut first) => 0,
                read = traveller.io.read(&mut chunk) => match read {
                    Ok(count) => count,
                    Err(e) => return Outcome::Broken(e.kind()),
                },
            };
            if said == 0 {
                traveller.ledger.rule = rule.map(ToString::to_string);
                return self.pass(traveller, Some(outside)).await;
            }
            traveller.seen.extend_from_slice(&chunk[..said]);
            early = Some(outside);
        }
        let patience = self.shared.limits.greeting;
        match hello::read(&mut traveller.io, &mut traveller.seen, patience).await {
            Ok(hello) => {
                let told = Told { names: &names, unnamed };
                self.greeted(traveller, rules, hello, told, early).await
            }
            Err(e) => match unnamed {
                Ruling::Deny(rule, reason) => {
                    traveller.ledger.rule = rule.map(ToString::to_string);
                    Outcome::Refused(reason)
                }
                _ => Outcome::Broken(e.kind()),
            },
        }
    }

    async fn greeted(
        &self,
        traveller: Traveller<'_>,
        rules: &Ruleset,
        hello: Hello,
        told: Told<'_>,
        early: Option<TcpStream>,
    ) -> Outcome {
        let name = match &hello {
            Hello::Tls(Some(name)) | Hello::Http(Some(name)) => Some(name.clone()),
            _ => None,
        };
        let (to, names) = (&traveller.to, || told.names.iter().map(AsRef::as_ref));
        let ruling = match (&name, &hello) {
            // An address in the place of a name says nothing more than the connection does.
            (Some(text), _) if text.parse::<IpAddr>().is_ok() => rules.rule_stranger(to, names(), None),
            (Some(text), _) => {
                let pinned = told.names.iter().any(|name| **name == **text);
                rules.rule_named(to, Name { text, pinned }, names(), None)
            }
            (None, Hello::Other) => told.unnamed,
            (None, _) => rules.rule_stranger(to, names(), None),
        };
        if name.is_some() {
            traveller.ledger.name.clone_from(&name);
        }
        // That of a refusal is written down with it.
        if let Ruling::Allow(rule) | Ruling::Inspect(rule) = ruling {
            traveller.ledger.rule = rule.map(ToString::to_string);
        }
        match (ruling, hello, name) {
            (Ruling::Deny(rule, reason), hello, _) => self.refuse(traveller, rule, reason, Some(hello)).await,
            (Ruling::Inspect(_), Hello::Tls(_), Some(name)) => {
                drop(early);
                self.open(traveller, name).await
            }
            (_, Hello::Http(_), Some(name)) => {
                drop(early);
                self.read_requests(traveller, name).await
            }
            (Ruling::Allow(_), _, _) => self.pass(traveller, early).await,
            (Ruling::Inspect(_), hello, _) => {
                self.refuse(traveller, None, Reason::Unreadable, Some(hello)).await
            }
        }
    }

    /// TLS whose requests are read on the way.
    async fn open(&self, traveller: Traveller<'_>, name: String) -> Outcome {
        let place = Place { name, address: traveller.to.address };
        let io = Box::new(Replay::new(traveller.seen, traveller.io));
        let judge = RuleJudge::on(&self.shared, &place);
        self.shared.web.open_tls(io, place, judge, traveller.ledger).await
    }

    /// HTTP in clear: each request on the connection could be for another host.
    async fn read_requests(&self, traveller: Traveller<'_>, name: String) -> Outcome {
        let place = Place { name, address: traveller.to.address };
        let io = Box::new(Replay::new(traveller.seen, traveller.io));
        let judge = RuleJudge::on(&self.shared, &place);
        self.shared.web.plain(io, place, judge, traveller.ledger).await
    }

    /// Copies, unseen.
    async fn pass(&self, traveller: Traveller<'_>, early: Option<TcpStream>) -> Outcome {
        let Traveller { io, seen, to, ledger } = traveller;
        let outside = match early {
            Some(outside) => Ok(outside),
            None => self.connect(to.address).await,
        };
        match outside {
            Ok(outside) => pump(io, seen, outside, ledger, &self.shared.budgets, self.ended.clone()).await,
            Err(e) => Outcome::Unreachable(e.kind()),
        }
    }

    /// Says why in the words of the protocol, where that is one with words for it.
    async fn refuse(
        &self,
        mut traveller: Traveller<'_>,
        rule: Option<&EgressRule>,
        reason: Reason,
        hello: Option<Hello>,
    ) -> Outcome {
        traveller.ledger.rule = rule.map(ToString::to_string);
        let greeted = match hello {
            Some(hello) => Some(hello),
            None if refusal::listens_first(traveller.to.address.port()) => None,
            None => {
                let patience = self.shared.limits.last_words;
                hello::read(&mut traveller.io, &mut traveller.seen, patience).await.ok()
            }
        };
        if let Some(Hello::Tls(name @ Some(_)) | Hello::Http(name @ Some(_))) = &greeted {
            traveller.ledger.name.clone_from(name);
        }
        let host = traveller.ledger.name.clone().unwrap_or_else(|| traveller.to.address.to_string());
        let why = Refused { host: &host, rule, reason }.to_string();
        let io = Box::new(Replay::new(traveller.seen, traveller.io));
        refusal::tell(io, greeted.as_ref(), &why).await;
        Outcome::Refused(reason)
    }

    async fn connect(&self, target: SocketAddr) -> io::Result<TcpStream> {
        let stream = timeout(self.shared.limits.connect, TcpStream::connect(target)).await??;
        // The sandbox has no say over Nagle's algorithm on this leg; waiting twice would cost a round trip.
        stream.set_nodelay(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
        Ok(stream)
    }
}
