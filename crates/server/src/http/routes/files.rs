//! Files of a sandbox: in JSON for small ones, raw for any.

use crate::{
    App,
    fields::parsed,
    http::{
        body::{Body, Search, Segment},
        envelope::{Failure, Reply, ok},
    },
};
use agentkernel_engine::files::FileList;
use agentkernel_model::{Error, Kind, Result, name::SandboxName, path::GuestPath};
use axum::{
    body::Body as RawBody,
    extract::{Request, State},
    http::{HeaderValue, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, io, sync::Arc};
use tokio::io::AsyncReadExt as _;
use tokio_util::io::{ReaderStream, StreamReader};
use utoipa::ToSchema;

/// The most files of one request.
const MAX_FILES: usize = 1000;
/// What is read of a file at once when it is sent raw, in bytes.
const CHUNK: usize = 64 * 1024;

/// The path behind `/files/` or `/raw/`, which begins at the root with or without a slash of its own.
fn inside(path: &str) -> Result<GuestPath> {
    parsed("path", &format!("/{}", path.trim_start_matches('/')))
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FileData {
    content: String,
    /// `utf8`, or `base64` (RFC 4648) where the bytes are none.
    encoding: &'static str,
    /// In bytes.
    size: usize,
}

pub(super) async fn read(
    State(app): State<Arc<App>>,
    Segment((name, path)): Segment<(SandboxName, String)>,
) -> Reply<FileData> {
    let path = inside(&path)?;
    let limit = app.options.limits.output;
    let file = app.engine.read_file(&name, &path).await?;
    let mut bytes = Vec::new();
    let read = file.body.take(limit as u64 + 1).read_to_end(&mut bytes).await;
    read.map_err(|e| Error::io(format!("cannot read {path} in the sandbox"), e))?;
    if bytes.len() > limit {
        let message = format!("{path} is longer than {limit} bytes");
        return Err(Error::new(Kind::Exhausted, message)
            .with_hint(format!("read it raw: GET /sandboxes/{name}/raw{path}"))
            .into());
    }
    let size = bytes.len();
    ok(match String::from_utf8(bytes) {
        Ok(content) => FileData { content, encoding: "utf8", size },
        Err(e) => FileData { content: STANDARD.encode(e.as_bytes()), encoding: "base64", size },
    })
}

/// What is to be in a file.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FileBody {
    content: String,
    /// `utf8`, as without it, or `base64`.
    #[serde(default)]
    encoding: Option<String>,
}

impl FileBody {
    fn bytes(self) -> Result<Vec<u8>> {
        match self.encoding.as_deref() {
            None | Some("utf8") => Ok(self.content.into_bytes()),
            Some("base64") => STANDARD
                .decode(&self.content)
                .map_err(|e| Error::invalid("content is no base64").with_source(e)),
            Some(_) => Err(Error::invalid("encoding is utf8 or base64")),
        }
    }
}

pub(super) async fn write(
    State(app): State<Arc<App>>,
    Segment((name, path)): Segment<(SandboxName, String)>,
    Body(body): Body<FileBody>,
) -> Reply<&'static str> {
    let (path, bytes) = (inside(&path)?, body.bytes()?);
    let size = bytes.len() as u64;
    app.engine.write_file(&name, &path, bytes.as_slice(), Some(size)).await?;
    ok("File written")
}

pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Segment((name, path)): Segment<(SandboxName, String)>,
) -> Reply<&'static str> {
    app.engine.remove_file(&name, &inside(&path)?).await?;
    ok("File deleted")
}

/// Texts by their paths.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FilesBody {
    files: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FilesData {
    /// How many files.
    written: usize,
}

pub(super) async fn write_all(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Body(body): Body<FilesBody>,
) -> Reply<FilesData> {
    ok(FilesData { written: app.write_files(&name, body.files).await? })
}

impl App {
    /// Writes texts to paths; none, when a path is none.
    ///
    /// # Errors
    /// As [`agentkernel_engine::Engine::write_file`]; those before it are written.
    pub(crate) async fn write_files(
        &self,
        name: &SandboxName,
        files: BTreeMap<String, String>,
    ) -> Result<usize> {
        if files.len() > MAX_FILES {
            return Err(Error::invalid(format!("one request writes at most {MAX_FILES} files")));
        }
        let files: Vec<(GuestPath, String)> = files
            .into_iter()
            .map(|(path, text)| Ok((parsed::<GuestPath>("files", &path)?, text)))
            .collect::<Result<_>>()?;
        for (path, text) in &files {
            self.engine.write_file(name, path, text.as_bytes(), Some(text.len() as u64)).await?;
        }
        Ok(files.len())
    }
}

/// Which directory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DirectoryQuery {
    #[serde(default)]
    path: Option<String>,
}

pub(super) async fn list(
    State(app): State<Arc<App>>,
    Segment(name): Segment<SandboxName>,
    Search(query): Search<DirectoryQuery>,
) -> Reply<FileList> {
    let path = parsed("path", query.path.as_deref().unwrap_or("/"))?;
    ok(app.engine.list_files(&name, &path).await?)
}

/// The bytes as they are.
pub(super) async fn download(
    State(app): State<Arc<App>>,
    Segment((name, path)): Segment<(SandboxName, String)>,
) -> Result<Response, Failure> {
    let file = app.engine.read_file(&name, &inside(&path)?).await?;
    let stream = ReaderStream::with_capacity(file.body, CHUNK);
    let mut response = RawBody::from_stream(stream).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    // Whatever is in it is shown by no browser.
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    Ok(response)
}

#[derive(Debug, Serialize, ToSchema)]
pub(super) struct UploadData {
    /// In bytes.
    written: u64,
}

/// The body as it comes, however long.
pub(super) async fn upload(
    State(app): State<Arc<App>>,
    Segment((name, path)): Segment<(SandboxName, String)>,
    request: Request,
) -> Reply<UploadData> {
    let path = inside(&path)?;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let size = length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    let body = request.into_body().into_data_stream().map_err(io::Error::other);
    let body = StreamReader::new(Box::pin(body));
    ok(UploadData { written: app.engine.write_file(&name, &path, body, size).await? })
}
