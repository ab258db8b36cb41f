//! The API described for programs: an OpenAPI 3.1 document, from the types of bodies and answers. The table of
//! operations is the routes' own, in `routes/described.rs`.

mod operation;
pub(super) mod shapes;

pub(super) use operation::Operation;

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Types that the document refers to, by name.
#[derive(Debug, Default)]
pub(super) struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    /// A reference to `T`, which the document has then, and all that it is made of.
    fn reference<T: ToSchema>(&mut self) -> Value {
        let mut parts = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut parts);
        for (name, schema) in parts {
            // A schema is data: it has no key that is no text.
            self.0.entry(name).or_insert_with(|| widened(serde_json::to_value(schema).unwrap_or_default()));
        }
        json!({"$ref": format!("#/components/schemas/{}", T::name())})
    }
}

/// Without the widths of integers: the format `int32` is that of a `u32` too, and forbids half of it.
fn widened(mut schema: Value) -> Value {
    match &mut schema {
        Value::Object(fields) => {
            let width = fields.get("format").and_then(Value::as_str);
            if width.is_some_and(|format| format.starts_with("int")) {
                fields.remove("format");
            }
            fields.values_mut().for_each(|value| *value = widened(value.take()));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| *value = widened(value.take())),
        _ => {}
    }
    schema
}

/// The document that `operations` make.
pub(super) fn document(operations: Vec<Operation>) -> Value {
    let mut schemas = Schemas::default();
    schemas.reference::<shapes::Failure>();
    let mut paths = BTreeMap::<String, Map<String, Value>>::new();
    for operation in operations {
        let (method, path) = (operation.method(), operation.template());
        paths.entry(path).or_default().insert(method.to_owned(), operation.describe(&mut schemas));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "agentkernel",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Runs commands and coding agents in isolation. docs/api.md explains it.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "security": [{"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.0,
            "securitySchemes": {"key": {
                "type": "http",
                "scheme": "bearer",
                "description": "A key of the server. A server without keys serves its own user alone, over loopback.",
            }},
        },
    })
}
