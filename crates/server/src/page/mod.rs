//! The page at `/`: its files, as they are in this binary. It holds nothing of anybody's; what it shows, it asks the API for.

use crate::App;
use axum::{
    Router,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use sha2::{Digest as _, Sha256};
use std::{fmt::Write as _, sync::Arc};

/// Nothing but what this server serves is loaded, run, shown or asked, and nobody frames the page. Inline scripts and styles
/// are none of its own; text never becomes markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                      trusted-types 'none'";

struct Asset {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

macro_rules! assets {
    ($($path:literal $kind:ident $file:literal;)*) => {
        &[$(Asset { path: $path, kind: $kind, content: include_bytes!($file) }),*]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

const ASSETS: &[Asset] = assets! {
    "/" HTML "index.html";
    "/page/page.css" STYLE "page.css";
    "/page/app.js" SCRIPT "app.js";
    "/page/api.js" SCRIPT "api.js";
    "/page/dialogs.js" SCRIPT "dialogs.js";
    "/page/dom.js" SCRIPT "dom.js";
    "/page/files.js" SCRIPT "files.js";
    "/page/list.js" SCRIPT "list.js";
    "/page/log.js" SCRIPT "log.js";
    "/page/network.js" SCRIPT "network.js";
    "/page/sandbox.js" SCRIPT "sandbox.js";
    "/page/styles.js" SCRIPT "styles.js";
    "/page/terminal.js" SCRIPT "terminal.js";
    "/page/xterm.css" STYLE "../../assets/vendor/xterm/xterm.css";
    "/page/xterm.mjs" SCRIPT "../../assets/vendor/xterm/xterm.mjs";
    "/page/addon-fit.mjs" SCRIPT "../../assets/vendor/addon-fit/addon-fit.mjs";
};

/// A route for each file of the page.
pub(crate) fn routes() -> Router<Arc<App>> {
    ASSETS.iter().fold(Router::new(), |router, asset| {
        let tag = tag(asset.content);
        router.route(asset.path, get(async move |headers: HeaderMap| asset.answer(&tag, &headers)))
    })
}

/// What a browser remembers a file by.
fn tag(content: &[u8]) -> HeaderValue {
    let mut text = String::from("\"");
    for byte in &Sha256::digest(content)[..16] {
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"\""))
}

impl Asset {
    fn answer(&self, tag: &HeaderValue, asked: &HeaderMap) -> Response {
        let mut response = match asked.get(header::IF_NONE_MATCH) {
            Some(known) if known == tag => StatusCode::NOT_MODIFIED.into_response(),
            _ => self.content.into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(header::ETAG, tag.clone());
        for (name, value) in &HEADERS {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        response
    }
}

static HEADERS: [(HeaderName, &str); 8] = [
    // The next version of this binary has other files.
    (header::CACHE_CONTROL, "no-cache"),
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    ),
];

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
