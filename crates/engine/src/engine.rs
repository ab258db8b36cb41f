//! The engine: one value per process, cheap to make, safe to share.

use crate::{
    audit::{self, Audit, AuditPage, AuditQuery, Following},
    benchmark::{self, BenchmarkReport, BenchmarkRequest},
    build::{self, BuildRequest, Builder, Built},
    clean::{self, CleanReport, Live, Stored},
    connections::{self, ConnectionQuery, Ends, Verified},
    copy, create,
    directories::{self, SandboxDir},
    doctor, exec,
    files::{self, FileContent, Usage},
    gc,
    images::{self, Checked, Freed, ImagePlaces, ImageRow, Names, Obtained, Origin, Prune},
    keeper, lifecycle,
    network::{self, NetworkChange},
    query,
    request::{
        BackendReport, Check, Choice, Copied, CopySource, CreateRequest, Effect, Filter, GcReport,
        RunRequest, Running, SandboxInfo, Stopped, VolumeInfo,
    },
    run,
    runner::{self, Runners},
    sealed, select,
    stats::{self, Stats},
    step::{self, step},
    templates, trusted,
    values::Values,
    volumes,
};
use agentkernel_backend::{Backend, Driver, FileList, Host, Process, Registry};
use agentkernel_image::{HostFacts, Images, Progress, PullPolicy, Pulled};
use agentkernel_model::{
    Result,
    command::{ExecSpec, User},
    id::SandboxId,
    image::{Digest, ImageRef, Reference},
    mount::{Access, Mount},
    name::{SandboxName, TemplateName, VolumeName},
    path::GuestPath,
    size::ByteSize,
    spec::SandboxSpec,
};
use agentkernel_trace::Context;
use std::{
    collections::BTreeMap,
    io, iter,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::io::AsyncRead;

#[derive(Debug)]
pub struct Engine {
    pub(crate) host: Host,
    pub(crate) registry: Registry,
    /// For the built-in `host` image.
    pub(crate) facts: HostFacts,
    /// Where settings and credentials of registries are.
    pub(crate) places: ImagePlaces,
    /// Whether images are named by others than the owner of this machine.
    pub(crate) is_for_callers: bool,
    /// This user's `gateway.toml`.
    pub(crate) gateway_file: Option<PathBuf>,
    /// Each backend is built once, when it is first needed.
    built: Mutex<BTreeMap<&'static str, Arc<dyn Backend>>>,
    pub(crate) audit: Audit,
    /// Where runs do not begin in this process, and backends are not tried out in it.
    pub(crate) runners: Option<Runners>,
}

/// Runners that wait for a run. Two: while one is taken, the other is there for whoever comes next.
const SPARE_RUNNERS: usize = 2;

impl Engine {
    /// Does no I/O: directories and the database are made when first needed.
    #[must_use]
    pub fn new(host: Host, registry: Registry, facts: HostFacts) -> Self {
        Self {
            host,
            registry,
            facts,
            places: ImagePlaces::default(),
            is_for_callers: false,
            gateway_file: None,
            built: Mutex::default(),
            audit: Audit::off(),
            runners: None,
        }
    }

    /// One of the same machine that writes down in the same log, for a task that outlives whoever asked for it. It has no
    /// runners.
    pub(crate) fn twin(&self) -> Self {
        Self {
            places: self.places.clone(),
            is_for_callers: self.is_for_callers,
            gateway_file: self.gateway_file.clone(),
            audit: self.audit.clone(),
            ..Self::new(self.host.clone(), self.registry.clone(), self.facts.clone())
        }
    }

    /// The same, and what is done with it is written down in `audit`.
    #[must_use]
    pub fn with_audit(self, audit: Audit) -> Self {
        Self { audit, ..self }
    }

    /// The same engine, which knows where this user's registries are set up.
    #[must_use]
    pub fn with_image_places(mut self, places: ImagePlaces) -> Self {
        self.places = places;
        self
    }

    /// The same engine, which pulls images from public addresses alone, and from places that this user's `registries.toml` lists:
    /// for one whose images are named by others.
    #[must_use]
    pub fn for_callers(self) -> Self {
        Self { is_for_callers: true, ..self }
    }

    /// The same engine, which knows where this user's settings of gateways are. They are read where one is made.
    #[must_use]
    pub fn with_gateway_file(self, gateway_file: Option<PathBuf>) -> Self {
        Self { gateway_file, ..self }
    }

    /// The same engine, whose [`Engine::run`] hands each run to a process of its own, as all that tries out backends does:
    /// for a process that holds what no sandbox may be cloned from, or has many threads. Its binary must know the hidden
    /// verb [`runner`](crate::runner::VERB). All runs must be of one runtime, whose I/O, time and processes are enabled.
    #[must_use]
    pub fn with_runners(self) -> Self {
        self.with_spare_runners(SPARE_RUNNERS)
    }

    /// As [`Engine::with_runners`], of which at most `most` wait for a run.
    #[must_use]
    pub fn with_spare_runners(self, most: usize) -> Self {
        Self { runners: Some(Runners::new(most)), ..self }
    }

    /// Has the runners that wait for a run started, for the first run to be as fast as all others. Must be called within
    /// the runtime.
    ///
    /// # Errors
    /// Only when this engine cannot be described to another process.
    pub fn prepare_runners(&self) -> Result<()> {
        self.runners.as_ref().map_or(Ok(()), |runners| runners.fill(self))
    }

    /// The images of this user. Does no I/O.
    #[must_use]
    pub fn images(&self) -> Images {
        Images::new(self.host.data.join("images"), self.host.uid)
    }

    /// Has `wanted` on this machine, or what takes its place. Blocks, and leaves no thread behind: before a sandbox is
    /// started.
    ///
    /// # Errors
    /// When a named image cannot be had. A detected one then gives way to the built-in image, unless what came was
    /// forged or broken.
    pub fn obtain_image(
        &self,
        wanted: &ImageRef,
        origin: &Origin,
        pull: Option<PullPolicy>,
        progress: &dyn Progress,
    ) -> Result<Obtained> {
        images::obtain(self, wanted, origin, pull, progress)
    }

    /// The number of the user that `name` (or `name:group`) is in `image`.
    ///
    /// # Errors
    /// [`Kind::Invalid`](agentkernel_model::Kind::Invalid) when the image has none of that name.
    pub fn user_of(&self, image: &ImageRef, name: &str) -> Result<User> {
        images::user(self, image, name)
    }

    /// Fetches an image anew. Blocks.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound), `Unavailable`, `Denied`, `Exhausted`; `Invalid` when what
    /// came is not what it should be.
    pub fn pull_image(&self, reference: &Reference, progress: &dyn Progress) -> Result<Pulled> {
        images::pull(self, reference, progress)
    }

    /// The images that are here, and which sandboxes were made from them.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list_images(&self) -> Result<Vec<ImageRow>> {
        images::list(self)
    }

    /// Removes images that no sandbox was made from and nothing runs, broken downloads and unused layers.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn prune_images(&self, which: Prune, effect: Effect) -> Result<Freed> {
        images::prune(self, which, effect)
    }

    /// Removes a name, and the image when it was its last and no sandbox was made from it.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Conflict` while a sandbox needs it.
    pub fn remove_image(&self, reference: &Reference) -> Result<()> {
        images::remove(self, reference)
    }

    /// Looks through the store of images: drops names whose content is missing, and content that nothing names.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn check_images(&self) -> Result<Checked> {
        images::check(self)
    }

    /// Takes in what a docker-archive or an OCI layout holds. Blocks.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Invalid` for what is neither; `AlreadyExists` for a name that
    /// means another image.
    pub fn import_images(
        &self,
        source: &Path,
        name: Option<&Reference>,
        names: Names,
        progress: &dyn Progress,
    ) -> Result<Vec<ImageRow>> {
        images::import(self, source, name, names, progress)
    }

    /// The image of a Dockerfile, built by the first of `builders` that answers, unless it is here. Blocks.
    ///
    /// # Errors
    /// [`Kind::Unavailable`](agentkernel_model::Kind::Unavailable) without a builder; `Conflict` when the build
    /// fails.
    pub fn build_image(
        &self,
        request: &BuildRequest,
        builders: &[Builder],
        output: impl Fn() -> io::Result<Stdio>,
        progress: &dyn Progress,
    ) -> Result<Built> {
        build::build(self, request, builders, output, progress)
    }

    /// What the image of a Dockerfile is called; builds nothing.
    ///
    /// # Errors
    /// When the context cannot be read.
    pub fn built_reference(&self, request: &BuildRequest) -> Result<Reference> {
        build::reference(request)
    }

    /// Copies what `from` names on this machine to `to` inside. A stopped sandbox is started for it and stopped again.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound), `Invalid`, `Denied`; what was copied before stays.
    pub async fn copy_in(
        &self,
        name: &SandboxName,
        from: &CopySource<PathBuf>,
        to: &GuestPath,
    ) -> Result<Copied> {
        let copied = self.audit.watched(name, copy::copy_in(self, name, from, to).await)?;
        self.audit.file_written(name, to);
        Ok(copied)
    }

    /// Copies what `from` names inside to `to` on this machine. What comes out is hostile: nothing is written but at `to`
    /// and below, and no link is followed.
    ///
    /// # Errors
    /// As [`Engine::copy_in`].
    pub async fn copy_out(
        &self,
        name: &SandboxName,
        from: &CopySource<GuestPath>,
        to: &Path,
    ) -> Result<Copied> {
        let copied = self.audit.watched(name, copy::copy_out(self, name, from, to).await)?;
        self.audit.file_read(name, &from.path);
        Ok(copied)
    }

    /// Opens a regular file of a sandbox. Links lead where they lead inside. A stopped sandbox is started for it and
    /// stopped again; a file of one is 16 MiB long at most.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Invalid` for what is no regular file; `Denied` for what is
    /// in /proc; `Exhausted`.
    pub async fn read_file(&self, name: &SandboxName, path: &GuestPath) -> Result<FileContent> {
        let content = self.audit.watched(name, files::read(self, name, path).await)?;
        self.audit.file_read(name, path);
        Ok(content)
    }

    /// Writes a regular file of a sandbox, and says how many bytes that was. Directories on the way are made. A file that
    /// is there keeps its mode; it has its old content until the new is whole, and for good when `body` fails or has
    /// another length than `size`. A stopped sandbox is started for it and stopped again.
    ///
    /// # Errors
    /// [`Kind::Invalid`](agentkernel_model::Kind::Invalid), `NotFound`, `Denied`, `Exhausted`.
    pub async fn write_file(
        &self,
        name: &SandboxName,
        path: &GuestPath,
        body: impl AsyncRead + Send,
        size: Option<u64>,
    ) -> Result<u64> {
        let written = self.audit.watched(name, files::write(self, name, path, body, size).await)?;
        self.audit.file_written(name, path);
        Ok(written)
    }

    /// Removes a file or a link of a sandbox. A stopped one is started for it and stopped again.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Invalid` for a directory; `Denied`.
    pub async fn remove_file(&self, name: &SandboxName, path: &GuestPath) -> Result<()> {
        self.audit.watched(name, files::remove(self, name, path).await)?;
        self.audit.file_removed(name, path);
        Ok(())
    }

    /// What is in a directory of a sandbox, by name; at most [`FileList::MAX`] entries. A stopped sandbox is started for
    /// it and stopped again.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Invalid` for what is no directory; `Denied` for what is in
    /// /proc.
    pub async fn list_files(&self, name: &SandboxName, path: &GuestPath) -> Result<FileList> {
        self.audit.watched(name, files::list(self, name, path).await)
    }

    /// What a running sandbox uses now.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Conflict` when it does not run.
    pub async fn usage(&self, name: &SandboxName) -> Result<Usage> {
        files::usage(self, name).await
    }

    /// Writes the sandbox's own files, not what is mounted, to `to` as a tar archive.
    ///
    /// # Errors
    /// As [`Engine::copy_in`]; what was written before stays.
    pub async fn export(&self, name: &SandboxName, to: OwnedFd) -> Result<()> {
        copy::export(self, name, to).await
    }

    /// Makes a managed volume.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`](agentkernel_model::Kind::AlreadyExists); `Unsupported` for a size, which nothing enforces.
    pub fn create_volume(&self, name: &VolumeName, size: Option<ByteSize>) -> Result<VolumeInfo> {
        volumes::create(self, name, size)
    }

    /// # Errors
    /// When they cannot be read.
    pub fn volumes(&self) -> Result<Vec<VolumeInfo>> {
        volumes::list(self)
    }

    /// The names alone, for a person who is typing one.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn volume_names(&self) -> Result<Vec<VolumeName>> {
        volumes::names(self)
    }

    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound).
    pub fn volume(&self, name: &VolumeName) -> Result<VolumeInfo> {
        volumes::info(self, name)
    }

    /// What `--volume NAME:TARGET` stands for.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound).
    pub fn volume_mount(&self, name: &VolumeName, target: &GuestPath, access: Access) -> Result<Mount> {
        volumes::mount(self, name, target, access)
    }

    /// # Errors
    /// [`Kind::Conflict`](agentkernel_model::Kind::Conflict) while it is used, or holds what `content` keeps.
    pub fn delete_volume(&self, name: &VolumeName, content: volumes::Content) -> Result<()> {
        volumes::delete(self, name, content)
    }

    /// The text of a template that somebody saved.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn saved_template(&self, name: &TemplateName) -> Result<Option<String>> {
        templates::read(self, name)
    }

    /// # Errors
    /// When they cannot be listed.
    pub fn saved_templates(&self) -> Result<Vec<TemplateName>> {
        templates::list(self)
    }

    /// # Errors
    /// [`Kind::AlreadyExists`](agentkernel_model::Kind::AlreadyExists) when it may not be replaced.
    pub fn save_template(&self, name: &TemplateName, text: &str, replace: templates::Replace) -> Result<()> {
        templates::save(self, name, text, replace)
    }

    /// Whether there was one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_template(&self, name: &TemplateName) -> Result<bool> {
        templates::remove(self, name)
    }

    /// What is at an https URL, at most `limit` bytes. Blocks.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound), `Unavailable`; `Invalid` for more than `limit` bytes.
    pub fn download(&self, url: &str, limit: usize) -> Result<Vec<u8>> {
        agentkernel_image::fetch(url, limit as u64, &self.places.proxies)
    }

    /// Whether a person trusts `file` with this content.
    ///
    /// # Errors
    /// When what is trusted cannot be read.
    pub fn is_trusted(&self, file: &Path, content: &[u8]) -> Result<bool> {
        trusted::is_trusted(self, file, content)
    }

    /// Trusts `file` with this content; the path is returned as the file system resolves it.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound).
    pub fn trust(&self, file: &Path, content: &[u8]) -> Result<PathBuf> {
        trusted::trust(self, file, content)
    }

    /// Whether it was trusted.
    ///
    /// # Errors
    /// When what is trusted cannot be read or written.
    pub fn revoke_trust(&self, file: &Path) -> Result<bool> {
        trusted::revoke(self, file)
    }

    /// # Errors
    /// When what is trusted cannot be read.
    pub fn trusted(&self) -> Result<Vec<(PathBuf, Digest)>> {
        trusted::list(self)
    }

    /// The backend of `driver`.
    pub(crate) fn backend(&self, driver: &Driver) -> Result<Arc<dyn Backend>> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backend) = built.get(driver.id) {
            return Ok(Arc::clone(backend));
        }
        let backend = (driver.build)(&self.host)?;
        built.insert(driver.id, Arc::clone(&backend));
        Ok(backend)
    }

    /// Which backend would take `spec`; starts nothing. For `--dry-run`.
    ///
    /// # Errors
    /// [`Kind::Invalid`](agentkernel_model::Kind::Invalid) for an unknown backend,
    /// [`Kind::Unsupported`](agentkernel_model::Kind::Unsupported) with every reason when none admits it.
    pub async fn choose(&self, spec: &SandboxSpec, backend: Option<&str>) -> Result<Choice> {
        select::select(self, spec, backend).await.map(|selected| selected.choice)
    }

    /// One command in a sandbox that is gone when it ends. No database, no supervisor. It begins in this process, or
    /// in one of its own ([`Engine::with_runners`]).
    ///
    /// # Errors
    /// After an error nothing is left. Cancelling leaves at most what [`Engine::gc`] finds.
    pub async fn run(&self, mut request: RunRequest) -> Result<Running> {
        let span = step::span!("run");
        step::carry_in(&span, &mut request.command, &request.spec.env);
        let begun = self.audit.command(None, &request.command);
        let image = request.spec.image.to_string();
        let running = async {
            match &self.runners {
                Some(runners) => runner::run(self, runners, request).await,
                None => run::run(self, request).await,
            }
        };
        match step::recorded(span.clone(), running).await {
            Ok(Running { process, choice }) => {
                span.record("agentkernel.backend", choice.backend.as_str());
                let place = audit::Place::Known { backend: Some(choice.backend.to_string()), image };
                Ok(Running { process: step::until_end(span, begun.follow(process, place)), choice })
            }
            Err(error) => Err(begun.never_ran(error, audit::Place::Known { backend: None, image })),
        }
    }

    /// Makes a sandbox and does not start it.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`](agentkernel_model::Kind::AlreadyExists) when the name is taken. After an error nothing is
    /// left; what cancelling leaves is undone by [`Engine::gc`], or by the next `create` of that name.
    pub async fn create(&self, request: CreateRequest) -> Result<SandboxInfo> {
        let name = request.name.clone();
        let made = step!("create", create::create(self, request)).await;
        self.audit.created(&name, &made);
        made
    }

    /// Idempotent: one that runs keeps the values that it has. Cancelling does not stop a start that is under way.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Conflict` when it has expired, or a port is taken; `Invalid`
    /// when `values` are not those of the secrets that it was made with.
    pub async fn start(&self, name: &SandboxName, values: &Values) -> Result<SandboxInfo> {
        self.audit.watched(name, step!("start", lifecycle::start(self, name, values)).await)
    }

    /// As [`Engine::start`], of the very sandbox that was made, whatever has its name by now.
    ///
    /// # Errors
    /// As [`Engine::start`]; [`Kind::Conflict`](agentkernel_model::Kind::Conflict) when the name is another one's.
    pub async fn start_made(&self, made: &SandboxInfo, values: &Values) -> Result<SandboxInfo> {
        let starting = lifecycle::start_made(self, &made.name, Some(made.uuid), values);
        self.audit.watched(&made.name, step!("start", starting).await)
    }

    /// As [`Engine::remove`], of the very sandbox that was made: what was given its name since stays.
    ///
    /// # Errors
    /// As [`Engine::start_made`].
    pub async fn remove_made(&self, made: &SandboxInfo) -> Result<()> {
        let removing = lifecycle::remove_made(self, &made.name, Some(made.uuid));
        self.audit.watched(&made.name, step!("remove", removing).await)?;
        self.audit.removed(made.name.as_str());
        Ok(())
    }

    /// Keeps the disk. Idempotent. Without `grace` it is killed at once.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); `Timeout` when its keeper does not answer.
    pub async fn stop(&self, name: &SandboxName, grace: Duration) -> Result<SandboxInfo> {
        self.audit.watched(name, step!("stop", lifecycle::stop(self, name, grace)).await)
    }

    /// Removes a sandbox, running or not, and everything of it. One that a crash left half removed can be removed.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); after any other error, calling again continues.
    pub async fn remove(&self, name: &SandboxName) -> Result<()> {
        self.audit.watched(name, step!("remove", lifecycle::remove(self, name)).await)?;
        self.audit.removed(name.as_str());
        Ok(())
    }

    /// By name. What is only being created is left out. Each backend that has one of them is asked once, for at most
    /// two seconds; those of one that does not answer are [`Status::Unknown`](crate::request::Status::Unknown).
    ///
    /// # Errors
    /// When the records cannot be read.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<SandboxInfo>> {
        query::list(self, filter).await
    }

    /// One sandbox with its whole spec.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound).
    pub async fn info(&self, name: &SandboxName) -> Result<SandboxInfo> {
        query::ask(self, name).await
    }

    /// Keeps `sealed` beside the sandbox until that is removed. It is written as it is: whoever gives it has encrypted it.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); when it cannot be written.
    pub async fn keep_sealed(&self, name: &SandboxName, sealed: &[u8]) -> Result<()> {
        sealed::keep(self, name, sealed).await
    }

    /// What [`Engine::keep_sealed`] kept.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound) for the sandbox; when it cannot be read.
    pub fn sealed(&self, name: &SandboxName) -> Result<Option<Vec<u8>>> {
        sealed::read(self, name)
    }

    /// A command in a running sandbox; `Conflict` with a hint when it is stopped.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound), `Conflict`, and those of
    /// [`Sandbox::exec`](agentkernel_backend::Sandbox::exec).
    pub async fn exec(&self, name: &SandboxName, command: &ExecSpec) -> Result<Process> {
        self.exec_in(name, None, command).await
    }

    pub(crate) async fn exec_in(
        &self,
        name: &SandboxName,
        made: Option<SandboxId>,
        command: &ExecSpec,
    ) -> Result<Process> {
        let begun = self.audit.command(Some(name), command);
        let place = audit::Place::Recorded { database: directories::database(&self.host) };
        let span = step::span!("exec");
        let mut command = command.clone();
        step::carry_in(&span, &mut command, &[]);
        match step::recorded(span.clone(), exec::exec(self, name, made, &command)).await {
            Ok(process) => Ok(step::until_end(span, begun.follow(process, place))),
            Err(error) => Err(begun.never_ran(error, place)),
        }
    }

    /// As [`Engine::exec`], for a person who works in the sandbox.
    ///
    /// # Errors
    /// As [`Engine::exec`].
    pub async fn attach(&self, name: &SandboxName, command: &ExecSpec) -> Result<Process> {
        let process =
            self.audit.watched(name, step!("attach", exec::exec(self, name, None, command)).await)?;
        self.audit.session(name);
        Ok(process)
    }

    /// Removes what has expired and what crashes left. Running sandboxes that have not expired are never touched,
    /// stopped ones only with [`Stopped::Remove`]. With a filter, only sandboxes that it matches.
    ///
    /// # Errors
    /// When the records cannot be read. What could not be removed stands in [`GcReport::failures`].
    pub async fn gc(&self, filter: &Filter, stopped: Stopped, effect: Effect) -> Result<GcReport> {
        let report = gc::gc(self, filter, stopped, effect).await?;
        if effect == Effect::Apply {
            self.audit.collected(&report);
        }
        Ok(report)
    }

    /// Removes stopped sandboxes, with [`Live::Remove`] running ones too, and everything that [`Engine::gc`] would; with
    /// [`Stored::Remove`] then what [`Engine::prune_images`] would.
    ///
    /// # Errors
    /// When the records cannot be read. What could not be removed stands in [`CleanReport::failures`].
    pub async fn clean(&self, live: Live, stored: Stored, effect: Effect) -> Result<CleanReport> {
        clean::clean(self, live, stored, effect).await
    }

    /// The newest events of the log, whether or not this engine writes to it.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn events(&self, query: &AuditQuery) -> Result<AuditPage> {
        audit::read(&self.host, query)
    }

    /// As [`Engine::events`], and the events that come, of all processes that write to the log. Must be called within the
    /// runtime. Each follower takes one of the inotify instances of which a user has few: hand one out to many readers.
    ///
    /// # Errors
    /// As [`Engine::events`]; [`Kind::Unsupported`](agentkernel_model::Kind::Unsupported) where the system does not tell when
    /// a file grows.
    pub fn follow_events(&self, query: &AuditQuery) -> Result<(AuditPage, Following)> {
        audit::follow_events(&self.host, query)
    }

    /// Where the log of events is, or would be.
    #[must_use]
    pub fn events_path(&self) -> PathBuf {
        audit::path(&self.host)
    }

    /// The newest lines of what a named sandbox did outside, or those without a name.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound); when the log cannot be read.
    pub fn connections(&self, query: &ConnectionQuery) -> Result<AuditPage> {
        let (path, _) = self.connections_of(query.sandbox.as_ref())?;
        connections::read(&path, query.wanted())
    }

    /// As [`Engine::connections`], and the lines that come until the sandbox ends. Must be called within the runtime.
    ///
    /// # Errors
    /// As [`Engine::connections`]; [`Kind::Unsupported`](agentkernel_model::Kind::Unsupported) where the system does not
    /// tell when a file grows.
    pub fn follow_connections(&self, query: &ConnectionQuery) -> Result<(AuditPage, Following)> {
        let (path, dir) = self.connections_of(query.sandbox.as_ref())?;
        if dir.is_none() {
            directories::ensure(&self.host)?;
        }
        connections::follow(path, dir, query.wanted())
    }

    /// Whether the logs of connections are whole: that of `sandbox`, or all of them.
    ///
    /// # Errors
    /// As [`Engine::connections`].
    pub fn verify_connections(&self, sandbox: Option<&SandboxName>) -> Result<Vec<Verified>> {
        let ends = Ends::read(&self.host)?;
        let named = |id| {
            let path = connections::of_sandbox(&SandboxDir::of(&self.host, id));
            connections::verify(&path, &ends.of_named(id, &path)?)
        };
        if let Some(name) = sandbox {
            return Ok(vec![named(query::by_name(self, name)?.id)?]);
        }
        let shared = connections::verify(&connections::shared(&self.host), &ends.of_unnamed());
        iter::once(shared).chain(directories::all(&self.host)?.into_iter().map(named)).collect()
    }

    fn connections_of(&self, sandbox: Option<&SandboxName>) -> Result<(PathBuf, Option<SandboxDir>)> {
        let Some(name) = sandbox else { return Ok((connections::shared(&self.host), None)) };
        let dir = SandboxDir::of(&self.host, query::by_name(self, name)?.id);
        Ok((connections::of_sandbox(&dir), Some(dir)))
    }

    /// Changes the network rules of a sandbox; what begins from then on is decided by them.
    ///
    /// # Errors
    /// [`Kind::NotFound`](agentkernel_model::Kind::NotFound), also for a rule that is not there; `Conflict` when it has no
    /// network, or is kept by an older version; `Unsupported` when its backend cannot enforce them. Then nothing changed.
    pub async fn change_network(&self, name: &SandboxName, change: &NetworkChange) -> Result<SandboxInfo> {
        self.audit.watched(name, network::change(self, name, change).await)
    }

    /// How agentkernel was used, as far as the log goes back.
    ///
    /// # Errors
    /// When the log or the records cannot be read.
    pub fn stats(&self) -> Result<Stats> {
        stats::stats(self)
    }

    /// Measures the life of sandboxes on backends. Nothing of it stays.
    ///
    /// # Errors
    /// [`Kind::Cancelled`](agentkernel_model::Kind::Cancelled) when the sender of `request.stop` is gone. A backend that is not in this
    /// build or does not work is told in the report.
    pub async fn benchmark(&self, request: &BenchmarkRequest<'_>) -> Result<BenchmarkReport> {
        benchmark::benchmark(self, request).await
    }

    /// The names of sandboxes, for a person who is typing one: asks the records alone.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn names(&self) -> Result<Vec<SandboxName>> {
        query::names(self)
    }

    /// Probes every backend of this build, anew.
    ///
    /// # Errors
    /// When the findings cannot be written down.
    pub async fn backends(&self) -> Result<Vec<BackendReport>> {
        doctor::backends(self).await
    }

    /// Looks at backends, sandboxes and storage.
    ///
    /// # Errors
    /// When nothing can be looked at; what is wrong with a part is a [`Check`].
    pub async fn doctor(&self) -> Result<Vec<Check>> {
        doctor::doctor(self).await
    }

    /// The keeper process of one named sandbox: what the hidden verb `keeper` runs. Returns when the sandbox is gone.
    /// Takes over stdin and stdout of the process and leaves its session: call it first thing, and only there. With `asked`,
    /// of whoever has it started, the start is recorded as a part of that trace.
    ///
    /// # Errors
    /// Why the sandbox could not be started, or stopped in order.
    pub async fn keep(&self, id: SandboxId, asked: Option<Context>) -> Result<()> {
        keeper::keep(self, id, asked).await
    }
}
