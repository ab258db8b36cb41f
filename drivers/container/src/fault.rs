//! Errors of engines as the errors of this project.

use agentkernel_model::{Error, Kind, text::printable};
use bollard::errors::Error as Engine;

/// The status of an answer that is an error.
pub(crate) const fn status(error: &Engine) -> Option<u16> {
    match error {
        Engine::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether the engine has no such object.
pub(crate) fn is_missing(error: &Engine) -> bool {
    match error {
        Engine::DockerResponseServerError { status_code: 404, .. } => true,
        // Podman, of one that went while it was looked at.
        Engine::DockerResponseServerError { message, .. } => message.contains("no such container"),
        _ => false,
    }
}

/// Whether the container's process ended while the engine looked at it: Podman reads its cgroup in /proc. It says so no
/// second time.
pub(crate) fn is_of_a_process_that_ended(error: &Engine) -> bool {
    matches!(error, Engine::DockerResponseServerError { message, .. } if message.contains("no such process"))
}

/// Whether the engine does not know what it was asked to do, and not only whom to.
pub(crate) fn is_unknown_request(error: &Engine) -> bool {
    match error {
        Engine::DockerResponseServerError { status_code: 404 | 405, message } => {
            !message.to_lowercase().contains("no such container")
        }
        _ => false,
    }
}

/// Whether this answer to a wait says that the container has ended, or is gone.
pub(crate) fn is_end(error: &Engine) -> bool {
    is_missing(error) || matches!(error, Engine::DockerContainerWaitError { .. })
}

/// The container cannot be started. What stands in the way is something of the image or of an earlier command, such as a
/// link where something is to be mounted: engines call that a bad request. Or somebody else has removed it.
pub(crate) fn not_started(error: Engine) -> Error {
    if is_missing(&error) {
        return Error::new(Kind::NotFound, "the sandbox's container is gone: somebody else has removed it")
            .with_hint("what it had written is lost: 'agentkernel sandbox remove' it, and create it again");
    }
    let conflict = status(&error) == Some(400);
    let error = failed("start the container", error);
    if conflict { Error::new(Kind::Conflict, error.message().to_owned()) } else { error }
}

/// `what` failed, such as `start the container`.
pub(crate) fn failed(what: &str, error: Engine) -> Error {
    let message = format!("cannot {what}");
    match error {
        Engine::DockerResponseServerError { status_code, message: said } => {
            let said = printable(said.trim()).to_string();
            let kind = match status_code {
                400 => Kind::Invalid,
                403 => Kind::Denied,
                404 => Kind::NotFound,
                409 => Kind::Conflict,
                // The working directory of an image that leads through a file.
                _ if said.contains("not a directory") => Kind::Invalid,
                _ if said.contains("no space left on device") => Kind::Exhausted,
                _ => Kind::Internal,
            };
            let error = Error::new(kind, format!("{message}: the engine says: {said}"));
            match kind {
                Kind::Exhausted => error.with_hint(
                    "make room on the engine's disk: 'agentkernel clean --all' removes copies of images that nothing uses",
                ),
                _ => error,
            }
        }
        Engine::RequestTimeoutError => {
            Error::new(Kind::Timeout, format!("{message}: the engine does not answer"))
        }
        other => Error::new(Kind::Unavailable, format!("{message}: the engine cannot be reached"))
            .with_source(other)
            .with_hint("agentkernel doctor"),
    }
}
