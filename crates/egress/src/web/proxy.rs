//! Requests to the gateway as a proxy: they lead to many places, over one connection of the client.

use super::{
    Denied, Judge, Place, Roads, Way,
    account::Account,
    answer::{self, Answer},
    host,
    session::{Session, Shared, Slot},
    upstream::{Dialer, Protocol},
};
use hyper::{
    Method, Request, Response, StatusCode, Uri,
    body::Incoming,
    header::{self, HeaderValue},
    http::uri::{Authority, PathAndQuery, Scheme},
};
use hyper_util::rt::TokioIo;
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};
use tokio::sync::Mutex;

pub(super) struct Proxy {
    pub(super) dialer: Arc<Dialer>,
    pub(super) roads: Arc<dyn Roads>,
    pub(super) judge: Arc<dyn Judge>,
    /// The place of the last request, whose connection is kept for the next.
    pub(super) last: Mutex<Option<Arc<Session>>>,
    pub(super) shared: Shared,
}

impl Proxy {
    pub(super) async fn answer(&self, request: Request<Incoming>) -> Response<Answer> {
        let busy = self.shared.activity.begin();
        match (request.method(), request.uri().scheme(), request.uri().authority().cloned()) {
            (&Method::CONNECT, None, Some(authority)) => self.connect(request, &authority, busy).await,
            (&Method::CONNECT, ..) => self.refuse(&request, None, none("CONNECT names a host and a port")),
            (_, Some(scheme), Some(authority)) if *scheme == Scheme::HTTP => {
                self.pass(request, &authority).await
            }
            (_, Some(scheme), Some(_)) if *scheme == Scheme::HTTPS => self.refuse(
                &request,
                None,
                none("a proxy is asked for https with CONNECT, and not with a whole URL"),
            ),
            _ => self.refuse(
                &request,
                None,
                none("this is a proxy: ask it with CONNECT, or with a whole URL of http"),
            ),
        }
    }

    async fn connect(
        &self,
        mut request: Request<Incoming>,
        authority: &Authority,
        busy: super::sides::Busy,
    ) -> Response<Answer> {
        let Some(port) = authority.port_u16().filter(|_| !authority.as_str().contains('@')) else {
            return self.refuse(&request, None, none("CONNECT names a host and a port"));
        };
        let Way { place, rule } = match self.roads.find(host::host(authority), port).await {
            Ok(way) => way,
            Err(denied) => return self.refuse(&request, Some((authority, port)), denied),
        };
        let mut account = Account::open(&self.judge, &place, &request);
        account.decided(rule);
        account.answered(StatusCode::OK);
        drop(account);
        let (client, roads) = (hyper::upgrade::on(&mut request), Arc::clone(&self.roads));
        self.shared.tunnels.spawn(async move {
            // Fails where the client is gone before it could be told.
            if let Ok(stream) = client.await {
                roads.tunnel(place, Box::new(TokioIo::new(stream))).await;
            }
            drop(busy);
        });
        self.shared.fate.reached();
        Response::new(Answer::empty())
    }

    async fn pass(&self, mut request: Request<Incoming>, authority: &Authority) -> Response<Answer> {
        let port = match authority.port() {
            None => 80,
            Some(port) => port.as_u16(),
        };
        // Which rule lets the request out is judged when it is read whole.
        let Way { place, .. } = match self.roads.find(host::host(authority), port).await {
            Ok(way) => way,
            Err(denied) => return self.refuse(&request, Some((authority, port)), denied),
        };
        if authority.as_str().contains('@') || !host::is_meant_for(&request, &place) {
            let why = format!("the request names {} and another host", place.name);
            Account::open(&self.judge, &place, &request).refused(&why);
            return answer::refusal(StatusCode::MISDIRECTED_REQUEST, &why);
        }
        // From here on it is one to its host. What the Host header says was compared.
        let path = request.uri().path_and_query().cloned().unwrap_or(PathAndQuery::from_static("/"));
        *request.uri_mut() = Uri::from(path);
        if !request.headers().contains_key(header::HOST)
            && let Ok(name) = HeaderValue::from_str(&host::authority(&place, &Scheme::HTTP))
        {
            request.headers_mut().insert(header::HOST, name);
        }
        self.session(place).await.answer(request).await
    }

    async fn session(&self, place: Place) -> Arc<Session> {
        let mut last = self.last.lock().await;
        if let Some(session) = last.as_ref().filter(|session| session.place == place) {
            return Arc::clone(session);
        }
        let session = Arc::new(Session {
            dialer: Arc::clone(&self.dialer),
            judge: Arc::clone(&self.judge),
            roads: Some(Arc::clone(&self.roads)),
            place,
            scheme: Scheme::HTTP,
            protocol: Protocol::Http1,
            slot: Mutex::new(Slot::Empty),
            shared: self.shared.clone(),
        });
        *last = Some(Arc::clone(&session));
        session
    }

    /// 403 where a rule says no to a host, 400 for what no proxy can do.
    fn refuse(
        &self,
        request: &Request<Incoming>,
        meant: Option<(&Authority, u16)>,
        denied: Denied,
    ) -> Response<Answer> {
        let (name, port) = meant.map_or(("", 0), |(authority, port)| (host::host(authority), port));
        let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
        let nowhere = Place { name: name.to_ascii_lowercase(), address };
        let mut account = Account::open(&self.judge, &nowhere, request);
        account.decided(denied.rule);
        account.refused(&denied.why);
        let status = if meant.is_some() { StatusCode::FORBIDDEN } else { StatusCode::BAD_REQUEST };
        answer::refusal(status, &denied.why)
    }
}

/// For want of sense: no rule says so.
fn none(why: &str) -> Denied {
    Denied { rule: None, why: why.to_owned() }
}
