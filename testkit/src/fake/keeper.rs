//! Who holds a named fake sandbox: a lock and a socket of the process that started it. The kernel closes both when
//! that process ends, which is how everybody else learns of it.

use super::store::Home;
use agentkernel_model::{Error, Kind, Result};
use std::{
    fs::{self, File},
    os::fd::AsRawFd as _,
    path::PathBuf,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

const STOP: u8 = b'S';
/// How long an answer of a keeper may take; it has nothing to do but to close its socket.
const ANSWER: Duration = Duration::from_secs(10);

/// The socket's path: through a descriptor of its directory, since a socket's name has at most 107 bytes.
fn with_socket<T>(home: &Home, act: impl FnOnce(PathBuf) -> std::io::Result<T>) -> std::io::Result<T> {
    let directory = File::open(&home.path)?;
    act(PathBuf::from(format!("/proc/self/fd/{}/keeper.sock", directory.as_raw_fd())))
}

/// Takes the keeping of `home` over. `lock` is the proof that nobody else has it.
pub(super) fn keep(home: &Home, lock: File) -> Result<JoinHandle<()>> {
    let fail = |e| Error::io(format!("cannot open the socket of the fake sandbox {}", home.id), e);
    let listener = with_socket(home, |path| {
        match fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        std::os::unix::net::UnixListener::bind(path)
    });
    let listener =
        listener.and_then(|l| l.set_nonblocking(true).map(|()| l)).and_then(UnixListener::from_std);
    let listener = listener.map_err(fail)?;
    Ok(tokio::spawn(serve(listener, lock, home.path.join("keeper.sock"))))
}

async fn serve(listener: UnixListener, lock: File, socket: PathBuf) {
    let (stop, mut stopped) = watch::channel(false);
    let mut visitors = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            Some(_) = visitors.join_next(), if !visitors.is_empty() => {}
            visitor = listener.accept() => if let Ok((stream, _)) = visitor {
                visitors.spawn(visit(stream, stop.clone()));
            },
        }
    }
    // In this order: who sees the end of the connection may start the sandbox again at once.
    drop(listener);
    let _already_gone = fs::remove_file(socket);
    drop(lock);
}

/// A connection lives as long as its visitor wants; one byte asks the keeper to stop.
async fn visit(mut stream: UnixStream, stop: watch::Sender<bool>) {
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(1) if byte[0] == STOP => {
            stop.send_replace(true);
            // Open until the keeper drops it: the visitor waits for that.
            std::future::pending().await
        }
        _ => {}
    }
}

/// A connection to the keeper of a running sandbox, and the news of its end.
#[derive(Debug)]
pub(super) struct Link {
    gone: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Link {
    /// `None` when nobody keeps the sandbox.
    pub(super) async fn open(home: &Home) -> Result<Option<Self>> {
        let Some(mut stream) = connect(home)? else { return Ok(None) };
        let (tell, gone) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut byte = [0];
            while matches!(stream.read(&mut byte).await, Ok(1)) {}
            tell.send_replace(true);
        });
        Ok(Some(Self { gone, task }))
    }

    pub(super) fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }

    pub(super) async fn gone(&self) {
        // An error says that the sender is gone, which it tells first.
        let mut gone = self.gone.clone();
        let _told = gone.wait_for(|gone| *gone).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn connect(home: &Home) -> Result<Option<UnixStream>> {
    let stream = with_socket(home, std::os::unix::net::UnixStream::connect);
    match stream {
        Ok(stream) => stream
            .set_nonblocking(true)
            .and_then(|()| UnixStream::from_std(stream))
            .map(Some)
            .map_err(|e| Error::io("cannot watch the keeper of a fake sandbox", e)),
        Err(e)
            if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
        {
            Ok(None)
        }
        Err(e) => Err(Error::io("cannot reach the keeper of a fake sandbox", e)),
    }
}

/// Asks the keeper, whoever it is, to let go, and waits until it has. No keeper is no error.
pub(super) async fn release(home: &Home) -> Result<()> {
    let Some(mut stream) = connect(home)? else { return Ok(()) };
    let conversation = async {
        let mut byte = [0];
        if stream.write_all(&[STOP]).await.is_ok() {
            while matches!(stream.read(&mut byte).await, Ok(1)) {}
        }
    };
    tokio::time::timeout(ANSWER, conversation).await.map_err(|_| {
        Error::new(Kind::Timeout, format!("the keeper of the fake sandbox {} does not let go", home.id))
    })
}
