"""An OTLP/HTTP collector. What it is sent is decoded by the official messages, and written to stdout: a line for each span.

usage: collector.py [hang | tls CERTIFICATE KEY]

The first line is its port. With `hang` it accepts connections and never answers; with `tls` it speaks that, with these files.
"""

import http.server
import json
import ssl
import sys

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


def value(any_value):
    return getattr(any_value, any_value.WhichOneof("value"))


def attributes(pairs):
    return {pair.key: value(pair.value) for pair in pairs}


class Collector(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        request = ExportTraceServiceRequest.FromString(body)
        for of_resource in request.resource_spans:
            for of_scope in of_resource.scope_spans:
                for span in of_scope.spans:
                    told = {
                        "path": self.path,
                        "type": self.headers["content-type"],
                        "key": self.headers["x-key"],
                        "resource": attributes(of_resource.resource.attributes),
                        "scope": of_scope.scope.name,
                        "name": span.name,
                        "kind": span.kind,
                        "trace": span.trace_id.hex(),
                        "span": span.span_id.hex(),
                        "parent": span.parent_span_id.hex(),
                        "start": span.start_time_unix_nano,
                        "end": span.end_time_unix_nano,
                        "attributes": attributes(span.attributes),
                        "status": span.status.code,
                    }
                    print(json.dumps(told), flush=True)
        answer = ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Hanging(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(json.dumps({"hangs": self.path}), flush=True)
        # Until the other side is gone.
        while self.rfile.read(4096):
            pass

    def log_message(self, *_):
        pass


handler = Hanging if sys.argv[1:] == ["hang"] else Collector
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
server.daemon_threads = True
if sys.argv[1:2] == ["tls"]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[2:])
    server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
