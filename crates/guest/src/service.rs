//! Init's loop: requests of the host, ends of children, and the end of the keeper. One thread, one poll.

use crate::{
    command::{Spawn, Started, Streams, Walls},
    fault::Step,
    files,
    link::{
        frame::Number,
        relay::{Relay, Rest, State, Token},
    },
    memory::OutOfMemory,
    network, sys, terminal,
    transfer::{self, Task},
    wire::{Exec, Fault, Filled, Inbox, Reply, Request, StartFault, VERSION, send},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    net::{SocketFlags, accept_with},
    process::{Pid, Signal, WaitOptions, WaitStatus},
    time::Timespec,
};
use std::time::{Duration, Instant};

/// More than this many callers at once wait in the listener's queue.
const MAX_CALLERS: usize = 1024;

/// One connection of the host: it asks for one command, or for a file, an archive or a socket.
#[derive(Debug)]
struct Caller {
    socket: OwnedFd,
    inbox: Inbox,
    command: Option<Pid>,
    /// Open until the command is executed, or says why it is not.
    verdict: Option<OwnedFd>,
    /// The caller wants to hear of that in the first case too.
    tell_start: bool,
    /// The controlling end of the command's terminal.
    terminal: Option<OwnedFd>,
    role: Role,
    /// Its number, where it came over a relay.
    number: Option<Number>,
}

impl Caller {
    fn new(socket: OwnedFd, role: Role) -> Self {
        Self {
            socket,
            inbox: Inbox::default(),
            command: None,
            verdict: None,
            tell_start: false,
            terminal: None,
            role,
            number: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The keeper's connection: when it ends, so does the sandbox. Its command is an ephemeral sandbox's only one.
    Keeper,
    Guest,
}

/// Whether the loop goes on.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Continue,
    /// The sandbox is over.
    End,
}

#[derive(Debug)]
pub struct Service {
    children: OwnedFd,
    listener: Option<OwnedFd>,
    walls: Walls,
    callers: Vec<Caller>,
    /// Terminals whose callers left: held until their commands end, which would be hung up otherwise.
    abandoned: Vec<(Pid, OwnedFd)>,
    /// When a stop turns from SIGTERM to SIGKILL.
    deadline: Option<Instant>,
    /// Where the host cannot tell by itself why a command was killed.
    memory: Option<OutOfMemory>,
    /// Where everything goes over one stream.
    relay: Option<Relay>,
    /// How the keeper's command ended, which is told when everything that it wrote is on its way.
    last_words: Option<Reply>,
    /// Callers whose commands have ended, and what has to be passed on before they are told.
    leaving: Vec<(Caller, Reply, Rest)>,
}

/// How long the end of a sandbox may take: for processes that do not die, and for callers who do not read.
const LAST: Duration = Duration::from_secs(5);

impl Service {
    pub fn new(control: OwnedFd, listener: Option<OwnedFd>, walls: Walls) -> Result<Self, Errno> {
        Ok(Self {
            children: sys::signalfd_child()?,
            listener,
            walls,
            callers: vec![Caller::new(control, Role::Keeper)],
            abandoned: Vec::new(),
            deadline: None,
            memory: None,
            relay: None,
            last_words: None,
            leaving: Vec::new(),
        })
    }

    /// The same, which tells callers when `memory` says that a command was killed for want of it.
    #[must_use]
    pub fn watching(mut self, memory: Option<OutOfMemory>) -> Self {
        self.memory = memory;
        self
    }

    /// The same, whose keeper and callers are at the other end of `relay`.
    #[must_use]
    pub fn through(mut self, relay: Option<Relay>) -> Self {
        self.relay = relay;
        self
    }

    pub fn run(mut self, first: Option<(Exec, Option<[OwnedFd; 3]>)>) -> Result<(), Errno> {
        if let Some((exec, streams)) = first {
            self.start(0, &exec, streams, Spawn::First);
        }
        while self.turn()? == Next::Continue {}
        self.finish();
        Ok(())
    }

