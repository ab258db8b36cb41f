//! Requests to one place, over connections that are kept.

use super::{
    Denied, Judge, Place, Roads,
    account::Account,
    answer::{self, Answer},
    book::Book,
    check::{self, Refused},
    headers, host,
    inject::{self, Injected},
    outgoing::{self, Answered},
    sides::{Activity, Busy},
    tasks::Spawner,
    upload::Upload,
    upstream::{Dialer, Failure, Leg, Protocol},
};
use crate::observer::Outcome;
use agentkernel_model::secret::SecretName;
use hyper::{
    Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{self, HeaderValue},
    http::uri::{PathAndQuery, Scheme},
    upgrade::OnUpgrade,
};
use std::{
    io,
    sync::{
        Arc, Mutex as StdMutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::Mutex;

/// One client's way to one place. HTTP/1.1 or HTTP/2 is spoken on both sides alike, so that nothing has to be translated.
pub(super) struct Session {
    pub(super) dialer: Arc<Dialer>,
    pub(super) judge: Arc<dyn Judge>,
    /// Where the client's own connection is none to the place, those that are made for it are accounted for here.
    pub(super) roads: Option<Arc<dyn Roads>>,
    pub(super) place: Place,
    pub(super) scheme: Scheme,
    pub(super) protocol: Protocol,
    pub(super) slot: Mutex<Slot>,
    pub(super) shared: Shared,
}

/// What all sessions of one client have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) activity: Arc<Activity>,
    pub(super) fate: Arc<Fate>,
    /// Connections to the other side: they end with the client.
    pub(super) legs: Spawner,
    /// Streams behind an upgrade: the client ends with them.
    pub(super) tunnels: Spawner,
}

/// A connection that waits for a request.
pub(super) enum Slot {
    Empty,
    Waiting(Leg),
    /// The last attempt failed, and nobody was told yet.
    Failed(Failure),
}

/// How it went with the other side.
#[derive(Default)]
pub(super) struct Fate {
    reached: AtomicBool,
    failed: StdMutex<Option<io::ErrorKind>>,
    end: StdMutex<Option<Outcome>>,
}

impl Fate {
    pub(super) fn reached(&self) {
        self.reached.store(true, Ordering::Relaxed);
    }

    pub(super) fn failed(&self, kind: io::ErrorKind) {
        *self.failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(kind);
    }

    /// The client's connection has ended.
    pub(super) fn ended(&self, outcome: Outcome) {
        *self.end.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
    }

    /// How the client's connection ended; it was cut where nobody said.
    pub(super) fn end(&self) -> Outcome {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(Outcome::Cut)
    }

    /// The failure, where there was nothing else.
    pub(super) fn unreachable(&self) -> Option<io::ErrorKind> {
        let failed = *self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.filter(|_| !self.reached.load(Ordering::Relaxed))
    }
}

impl Session {
    /// Checks, judges and sends `request`; tells the judge what came of it.
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let busy = self.shared.activity.begin();
        let mut account = Account::open(&self.judge, &self.place, &request);
        let refused = check::check(&request, &self.place, self.protocol).err().or_else(|| {
            let (rule, why) = match self.judged(&request) {
                Ok(rule) => (rule, None),
                Err(Denied { rule, why }) => (rule, Some(why)),
            };
            account.decided(rule);
            why.map(|why| Refused::new(StatusCode::FORBIDDEN, why))
        });
        match refused {
            Some(refused) => refuse(account, &refused),
            None => self.pass(request, account, busy).await,
        }
    }

    /// By its method, and by any that it asks the service to take it for.
    fn judged(&self, request: &Request<Incoming>) -> Result<Option<String>, Denied> {
        let path = request.uri().path();
        let rule = self.judge.request(&self.place, request.method().as_str(), path)?;
        for method in headers::other_methods(request.headers()) {
            self.judge.request(&self.place, &method, path)?;
        }
        Ok(rule)
    }

    async fn pass(
        &self,
        mut request: Request<Incoming>,
        mut account: Account,
        busy: Busy,
    ) -> Response<Answer> {
        let upgrade =
            (self.protocol == Protocol::Http1).then(|| headers::upgrade(request.headers())).flatten();
        let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let is_head = request.method() == hyper::Method::HEAD;
        let secrets = self.judge.secrets(&self.place);
        let (request, injected) = match self.prepare(request, upgrade, secrets) {
            Ok(prepared) => prepared,
            Err(why) => return refuse(account, &Refused::new(StatusCode::BAD_GATEWAY, why)),
        };
        let names = injected.as_ref().map(|injected| injected.names.as_slice()).unwrap_or_default();
        match self.send(request, names, &mut account).await {
            Ok(response) => {
                account.answered(response.status());
                self.deliver(response, account, Exchange { injected, client, is_head, busy })
            }
            Err(failure) => {
                self.shared.fate.failed(failure.kind);
                if failure.is_untrusted {
                    return refuse(account, &Refused::new(failure.status, failure.text));
                }
                answer::sentence(failure.status, &failure.text)
            }
        }
    }

    /// The same request as one of this gateway's own: with its own framing, for one connection, with secrets.
    fn prepare(
        &self,
        request: Request<Incoming>,
        upgrade: Option<HeaderValue>,
        secrets: Vec<agentkernel_trust::Bound>,
    ) -> Result<(Request<Upload>, Option<Injected>), String> {
        let (mut parts, body) = request.into_parts();
        parts.extensions.clear();
        let map = &mut parts.headers;
        headers::strip(map);
        headers::strip_other_paths(map);
        // Was dealt with: reading the body is what tells the client to go on.
        map.remove(header::EXPECT);
        map.remove(header::HOST);
        // Certificates were verified where there is TLS: `reach` makes no connection otherwise.
        let injected = if self.scheme == Scheme::HTTPS {
            inject::inject(map, &self.place.name, secrets)?
        } else {
            inject::watch(map, &secrets)
        };
        let authority = host::authority(&self.place, &self.scheme);
        let mut path = parts.uri.path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        if let Some(injected) = injected.as_ref().filter(|injected| !injected.names.is_empty()) {
            path = inject::without_keys(path, injected);
        }
        let unsound = |_| "the request cannot be written".to_owned();
        match self.protocol {
            Protocol::Http1 => {
                parts.uri = Uri::from(path);
                parts.version = hyper::Version::HTTP_11;
                map.insert(header::HOST, HeaderValue::from_str(&authority).map_err(|_| unsound(()))?);
                outgoing::connection(map, upgrade);
            }
            Protocol::Http2 => {
                parts.version = hyper::Version::HTTP_2;
                parts.uri = Uri::builder()
                    .scheme(self.scheme.clone())
                    .authority(authority)
                    .path_and_query(path)
                    .build()
                    .map_err(|_| unsound(()))?;
            }
        }
        let kept_out = injected.as_ref().map(|injected| injected.headers.clone()).unwrap_or_default();
        Ok((Request::from_parts(parts, Upload::new(body, kept_out)), injected))
    }

    /// A connection that was kept may have ended meanwhile: what it did not take is sent once more, over a new one, and so is
    /// what does the same twice (RFC 9110, section 9.2.2).
    async fn send(
        &self,
        mut request: Request<Upload>,
        secrets: &[SecretName],
        account: &mut Account,
    ) -> Result<Response<Incoming>, Failure> {
        loop {
            let (mut leg, is_kept) = self.leg(account.rule()).await?;
            account.sent(secrets);
            let again = if is_kept { outgoing::repeatable(&request) } else { None };
            let mut error = match leg.send(request).await {
                Ok(response) => {
                    self.keep(leg).await;
                    return Ok(response);
                }
                Err(error) => error,
            };
            match error.take_message().or(again) {
                Some(unsent) if is_kept => request = unsent,
                _ => return Err(Failure::of_answer(&self.place, &error.into_error())),
            }
        }
    }

    /// And whether it was used before. One that is made is accounted for by `rule`.
    async fn leg(&self, rule: Option<&str>) -> Result<(Leg, bool), Failure> {
        let mut slot = self.slot.lock().await;
        match std::mem::replace(&mut *slot, Slot::Empty) {
            Slot::Failed(failure) => return Err(failure),
            Slot::Waiting(mut leg) => {
                if leg.is_ready().await {
                    if let Leg::Http2(sender) = &leg {
                        *slot = Slot::Waiting(Leg::Http2(sender.clone()));
                    }
                    return Ok((leg, true));
                }
            }
            Slot::Empty => {}
        }
        // Others wait for this one connection rather than make their own.
        let book = self.roads.as_ref().map(|roads| {
            let mut ledger = roads.ledger(&self.place);
            ledger.name = Some(self.place.name.clone());
            ledger.rule = rule.map(str::to_owned);
            Book::open(ledger, Arc::clone(&self.shared.fate))
        });
        let (leg, _) =
            self.dialer.reach(&self.place, &self.scheme, &[self.protocol], &self.shared.legs, book).await?;
        self.shared.fate.reached();
        if let Leg::Http2(sender) = &leg {
            *slot = Slot::Waiting(Leg::Http2(sender.clone()));
        }
        Ok((leg, false))
    }

    async fn keep(&self, leg: Leg) {
        if matches!(leg, Leg::Http1(_)) {
            *self.slot.lock().await = Slot::Waiting(leg);
        }
    }

    fn deliver(
        &self,
        response: Response<Incoming>,
        account: Account,
        exchange: Exchange,
    ) -> Response<Answer> {
        let Exchange { injected, client, is_head, busy } = exchange;
        let name = &self.place.name;
        match (response.status(), client) {
            (StatusCode::SWITCHING_PROTOCOLS, Some(client)) => {
                self.switch(response, client, injected.as_ref(), busy)
            }
            (StatusCode::SWITCHING_PROTOCOLS, None) => {
                let why = format!("{name} changes to a protocol that it was not asked for");
                refuse(account, &Refused::new(StatusCode::BAD_GATEWAY, why))
            }
            _ => match outgoing::answer(response, injected.as_ref(), is_head, busy) {
                Answered::Passed(answer) => answer,
                Answered::Unreadable(encoding) => {
                    let why = format!("{name} answers in {encoding}");
                    refuse(account, &Refused::new(StatusCode::BAD_GATEWAY, why))
                }
            },
        }
    }

    /// From here on bytes pass both ways, unread.
    fn switch(
        &self,
        mut response: Response<Incoming>,
        client: OnUpgrade,
        injected: Option<&Injected>,
        busy: Busy,
    ) -> Response<Answer> {
        let server = hyper::upgrade::on(&mut response);
        self.shared.tunnels.spawn(outgoing::tunnel(client, server, busy));
        outgoing::switching(response, injected)
    }
}

fn refuse(mut account: Account, refused: &Refused) -> Response<Answer> {
    account.refused(&refused.why);
    answer::refusal(refused.status, &refused.why)
}

/// What is known about a request when its answer comes.
struct Exchange {
    injected: Option<Injected>,
    client: Option<OnUpgrade>,
    is_head: bool,
    busy: Busy,
}
