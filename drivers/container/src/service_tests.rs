use super::*;
use agentkernel_backend::Surroundings;
use std::{fs::Permissions, os::unix::fs::PermissionsExt as _};

const PATIENCE: Duration = Duration::from_secs(60);

/// Something in Podman's place, which does as `script` says with `sock`, the socket that it is given the name of.
fn podman(dir: &Path, script: &str) -> PathBuf {
    let program = dir.join("podman");
    let head = "#!/usr/bin/env python3\nimport os, socket, sys\npath = sys.argv[-1][len('unix://'):]\n\
                sock = socket.socket(socket.AF_UNIX)\n\
                def say(what): socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(what, os.environ['NOTIFY_SOCKET'])\n";
    fs::write(&program, format!("{head}{script}")).unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}

fn host(dir: &Path) -> Host {
    fs::create_dir(dir.join("run")).unwrap();
    let surroundings = Surroundings { runtime_dir: Some(dir.join("run")), ..Surroundings::default() };
    let (data, exe, login) = (dir.join("data"), "/nowhere".into(), "ada".to_owned());
    Host { data, exe, uid: 1000, gid: 1000, login, surroundings }
}

fn fifo(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)
        .unwrap();
    path
}

#[test]
fn a_socket_that_is_there_before_anybody_listens_is_waited_for() {
    let (dir, beside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (bound, go) = (fifo(beside.path(), "bound"), fifo(beside.path(), "go"));
    let script = format!(
        "sock.bind(path)\nopen({bound:?}, 'w').write('b')\nsay(b'STATUS=soon')\nopen({go:?}).read()\n\
         sock.listen()\nsay(b'MAINPID=1\\nREADY=1')\nsock.accept()\n"
    );
    let (program, socket) = (podman(beside.path(), &script), dir.path().join("podman.sock"));
    let (own, there) = (dir.path().to_owned(), socket.clone());
    let starting = std::thread::spawn(move || start(&program, &own, &there, PATIENCE));
    let mut byte = [0];
    fs::File::open(&bound).unwrap().read_exact(&mut byte).unwrap();
    assert_eq!(UnixStream::connect(&socket).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    fs::File::options().write(true).open(&go).unwrap().write_all(b"g").unwrap();
    starting.join().unwrap().unwrap();
    UnixStream::connect(&socket).unwrap();
    assert!(!dir.path().join(NOTICE).exists());
}

#[test]
fn a_service_that_ends_is_told_and_one_that_never_listens_is_ended() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("podman.sock");
    let ends = podman(dir.path(), "sock.bind(path)\n");
    let error = start(&ends, dir.path(), &socket, PATIENCE).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    fs::remove_file(&socket).unwrap();

    // Its standing is told by a pipe, whose end comes when all of its processes have ended.
    let alive = fifo(dir.path(), "alive");
    let silent = podman(
        dir.path(),
        &format!("alive = open({alive:?}, 'w')\nos.fork()\nimport signal; signal.pause()\n"),
    );
    let waiting = std::thread::spawn(move || fs::read(alive).unwrap());
    let error = start(&silent, dir.path(), &socket, Duration::from_secs(2)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    waiting.join().unwrap();
}

#[test]
fn a_service_is_in_use_while_it_is_held_and_started_again_when_it_has_ended() {
    let dir = tempfile::tempdir().unwrap();
    // Each one answers one question, is asked nothing more, and ends when a byte comes.
    let (end, count) = (fifo(dir.path(), "end"), dir.path().join("count"));
    let program = podman(
        dir.path(),
        &format!(
            "sock.bind(path)\nsock.listen()\nopen({count:?}, 'a').write('x')\nsay(b'READY=1')\n\
             asked, _ = sock.accept()\nasked.recv(9999)\nasked.send(b'HTTP/1.1 200 OK\\r\\n')\n\
             open({end:?}).read()\nos.unlink(path)\n"
        ),
    );
    let host = host(dir.path());
    let service = Service::default();
    assert!(service.is_well());
    let socket = service.ensure(&host, &program).unwrap();
    for starts in [1, 2] {
        assert!(service.is_well());
        service.revive(&host).unwrap();
        assert_eq!(fs::read(&count).unwrap().len(), starts);
        drop(fs::File::options().write(true).open(&end).unwrap());
        let held = service.held.lock().unwrap();
        let mut closed = [PollFd::new(&held.as_ref().unwrap().question, PollFlags::RDHUP)];
        poll(&mut closed, None).unwrap();
        drop(held);
        assert!(!service.is_well());
        service.revive(&host).unwrap();
    }
    drop(fs::File::options().write(true).open(&end).unwrap());
    assert_eq!(socket, dir.path().join("run/agentkernel/podman.sock"));
}
