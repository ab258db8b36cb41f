//! The form of every answer: `{"success":true,"data":…}` or `{"success":false,"error":"…"}`.

use agentkernel_model::{Error, Kind};
use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// What a handler returns.
pub(crate) type Reply<T> = Result<Data<T>, Failure>;

/// An answer of success.
#[derive(Debug)]
pub(crate) struct Data<T> {
    status: StatusCode,
    data: T,
}

impl<T> Data<T> {
    pub(crate) const fn created(data: T) -> Self {
        Self { status: StatusCode::CREATED, data }
    }
}

/// `data` as the answer.
pub(crate) const fn ok<T>(data: T) -> Reply<T> {
    Ok(Data { status: StatusCode::OK, data })
}

#[derive(Serialize)]
struct Success<T> {
    success: bool,
    data: T,
}

impl<T: Serialize> IntoResponse for Data<T> {
    fn into_response(self) -> Response {
        (self.status, Json(Success { success: true, data: self.data })).into_response()
    }
}

/// An answer of failure.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    #[serde(skip)]
    status: StatusCode,
    success: bool,
    error: String,
    /// What a program can act on.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Of a command that failed: the fields of its success.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    more: Option<serde_json::Value>,
}

impl Failure {
    pub(crate) fn new(status: StatusCode, kind: &'static str, error: impl Into<String>) -> Self {
        Self { status, success: false, error: error.into(), kind, hint: None, more: None }
    }

    /// The words alone.
    pub(crate) fn text(self) -> String {
        self.error
    }

    #[must_use]
    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What the failure is about, beside its words.
    #[must_use]
    pub(crate) fn with(self, more: &impl Serialize) -> Self {
        Self { more: serde_json::to_value(more).ok(), ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = StatusCode::from_u16(error.kind().http_status());
        let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let failure = Self::new(status, error.kind().as_str(), error.to_string());
        match error.hint() {
            Some(hint) => failure.with_hint(hint),
            None => failure,
        }
    }
}

impl From<crate::execution::Busy> for Failure {
    fn from(busy: crate::execution::Busy) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", busy.what()).with_hint(busy.hint())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = self.status;
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}

/// Of a path that there is none of.
pub(crate) fn not_found() -> Failure {
    Failure::new(StatusCode::NOT_FOUND, Kind::NotFound.as_str(), "Not found")
        .with_hint("GET /openapi.json lists what there is")
}

/// Of a path that there is, with another method.
pub(crate) fn wrong_method() -> Failure {
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, Kind::Invalid.as_str(), "Method not allowed")
        .with_hint("GET /openapi.json lists what there is")
}