    /// Descriptors that were passed outlive this process; what a relay holds would be lost with it.
    fn finish(&mut self) {
        let Some(mut relay) = self.relay.take() else { return };
        self.end_everyone();
        self.abandoned.clear();
        let keeper = self.callers.drain(..).find(|caller| caller.role == Role::Keeper);
        let words = self.last_words.take();
        // Whoever waits for the one command waits for all that it wrote, however slowly it is read.
        let deadline = words.is_none().then(|| Instant::now() + LAST);
        relay.finish(deadline);
        for (caller, reply, _) in self.leaving.drain(..) {
            let _ = send(caller.socket.as_fd(), &reply, &[]);
        }
        if let Some((keeper, words)) = keeper.zip(words) {
            let _ = send(keeper.socket.as_fd(), &words, &[]);
        }
        relay.finish(deadline);
    }

    /// Again and again: gVisor's kill(2) of everyone misses a process that is just being made.
    fn end_everyone(&self) {
        let deadline = Instant::now() + LAST;
        let moment = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
        while Instant::now() < deadline {
            sys::signal_everyone(Signal::KILL);
            loop {
                match rustix::process::wait(WaitOptions::NOHANG) {
                    Err(Errno::CHILD) => return,
                    Ok(Some(_)) | Err(Errno::INTR) => {}
                    Ok(None) | Err(_) => break,
                }
            }
            let _ = poll(&mut [PollFd::new(&self.children, PollFlags::IN)], Some(&moment));
            let _ = rustix::io::read(&self.children, &mut [0_u8; 1024]);
        }
    }

    fn turn(&mut self) -> Result<Next, Errno> {
        let timeout = self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let ready = self.wait(timeout)?;
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(Next::End);
        }
        for index in ready.verdicts {
            self.judge(index);
        }
        if self.relay(&ready.relay) == Next::End {
            return Ok(Next::End);
        }
        // From the last to the first: a caller that leaves is replaced by the last.
        for index in ready.callers.into_iter().rev() {
            if self.hear(index) == Next::End {
                return Ok(Next::End);
            }
        }
        if ready.listener {
            self.accept();
        }
        // A stop that finds nobody to stop is complete without any child ending.
        if ready.children || self.deadline.is_some() { self.reap() } else { Ok(Next::Continue) }
    }

    fn wait(&self, timeout: Option<Duration>) -> Result<Ready, Errno> {
        let listener = self.listener.as_ref().filter(|_| self.callers.len() < MAX_CALLERS);
        let mut fds = vec![PollFd::new(&self.children, PollFlags::IN)];
        fds.extend(listener.map(|l| PollFd::new(l, PollFlags::IN)));
        let first = fds.len();
        fds.extend(self.callers.iter().map(|c| PollFd::new(&c.socket, PollFlags::IN)));
        let starting: Vec<usize> =
            (0..self.callers.len()).filter(|i| self.callers[*i].verdict.is_some()).collect();
        let last = fds.len();
        fds.extend(
            self.callers.iter().filter_map(|c| c.verdict.as_ref()).map(|v| PollFd::new(v, PollFlags::IN)),
        );
        let relay = self.relay.as_ref().map(Relay::interest).unwrap_or_default();
        let relayed = fds.len();
        fds.extend(relay.iter().map(|i| PollFd::from_borrowed_fd(i.fd, i.events)));
        let timeout = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
        let is_ready = |fd: &PollFd<'_>| !fd.revents().is_empty();
        Ok(Ready {
            children: is_ready(&fds[0]),
            listener: listener.is_some() && is_ready(&fds[1]),
            verdicts: starting
                .iter()
                .enumerate()
                .filter(|(i, _)| is_ready(&fds[last + i]))
                .map(|(_, c)| *c)
                .collect(),
            callers: (first..last).filter(|i| is_ready(&fds[*i])).map(|i| i - first).collect(),
            relay: relay
                .iter()
                .zip(&fds[relayed..])
                .filter(|(_, fd)| is_ready(fd))
                .map(|(interest, _)| interest.token)
                .collect(),
        })
    }

