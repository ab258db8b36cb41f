//! One operation: a method of a path, what it takes and what it answers.

use super::{Schemas, shapes};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// A schema that is made when the document is.
type Schema = fn(&mut Schemas) -> Value;

/// A parameter behind the `?`.
#[derive(Debug)]
struct Query {
    name: &'static str,
    schema: Value,
    about: &'static str,
}

/// What a success looks like.
enum Success {
    /// In the envelope, with this status.
    Data(u16, Schema),
    /// As Server-Sent Events; the words say which.
    Events(&'static str),
    Document,
    /// The bytes of a file, as they are.
    Bytes,
    /// Text of this media type.
    Text(&'static str),
}

/// What a request carries.
enum RequestBody {
    Json(Schema, Value),
    Bytes,
}

/// See the module.
pub(crate) struct Operation {
    method: &'static str,
    path: &'static str,
    tag: &'static str,
    about: &'static str,
    query: Vec<Query>,
    body: Option<RequestBody>,
    success: Success,
    failed_command: Option<Schema>,
    is_open: bool,
    may_give_events: bool,
}

impl Operation {
    /// `tag` is the group that it stands in; `about` is a sentence without its full stop.
    fn new(method: &'static str, path: &'static str, tag: &'static str, about: &'static str) -> Self {
        Self {
            method,
            path,
            tag,
            about,
            query: Vec::new(),
            body: None,
            success: Success::Data(200, |_| json!({"type": "string"})),
            failed_command: None,
            is_open: false,
            may_give_events: false,
        }
    }

    pub(crate) fn get(path: &'static str, tag: &'static str, about: &'static str) -> Self {
        Self::new("get", path, tag, about)
    }

    pub(crate) fn post(path: &'static str, tag: &'static str, about: &'static str) -> Self {
        Self::new("post", path, tag, about)
    }

    pub(crate) fn put(path: &'static str, tag: &'static str, about: &'static str) -> Self {
        Self::new("put", path, tag, about)
    }

    pub(crate) fn patch(path: &'static str, tag: &'static str, about: &'static str) -> Self {
        Self::new("patch", path, tag, about)
    }

    pub(crate) fn delete(path: &'static str, tag: &'static str, about: &'static str) -> Self {
        Self::new("delete", path, tag, about)
    }

    pub(crate) const fn method(&self) -> &'static str {
        self.method
    }

    /// As the router spells it.
    #[cfg(test)]
    pub(crate) const fn path(&self) -> &'static str {
        self.path
    }

    /// As OpenAPI spells it, which has no word for a segment that goes on to the end.
    pub(super) fn template(&self) -> String {
        self.path.replace("{*", "{")
    }

    /// Takes a body of JSON, such as `example`.
    pub(crate) fn takes<T: ToSchema>(mut self, example: Value) -> Self {
        self.body = Some(RequestBody::Json(Schemas::reference::<T>, example));
        self
    }

    pub(crate) fn takes_bytes(mut self) -> Self {
        self.body = Some(RequestBody::Bytes);
        self
    }

    pub(crate) fn gives_text(mut self, media: &'static str) -> Self {
        self.success = Success::Text(media);
        self
    }

    pub(crate) fn gives_bytes(mut self) -> Self {
        self.success = Success::Bytes;
        self
    }

    pub(crate) fn asks(mut self, name: &'static str, schema: Value, about: &'static str) -> Self {
        self.query.push(Query { name, schema, about });
        self
    }

    pub(crate) fn gives<T: ToSchema>(mut self) -> Self {
        self.success = Success::Data(200, Schemas::reference::<T>);
        self
    }

    pub(crate) fn gives_many<T: ToSchema>(mut self) -> Self {
        self.success =
            Success::Data(200, |schemas| json!({"type": "array", "items": schemas.reference::<T>()}));
        self
    }

    pub(crate) fn gives_events(mut self, about: &'static str) -> Self {
        self.success = Success::Events(about);
        self
    }

    /// The same, or events, as the caller asks.
    pub(crate) const fn or_gives_events(mut self) -> Self {
        self.may_give_events = true;
        self
    }

    pub(crate) fn gives_document(mut self) -> Self {
        self.success = Success::Document;
        self
    }

    /// Something new is there then.
    pub(crate) fn creates(mut self) -> Self {
        if let Success::Data(status, _) = &mut self.success {
            *status = 201;
        }
        self
    }

