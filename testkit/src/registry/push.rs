//! Putting an image into a registry: the upload half of the OCI distribution specification.

use crate::oci::{Blob, Content, Document, Image};
use agentkernel_model::{Error, Kind, Result, image::Digest, text::printable};
use std::{fs::File, io, time::Duration};
use ureq::{
    Agent, Body, SendBody,
    http::{Response, StatusCode},
};

/// A registry on loopback that says nothing for so long is broken.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of an answer that are shown.
const MAX_SHOWN: u64 = 1024;

/// Blobs first, then the manifests that name them, the tag last.
pub(super) fn push(url: &str, image: &Image) -> Result<()> {
    let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    let client = Client {
        agent: config.max_redirects(0).build().into(),
        base: format!("{url}/v2/{}", image.reference().repository()),
        origin: url,
    };
    for blob in image.blobs() {
        client.blob(blob)?;
    }
    for document in image.children() {
        client.document(document, document.digest().as_str())?;
    }
    let root = image.root();
    let digest = root.digest();
    client.document(root, image.reference().tag().unwrap_or(digest.as_str()))
}

struct Client<'a> {
    agent: Agent,
    /// Of the repository.
    base: String,
    origin: &'a str,
}

impl Client<'_> {
    fn blob(&self, blob: &Blob) -> Result<()> {
        let known = format!("{}/blobs/{}", self.base, blob.digest());
        let answer = self.agent.head(&known).call().map_err(|e| self.failed("look for a blob", e))?;
        if answer.status() == StatusCode::OK {
            return Ok(());
        }
        let uploads = format!("{}/blobs/uploads/", self.base);
        let answer = self.agent.post(&uploads).send_empty().map_err(|e| self.failed("begin an upload", e))?;
        let answer = self.expect(answer, StatusCode::ACCEPTED, "begin an upload")?;
        let target = self.upload_target(&answer, blob.digest())?;
        let put = self
            .agent
            .put(&target)
            .header("Content-Type", "application/octet-stream")
            .header("Content-Length", blob.size().to_string());
        let sent = match blob.content() {
            Content::Memory(bytes) => put.send(&bytes[..]),
            Content::File(path) => {
                let file = File::open(path)
                    .map_err(|e| Error::io(format!("cannot read the blob '{}'", path.display()), e))?;
                put.send(SendBody::from_owned_reader(io::BufReader::with_capacity(1 << 18, file)))
            }
        };
        let answer = sent.map_err(|e| self.failed("upload a blob", e))?;
        self.expect(answer, StatusCode::CREATED, "upload a blob").map(|_| ())
    }

    /// Where the upload goes on, with the digest that ends it.
    fn upload_target(&self, answer: &Response<Body>, digest: &Digest) -> Result<String> {
        let location = answer.headers().get("Location").and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| {
            Error::invalid(format!("the registry at {} gave no place for an upload", self.origin))
        })?;
        let absolute = if location.starts_with('/') {
            format!("{}{location}", self.origin)
        } else {
            location.to_owned()
        };
        if !absolute.starts_with(self.origin) {
            return Err(Error::invalid(format!(
                "the registry at {} sends an upload elsewhere: {}",
                self.origin,
                printable(location)
            )));
        }
        let joint = if absolute.contains('?') { '&' } else { '?' };
        Ok(format!("{absolute}{joint}digest={digest}"))
    }

    fn document(&self, document: &Document, name: &str) -> Result<()> {
        let url = format!("{}/manifests/{name}", self.base);
        let put = self.agent.put(&url).header("Content-Type", document.media_type());
        let answer = put.send(document.bytes()).map_err(|e| self.failed("upload a manifest", e))?;
        self.expect(answer, StatusCode::CREATED, "upload a manifest").map(|_| ())
    }

    fn expect(&self, mut answer: Response<Body>, wanted: StatusCode, what: &str) -> Result<Response<Body>> {
        if answer.status() == wanted {
            return Ok(answer);
        }
        let said = answer.body_mut().with_config().limit(MAX_SHOWN).read_to_string().unwrap_or_default();
        let status = answer.status();
        let message = format!("cannot {what} at {}: {status}: {}", self.base, printable(said.trim()));
        Err(Error::new(Kind::Unavailable, message))
    }

    fn failed(&self, what: &str, error: ureq::Error) -> Error {
        Error::new(Kind::Unavailable, format!("cannot {what} at {}", self.base)).with_source(error)
    }
}