    /// Carries what the stream has on, and takes the conversations that were opened over it.
    fn relay(&mut self, ready: &[Token]) -> Next {
        let Some(relay) = &mut self.relay else { return Next::Continue };
        if relay.advance(ready) == State::Over {
            return Next::End;
        }
        for (number, socket) in relay.opened() {
            if self.callers.len() < MAX_CALLERS && rustix::io::ioctl_fionbio(&socket, true).is_ok() {
                self.callers.push(Caller { number: Some(number), ..Caller::new(socket, Role::Guest) });
            }
        }
        let told = |(caller, reply, rest): &mut (Caller, Reply, Rest)| {
            let done = relay.is_passed_on(rest);
            if done {
                let _ = send(caller.socket.as_fd(), reply, &[]);
            }
            done
        };
        self.leaving.extract_if(.., told).for_each(drop);
        Next::Continue
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        if let Ok(socket) = accept_with(listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            // Only the host asks: a process inside that found the socket in a shared directory has a number here.
            if matches!(sys::peer(&socket), Ok((0, _))) || crate::mutation::off("callers-from-outside") {
                self.callers.push(Caller::new(socket, Role::Guest));
            }
        }
    }

    /// Reads what a caller sent. A caller that breaks the protocol or leaves is forgotten; its command runs on.
    fn hear(&mut self, index: usize) -> Next {
        let caller = &mut self.callers[index];
        match caller.inbox.fill(&caller.socket) {
            Ok(Filled::Some) => {}
            Err(Errno::AGAIN) => return Next::Continue,
            Ok(Filled::End) | Err(_) => return self.forget(index),
        }
        loop {
            match self.callers[index].inbox.pop::<Request>() {
                Ok(Some(request)) => {
                    if self.answer(index, request).is_err() {
                        return self.forget(index);
                    }
                }
                Ok(None) => return Next::Continue,
                Err(_) => return self.forget(index),
            }
        }
    }

    fn forget(&mut self, index: usize) -> Next {
        if self.callers[index].role == Role::Keeper && !crate::mutation::off("lifeline") {
            return Next::End;
        }
        let caller = self.callers.swap_remove(index);
        self.abandoned.extend(caller.command.zip(caller.terminal));
        Next::Continue
    }

