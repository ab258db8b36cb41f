use super::*;

fn shell(place: &Path, script: &str) -> Result<Daemon> {
    Daemon::start("shell", Path::new("/bin/sh"), place, |command| {
        command.env("PATH", "/usr/local/bin:/usr/bin:/bin").args(["-c", script]);
    })
}

#[test]
fn a_daemon_that_ends_at_once_is_told_with_its_last_words() {
    let place = tempfile::tempdir().unwrap();
    let error = shell(place.path(), "echo first; echo 'no such\tthing' >&2; exit 3").unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let said = error.message();
    assert!(said.starts_with("shell ended before it was ready; it said: no such"), "{said}");
    assert!(!said.contains('\t'), "{said}");
}

#[test]
fn a_daemon_is_ready_when_it_says_so_and_ends_in_order() {
    let place = tempfile::tempdir().unwrap();
    // A worker and a parent that waits for it, as rootless Podman has them. The worker is named in the message.
    let notify = "import os, socket, signal, sys\n\
        def ended(*_):\n    open('ended', 'w').close()\n    sys.exit(0)\n\
        signal.signal(signal.SIGTERM, ended)\n\
        s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
        to = os.environ['NOTIFY_SOCKET']\n\
        s.sendto(b'STATUS=soon', to)\n\
        s.sendto(b'MAINPID=%d\\nREADY=1' % os.getpid(), to)\n\
        signal.pause()\n";
    fs::write(place.path().join("notify.py"), notify).unwrap();
    let mut daemon = shell(place.path(), "python3 notify.py & wait; wait").unwrap();
    assert!(daemon.main.is_some());
    daemon.end().unwrap();
    assert!(place.path().join("ended").exists());
    assert!(proc::wait_until(daemon.main.as_ref().unwrap(), Instant::now()).unwrap());
}
