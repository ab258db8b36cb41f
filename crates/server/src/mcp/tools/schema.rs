//! Schemas of arguments and results, as plain as the programs that read them need.

use rmcp::{
    handler::server::tool::{schema_for_output, schema_for_type},
    model::JsonObject,
};
use schemars::JsonSchema;
use serde_json::Value;
use std::sync::Arc;

/// What a tool takes.
pub(super) fn input<T: JsonSchema + 'static>() -> Arc<JsonObject> {
    plain(&schema_for_type::<T>())
}

/// What a tool gives.
pub(super) fn output<T: JsonSchema + 'static>() -> Arc<JsonObject> {
    plain(&schema_for_output::<T>())
}

fn plain(schema: &JsonObject) -> Arc<JsonObject> {
    let mut schema = Value::Object(schema.clone());
    simplify(&mut schema);
    let Value::Object(mut schema) = schema else { return Arc::default() };
    // The names of our own types and the dialect, which is the protocol's.
    for word in ["$schema", "title", "description"] {
        schema.remove(word);
    }
    Arc::new(schema)
}

/// Takes away what says nothing to whoever writes a call, and what some models cannot read: an argument that may be left out
/// need not be null as well, and the sizes of our integers are not formats that validators know.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(simplify),
        Value::Object(fields) => {
            let number =
                fields.get("format").and_then(Value::as_str).is_some_and(|f| f.starts_with(['i', 'u']));
            if number {
                fields.remove("format");
            }
            if let Some(properties) = fields.get("properties").and_then(Value::as_object).cloned() {
                let required = fields.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
                let optional = properties.into_iter().map(|(name, mut property)| {
                    if !required.contains(&Value::String(name.clone())) {
                        without_null(&mut property);
                    }
                    (name, property)
                });
                fields.insert("properties".to_owned(), Value::Object(optional.collect()));
            }
            if let Some(Value::String(text)) = fields.get_mut("description") {
                *text = text.replace('\n', " ");
            }
            fields.values_mut().for_each(simplify);
        }
        _ => {}
    }
}

fn without_null(property: &mut Value) {
    let Value::Object(fields) = property else { return };
    if fields.get("default").is_some_and(Value::is_null) {
        fields.remove("default");
    }
    if let Some(Value::Array(types)) = fields.get_mut("type") {
        types.retain(|one| one != "null");
        if let [one] = types.as_slice() {
            let one = one.clone();
            fields.insert("type".to_owned(), one);
        }
    }
}