    fn answer(&mut self, index: usize, request: Request) -> Result<(), Errno> {
        let caller = &mut self.callers[index];
        let reply =
            |caller: &Caller, reply: Reply, fds: &[BorrowedFd<'_>]| send(caller.socket.as_fd(), &reply, fds);
        match request {
            Request::Begin { .. } => Err(Errno::PROTO),
            Request::Hello { version } if version == VERSION => Ok(()),
            Request::Hello { .. } => reply(caller, Reply::Version { version: VERSION }, &[]),
            Request::Exec(exec) => {
                let streams = match exec.terminal {
                    Some(_) => None,
                    None => {
                        let mut take = || caller.inbox.take_fd().ok_or(Errno::PROTO);
                        Some([take()?, take()?, take()?])
                    }
                };
                self.start(index, &exec, streams, Spawn::Later);
                Ok(())
            }
            Request::TellStart => match (caller.command, &caller.verdict) {
                (Some(pid), None) => reply(caller, started(pid), &[]),
                _ => {
                    caller.tell_start = true;
                    Ok(())
                }
            },
            Request::Signal(number) => {
                if let Some(pid) = caller.command {
                    signal(pid, number, caller.terminal.as_ref());
                }
                Ok(())
            }
            Request::SignalGroup(number) => {
                if let Some(pid) = caller.command {
                    signal_group(pid, number);
                }
                Ok(())
            }
            Request::Resize { rows, columns } => {
                caller.terminal.as_ref().map_or(Ok(()), |t| terminal::resize(t, rows, columns))
            }
            Request::Stop { grace_ms } => {
                self.deadline = Some(Instant::now() + Duration::from_millis(grace_ms));
                sys::signal_everyone(Signal::TERM);
                Ok(())
            }
            // Behind a relay, nobody but this side sees whether the connection is made.
            Request::Dial { port } if self.relay.is_some() => network::dial_apart(&caller.socket, port),
            Request::Dial { port } => match network::dial(port) {
                Ok(socket) => reply(caller, Reply::Opened, &[socket.as_fd()]),
                Err(fault) => reply(caller, Reply::Refused(fault), &[]),
            },
            Request::Open { path } => files::open_apart(&caller.socket, &path),
            Request::Write { path, mode } => self.transfer(index, &Task::Write { path, mode }),
            Request::Look { path } => files::look_apart(&caller.socket, &path),
            Request::Remove { path } => files::remove_apart(&caller.socket, &path),
            Request::List { path } => files::list_apart(&caller.socket, &path),
            Request::Store { path, mode } => self.transfer(index, &Task::Store { path, mode }),
            Request::Pack { path, name } => self.transfer(index, &Task::Pack { path, name }),
            Request::Unpack { path } => {
                let ownership = self.walls.ownership();
                self.transfer(index, &Task::Unpack { path, ownership })
            }
        }
    }

    /// The child that does it counts as the caller's command: when it is killed, the caller is told.
    fn transfer(&mut self, index: usize, task: &Task) -> Result<(), Errno> {
        let caller = &mut self.callers[index];
        let pipe = caller.inbox.take_fd().ok_or(Errno::PROTO)?;
        match transfer::start(caller.socket.as_fd(), task, pipe) {
            Ok(pid) => {
                caller.command = Some(pid);
                Ok(())
            }
            Err(fault) => send(caller.socket.as_fd(), &Reply::Refused(fault), &[]),
        }
    }

    fn start(&mut self, index: usize, exec: &Exec, streams: Option<[OwnedFd; 3]>, spawn: Spawn) {
        let caller = &mut self.callers[index];
        match begin(&self.walls, caller.socket.as_fd(), exec, streams, spawn) {
            Ok((started, terminal)) => {
                caller.terminal = terminal;
                caller.command = Some(started.pid);
                caller.verdict = Some(started.verdict);
            }
            Err(fault) => {
                let fault = StartFault::Other(fault);
                let _ = send(caller.socket.as_fd(), &Reply::NotStarted(fault), &[]);
            }
        }
    }

    /// A command was executed, or said why it could not be: tells the caller in the second case, and in the first where it
    /// asked for that.
    fn judge(&mut self, index: usize) {
        let caller = &mut self.callers[index];
        let Some(verdict) = caller.verdict.take() else { return };
        match (read_verdict(&verdict), caller.command) {
            (Err(fault), _) => {
                caller.command = None;
                let _ = send(caller.socket.as_fd(), &Reply::NotStarted(fault), &[]);
            }
            (Ok(()), Some(pid)) if caller.tell_start => {
                let _ = send(caller.socket.as_fd(), &started(pid), &[]);
            }
            (Ok(()), _) => {}
        }
    }

    /// Collects every child that ended: commands, whose callers are told, and orphans.
    fn reap(&mut self) -> Result<Next, Errno> {
        let mut sink = [0_u8; 1024];
        let _ = rustix::io::read(&self.children, &mut sink);
        loop {
            match rustix::process::wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    if self.ended(pid, status) == Next::End {
                        return Ok(Next::End);
                    }
                }
                // Nobody is left: a stop is complete.
                Err(Errno::CHILD) if self.deadline.is_some() => return Ok(Next::End),
                Ok(None) | Err(Errno::CHILD) => return Ok(Next::Continue),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn ended(&mut self, pid: Pid, status: WaitStatus) -> Next {
        self.abandoned.retain(|(holder, _)| *holder != pid);
        let Some(index) = self.callers.iter().position(|c| c.command == Some(pid)) else {
            return Next::Continue;
        };
        let reply = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => Reply::Exited { code },
            (None, Some(number)) => {
                let kill = number == Signal::KILL.as_raw();
                let out_of_memory = kill && self.memory.as_mut().is_some_and(OutOfMemory::happened);
                Reply::Signaled { number, out_of_memory }
            }
            (None, None) => return Next::Continue,
        };
        // A command that could not be executed ends as well: its reason comes first.
        self.judge(index);
        let caller = &mut self.callers[index];
        let told = caller.command.take().is_none();
        if caller.role == Role::Keeper {
            match &self.relay {
                Some(_) if !told => self.last_words = Some(reply),
                None if !told => drop(send(caller.socket.as_fd(), &reply, &[])),
                _ => {}
            }
            return Next::End;
        }
        let caller = self.callers.swap_remove(index);
        // Who hears of the end takes what the command wrote for complete.
        match (&self.relay, caller.number) {
            _ if told => {}
            (Some(relay), Some(number)) if !relay.is_passed_on(&relay.rest(number)) => {
                let rest = relay.rest(number);
                self.leaving.push((caller, reply, rest));
            }
            _ => drop(send(caller.socket.as_fd(), &reply, &[])),
        }
        Next::Continue
    }
}

/// Which descriptors have something.
struct Ready {
    children: bool,
    listener: bool,
    verdicts: Vec<usize>,
    callers: Vec<usize>,
    relay: Vec<Token>,
}

/// Forks the command; with a terminal, makes one and hands its controlling end to the caller.
fn begin(
    walls: &Walls,
    socket: BorrowedFd<'_>,
    exec: &Exec,
    streams: Option<[OwnedFd; 3]>,
    spawn: Spawn,
) -> Result<(Started, Option<OwnedFd>), Fault> {
    let Some((rows, columns)) = exec.terminal else {
        let streams = streams.ok_or(Errno::BADF).step(|| "take the command's streams".to_owned())?;
        return Ok((walls.start(exec, Streams::Pipes(streams), spawn)?, None));
    };
    let (controller, end) = terminal::open(rows, columns).step(|| "make a terminal".to_owned())?;
    let started = walls.start(exec, Streams::Terminal(end), spawn)?;
    send(socket, &Reply::Terminal, &[controller.as_fd()]).step(|| "hand the terminal over".to_owned())?;
    Ok((started, Some(controller)))
}

/// Nothing in the pipe, which closed at the exec, means success.
fn read_verdict(verdict: &OwnedFd) -> Result<(), StartFault> {
    let other = |errno: Errno| StartFault::Other(Fault::new("start the command", errno));
    // One write of less than PIPE_BUF arrives whole.
    let mut json = [0_u8; 4096];
    match rustix::io::retry_on_intr(|| rustix::io::read(verdict, &mut json)) {
        Ok(0) => Ok(()),
        Ok(length) => Err(serde_json::from_slice(&json[..length]).unwrap_or_else(|_| other(Errno::PROTO))),
        Err(errno) => Err(other(errno)),
    }
}

/// To the command; with a terminal, to whatever group is in its foreground, as the keyboard does.
fn signal(pid: Pid, number: i32, terminal: Option<&OwnedFd>) {
    let Some(signal) = Signal::from_named_raw(number) else { return };
    let foreground = terminal.and_then(|t| rustix::termios::tcgetpgrp(t).ok());
    let _ = match foreground {
        Some(group) => rustix::process::kill_process_group(group, signal),
        None => rustix::process::kill_process(pid, signal),
    };
}

/// To the group that the command leads, or to it alone while it has not made itself one.
fn signal_group(pid: Pid, number: i32) {
    let Some(signal) = Signal::from_named_raw(number) else { return };
    if rustix::process::kill_process_group(pid, signal).is_err() {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

fn started(pid: Pid) -> Reply {
    Reply::Started { pid: pid.as_raw_nonzero().get().unsigned_abs() }
}
