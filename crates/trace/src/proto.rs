//! The messages of OTLP, as much of them as is said here, in the encoding of protocol buffers.
//!
//! Numbers and types are those of `opentelemetry/proto/{collector/trace,trace,common,resource}/v1`; the test of traces has them
//! decoded by the official library.

use crate::span::{Finished, Kind, Value};

const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const ERROR: u64 = 2;

/// One message that is being written.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    fn tag(&mut self, field: u32, wire: u32) {
        self.varint(u64::from(field << 3 | wire));
    }

    fn number(&mut self, field: u32, value: u64) {
        self.tag(field, 0);
        self.varint(value);
    }

    fn fixed64(&mut self, field: u32, value: u64) {
        self.tag(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }

    /// A `KeyValue` with an `AnyValue`.
    fn attribute(&mut self, field: u32, key: &str, value: &Value) {
        self.message(field, |pair| {
            pair.bytes(1, key.as_bytes());
            pair.message(2, |any| match value {
                Value::Text(text) => any.bytes(1, text.as_bytes()),
                Value::Bool(value) => any.number(2, u64::from(*value)),
                Value::Int(value) => any.number(3, u64::from_le_bytes(value.to_le_bytes())),
            });
        });
    }

    fn span(&mut self, span: &Finished) {
        self.bytes(1, &span.context.trace);
        self.bytes(2, &span.context.span);
        if let Some(parent) = &span.parent {
            self.bytes(4, parent);
        }
        self.bytes(5, span.name.as_bytes());
        self.number(
            6,
            match span.kind {
                Kind::Internal => INTERNAL,
                Kind::Server => SERVER,
            },
        );
        self.fixed64(7, span.start);
        self.fixed64(8, span.end);
        for (key, value) in &span.attributes {
            self.attribute(9, key, value);
        }
        if span.is_failed {
            self.message(15, |status| status.number(3, ERROR));
        }
    }
}

/// An `ExportTraceServiceRequest` of `spans`, which are all of `resource`.
pub(crate) fn request(resource: &[(String, String)], spans: &[Finished]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |of_resource| {
        of_resource.message(1, |message| {
            for (key, value) in resource {
                message.attribute(1, key, &Value::Text(value.clone()));
            }
        });
        of_resource.message(2, |of_scope| {
            of_scope.message(1, |scope| {
                scope.bytes(1, b"agentkernel");
                scope.bytes(2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for span in spans {
                of_scope.message(2, |message| message.span(span));
            }
        });
    });
    request.0
}