    /// Runs a command, whose failure is answered with `T` beside the error.
    pub(crate) fn may_fail_with<T: ToSchema>(mut self) -> Self {
        self.failed_command = Some(Schemas::reference::<T>);
        self
    }

    /// Needs no key.
    pub(crate) const fn open(mut self) -> Self {
        self.is_open = true;
        self
    }

    pub(super) fn describe(self, schemas: &mut Schemas) -> Value {
        let mut value = json!({
            "operationId": self.id(),
            "tags": [self.tag],
            "summary": self.about,
            "parameters": self.parameters(),
            "responses": self.responses(schemas),
        });
        let content = match &self.body {
            None => json!(null),
            Some(RequestBody::Json(schema, example)) => {
                json!({"application/json": {"schema": schema(schemas), "example": example}})
            }
            Some(RequestBody::Bytes) => json!({"application/octet-stream": {}}),
        };
        if !content.is_null() {
            // Without one, raw bytes are none.
            let is_required = matches!(self.body, Some(RequestBody::Json(..)));
            value["requestBody"] = json!({"required": is_required, "content": content});
        }
        if self.is_open {
            value["security"] = json!([]);
        }
        value
    }

    /// Such as `post_sandboxes_name_exec`.
    fn id(&self) -> String {
        let words = self.path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.fold(self.method.to_owned(), |id, word| id + "_" + word)
    }

    fn parameters(&self) -> Value {
        let template = self.template();
        let segments = template.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let of_path = segments.map(|name| {
            let (schema, about) = segment(self.path, name);
            json!({"name": name, "in": "path", "required": true, "schema": schema, "description": about})
        });
        let of_query = self
            .query
            .iter()
            .map(|q| json!({"name": q.name, "in": "query", "schema": q.schema, "description": q.about}));
        of_path.chain(of_query).collect()
    }

    fn responses(&self, schemas: &mut Schemas) -> Value {
        let failure = || json!({"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}});
        let mut responses = json!({
            "default": {"description": "What went wrong, and what to do about it", "content": failure()},
        });
        if let Some(report) = &self.failed_command {
            let both = json!({"allOf": [{"$ref": "#/components/schemas/Failure"}, report(schemas)]});
            let either = json!({"anyOf": [both, {"$ref": "#/components/schemas/Failure"}]});
            responses["409"] = json!({
                "description": "The command ran and failed: what it wrote stands beside the error. Or the sandbox is not in a state for it",
                "content": {"application/json": {"schema": either}},
            });
        }
        let (status, success) = match &self.success {
            Success::Data(status, data) => {
                let envelope = shapes::envelope(&data(schemas));
                let mut content = json!({"application/json": {"schema": envelope}});
                if self.may_give_events {
                    content["text/event-stream"] = json!({});
                }
                (*status, json!({"description": "It worked", "content": content}))
            }
            Success::Events(about) => {
                let content = json!({"text/event-stream": {}});
                (200, json!({"description": about, "content": content}))
            }
            Success::Bytes => {
                (200, json!({"description": "The bytes", "content": {"application/octet-stream": {}}}))
            }
            Success::Text(media) => {
                let content = json!({media.to_owned(): {"schema": {"type": "string"}}});
                (200, json!({"description": "The text", "content": content}))
            }
            Success::Document => {
                let content = json!({"application/json": {"schema": {"type": "object"}}});
                (200, json!({"description": "The document", "content": content}))
            }
        };
        responses[status.to_string()] = success;
        responses
    }
}

/// What may stand in a path.
fn segment(path: &str, name: &str) -> (Value, &'static str) {
    match name {
        "name" if path.starts_with("/secrets/") => {
            (json!({"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$"}), "The name of a secret")
        }
        "name" => (shapes::sandbox_name(), "The name of a sandbox"),
        "uuid" => (json!({"type": "string", "format": "uuid"}), "The id of a sandbox"),
        "id" => (json!({"type": "string", "pattern": "^[0-9a-f]{8}$"}), "The id of a detached command"),
        "path" => (
            json!({"type": "string", "minLength": 1}),
            "An absolute path inside, with or without its first slash; slashes in it stand as they are",
        ),
        _ => (json!({"type": "string", "minLength": 1}), "Which one"),
    }
}
