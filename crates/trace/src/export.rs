//! Sending what is recorded to a collector: OTLP over HTTP. Nothing waits for it but the end of the process, and that not for
//! long.

use crate::{Outbox, Settings, Trouble, proto, settings};
use reqwest::{
    Client,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    redirect,
};
use rustls_platform_verifier::BuilderVerifierExt as _;
use std::{pin::pin, sync::Arc, time::Duration};
use zeroize::Zeroizing;

/// How many spans one request has.
const BATCH: usize = 512;
/// How long a server collects before it sends.
const DELAY: Duration = Duration::from_secs(1);

/// Takes spans from an [`Outbox`] to a collector.
#[derive(Debug)]
pub struct Exporter {
    settings: Settings,
    outbox: Arc<Outbox>,
    http: Client,
    headers: HeaderMap,
}

impl Exporter {
    /// `text` has what each variable says; of the variables only those with secrets are read.
    ///
    /// # Errors
    /// When they are not what they should be, or TLS cannot be set up.
    pub fn new(
        settings: Settings,
        outbox: Arc<Outbox>,
        text: impl Fn(&str) -> Option<Zeroizing<String>>,
    ) -> Result<Self, Trouble> {
        let headers = settings::headers(&text)?;
        let no_client = Trouble { variable: "OTEL_EXPORTER_OTLP_ENDPOINT", why: "cannot set up HTTP" };
        let tls = tls().map_err(|_| no_client.clone())?;
        let http = Client::builder()
            .user_agent(concat!("agentkernel/", env!("CARGO_PKG_VERSION")))
            // What is secret goes to the place that was named.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(settings.timeout)
            .tls_backend_preconfigured(tls)
            .build()
            .map_err(|_| no_client)?;
        Ok(Self { settings, outbox, http, headers })
    }

    /// Sends everything that waits. It takes as long as one request may, however many there are.
    ///
    /// # Errors
    /// Why not everything arrived, in words without anything secret; what did not is lost.
    pub async fn flush(&self) -> Result<(), String> {
        let all = async {
            loop {
                let spans = self.outbox.take(BATCH);
                if spans.is_empty() {
                    return Ok(());
                }
                self.send(proto::request(&self.settings.resource, &spans)).await?;
            }
        };
        let late = || Err("it took too long".to_owned());
        let sent = tokio::time::timeout(self.settings.timeout, all).await.unwrap_or_else(|_| late());
        let told = sent.map_err(|why| format!("{}: {why}", self.place()));
        match self.outbox.take_lost() {
            0 => told,
            lost => told.and(Err(format!("there were {lost} spans more than fit"))),
        }
    }

    /// Sends what comes, a little later, until `end`, and then what is left. `tell` hears of a failure, and of the next one
    /// only after something arrived.
    pub async fn serve(&self, end: impl Future<Output = ()>, tell: impl Fn(&str)) {
        let mut end = pin!(end);
        let (mut is_failing, mut is_over) = (false, false);
        while !is_over {
            let collecting = async {
                self.outbox.came().await;
                // For many spans to be one request: nothing is waited for.
                tokio::time::sleep(DELAY).await;
            };
            tokio::select! {
                () = collecting => {}
                () = &mut end => is_over = true,
            }
            match self.flush().await {
                Ok(()) => is_failing = false,
                Err(why) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tell(&why);
                    }
                }
            }
        }
    }

    async fn send(&self, body: Vec<u8>) -> Result<(), String> {
        let request = self
            .http
            .post(self.settings.endpoint.clone())
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"))
            .body(body);
        let answer = request.send().await.map_err(|e| reason(&e))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("the collector answers {}", status.as_u16())) }
    }

    /// Without what may be secret in a path or a query.
    fn place(&self) -> String {
        let url = &self.settings.endpoint;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", url.scheme(), url.host_str().unwrap_or_default())
    }
}

fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "the collector does not answer".to_owned();
    }
    if error.is_connect() {
        return "there is no connection".to_owned();
    }
    "the request was cut off".to_owned()
}

fn tls() -> Result<rustls::ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = || {
        rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
    };
    Ok(match builder()?.with_platform_verifier() {
        Ok(trusting) => trusting.with_no_client_auth(),
        // A machine without any certificates trusts nobody, and still has its own loopback.
        Err(_) => builder()?.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth(),
    })
}
