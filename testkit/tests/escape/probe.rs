//! What attempts run, inside the sandbox and outside of it: `PROGRAM probe NAME ARGUMENT...`. One line on stdout says what
//! was observed; a probe that cannot observe anything fails.

mod bombs;
mod calls;
mod files;
mod oracle;
mod outside;
mod sockets;

use rustix::io::Errno;
use std::process::ExitCode;

/// What was observed, or why nothing could be.
type Seen = Result<String, String>;

pub(crate) fn main(words: &[String]) -> ExitCode {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match observe(&words) {
        Ok(word) => {
            println!("{word}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("probe: {why}");
            ExitCode::FAILURE
        }
    }
}

fn observe(words: &[&str]) -> Seen {
    match words {
        ["call", name] => calls::call(name),
        ["ask", number, arguments @ ..] => oracle::ask(number, arguments),
        ["i386"] => calls::i386(),
        ["fork-bomb", count] => bombs::forks(count, bombs::Users::One),
        ["fork-bomb-of-many-users", count] => bombs::forks(count, bombs::Users::Many),
        ["memory-bomb", mebibytes] => bombs::memory(mebibytes),
        ["disk-bomb", path, bytes] => bombs::disk(path, bytes),
        ["status", key] => files::status(key),
        ["exists", path] => files::exists(path),
        ["exists-any", paths @ ..] => files::exists_any(paths),
        ["kind", path] => files::kind(path),
        ["read", path] => files::read(path),
        ["may-write", path] => files::may_write(path),
        ["make-directory", path] => files::make_directory(path),
        ["make-file", path] => files::make_file(path),
        ["append", path] => files::append(path),
        ["reopen", path] => files::reopen(path),
        ["overwrite-self"] => files::overwrite_self(),
        ["set-user-id", how, path] => calls::set_user_id(how, path),
        ["connect-path", path] => sockets::connect_path(path),
        ["file-capability", path] => files::file_capability(path),
        ["mount-flag", path, flag] => files::mount_flag(path, flag),
        ["descriptors"] => files::descriptors(),
        ["limit", name, wanted] => files::limit(name, wanted),
        ["variable", name] => files::variable(name),
        ["terminals"] => files::terminals(),
        ["breakout", path] => files::breakout(path),
        ["signal", pid] => calls::signal(pid),
        ["shared-memory", verb, key] => calls::shared_memory(verb, key),
        ["connect-abstract", name] => sockets::connect_abstract(name),
        ["connect", address] => sockets::connect(address),
        ["connect-redirect"] => sockets::connect_redirect(),
        ["with-terminal", program, arguments @ ..] => outside::with_terminal(program, arguments),
        ["with-addresses", addresses, program, arguments @ ..] => {
            outside::with_addresses(addresses, program, arguments)
        }
        _ => Err(format!("there is no such probe: {words:?}")),
    }
}

/// `ok`, or the name of the error.
fn outcome<T>(result: Result<T, Errno>) -> String {
    result.map_or_else(name_of, |_| "ok".to_owned())
}

fn outcome_of_io<T>(result: std::io::Result<T>) -> String {
    outcome(result.map_err(|e| e.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)))
}

fn name_of(errno: Errno) -> String {
    const NAMES: &[(Errno, &str)] = &[
        (Errno::PERM, "EPERM"),
        (Errno::NOENT, "ENOENT"),
        (Errno::SRCH, "ESRCH"),
        (Errno::IO, "EIO"),
        (Errno::NXIO, "ENXIO"),
        (Errno::TOOBIG, "E2BIG"),
        (Errno::BADF, "EBADF"),
        (Errno::AGAIN, "EAGAIN"),
        (Errno::ACCESS, "EACCES"),
        (Errno::FAULT, "EFAULT"),
        (Errno::BUSY, "EBUSY"),
        (Errno::EXIST, "EEXIST"),
        (Errno::NOTDIR, "ENOTDIR"),
        (Errno::INVAL, "EINVAL"),
        (Errno::NOTTY, "ENOTTY"),
        (Errno::TXTBSY, "ETXTBSY"),
        (Errno::NOSPC, "ENOSPC"),
        (Errno::ROFS, "EROFS"),
        (Errno::NOSYS, "ENOSYS"),
        (Errno::LOOP, "ELOOP"),
        (Errno::OPNOTSUPP, "EOPNOTSUPP"),
        (Errno::AFNOSUPPORT, "EAFNOSUPPORT"),
        (Errno::CONNREFUSED, "ECONNREFUSED"),
        (Errno::NETUNREACH, "ENETUNREACH"),
    ];
    let found = NAMES.iter().find(|(e, _)| *e == errno).map(|(_, name)| (*name).to_owned());
    found.unwrap_or_else(|| format!("errno {}", errno.raw_os_error()))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("'{text}' is no number that fits"))
}
