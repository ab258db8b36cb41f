//! What is told about a request, whatever becomes of it.

use super::{Judge, Place};
use crate::observer::Request as Record;
use agentkernel_model::secret::SecretName;
use hyper::{Method, Request, StatusCode};
use std::{sync::Arc, time::SystemTime};

/// The account of one request. Dropping it tells the judge, so that a client that does not wait for its answer is told about
/// too.
pub(super) struct Account {
    judge: Arc<dyn Judge>,
    record: Option<Record>,
}

impl Account {
    /// Of `request`, which is meant for `place`.
    pub(super) fn open<B>(judge: &Arc<dyn Judge>, place: &Place, request: &Request<B>) -> Self {
        let is_connect = request.method() == Method::CONNECT;
        let record = Record {
            at: SystemTime::now(),
            host: place.name.clone(),
            address: place.address,
            method: request.method().to_string(),
            path: if is_connect { String::new() } else { request.uri().path().to_owned() },
            status: None,
            rule: None,
            refused: None,
            secrets: Vec::new(),
        };
        Self { judge: Arc::clone(judge), record: Some(record) }
    }

    /// `rule` decided.
    pub(super) fn decided(&mut self, rule: Option<String>) {
        if let Some(record) = &mut self.record {
            record.rule = rule;
        }
    }

    /// The rule that decided.
    pub(super) fn rule(&self) -> Option<&str> {
        self.record.as_ref()?.rule.as_deref()
    }

    pub(super) fn refused(&mut self, why: &str) {
        if let Some(record) = &mut self.record {
            record.refused = Some(why.to_owned());
        }
    }

    /// On its way out, from here on.
    pub(super) fn sent(&mut self, secrets: &[SecretName]) {
        if let Some(record) = &mut self.record {
            record.secrets = secrets.to_vec();
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode) {
        if let Some(record) = &mut self.record {
            record.status = Some(status.as_u16());
        }
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        if let Some(record) = self.record.take() {
            self.judge.observe(record);
        }
    }
}
