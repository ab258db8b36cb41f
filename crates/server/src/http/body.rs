//! What requests carry, read with errors that name the field.

use super::envelope::Failure;
use agentkernel_model::Kind;
use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request,
        rejection::{JsonRejection, PathRejection, QueryRejection},
    },
    http::{StatusCode, request::Parts},
};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, MapAccess, Visitor, value::MapAccessDeserializer},
};
use std::{fmt, marker::PhantomData};

/// A body of JSON.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        match Json::<Object<T>>::from_request(request, state).await {
            Ok(Json(Object(body))) => Ok(Self(body)),
            Err(rejection) => Err(refused(&rejection)),
        }
    }
}

/// A value that is written as an object. serde would also take an array of its fields, in an order that nobody was told.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

fn refused(rejection: &JsonRejection) -> Failure {
    match rejection {
        JsonRejection::MissingJsonContentType(_) => Failure::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Kind::Invalid.as_str(),
            "the body has to be JSON",
        )
        .with_hint("send the header Content-Type: application/json"),
        JsonRejection::BytesRejection(bytes) if bytes.status() == StatusCode::PAYLOAD_TOO_LARGE => {
            Failure::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::Invalid.as_str(), "the body is too large")
                .with_hint("send files raw: PUT /sandboxes/NAME/raw/PATH")
        }
        // The text names the field, and no value of the caller's but a wrong type.
        rejection => Failure::new(
            StatusCode::BAD_REQUEST,
            Kind::Invalid.as_str(),
            agentkernel_model::text::printable(&rejection.body_text()),
        ),
    }
}

/// What stands in the path.
pub(crate) struct Segment<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(rejection) => Err(wrong_path(&rejection)),
        }
    }
}

fn wrong_path(rejection: &PathRejection) -> Failure {
    let text = agentkernel_model::text::printable(&rejection.body_text());
    Failure::new(StatusCode::BAD_REQUEST, Kind::Invalid.as_str(), text)
}

/// What stands behind the `?`.
pub(crate) struct Search<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Search<T> {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        match Query::<T>::from_request_parts(parts, state).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(rejection) => Err(wrong_query(&rejection)),
        }
    }
}

fn wrong_query(rejection: &QueryRejection) -> Failure {
    let text = agentkernel_model::text::printable(&rejection.body_text());
    Failure::new(StatusCode::BAD_REQUEST, Kind::Invalid.as_str(), text)
}
