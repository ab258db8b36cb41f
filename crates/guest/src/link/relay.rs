//! One end of the stream: channels with descriptors on this side, and the loop that carries bytes between both.
//!
//! The other side may be hostile. It is held to what the protocol allows, what waits for a slow reader here is bounded
//! by [`super::channel::WINDOW`] for each of [`MAX_CHANNELS`], and a side that breaks the rules loses the connection.

use super::{
    channel::{Channel, Content, Flushed, Heard, MAX_GIFTS, purpose},
    frame::{self, Frame, MAX_CONTENT, Number, Use},
    ports::{Ports, SandboxPorts},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fd::{AsFd as _, BorrowedFd, OwnedFd},
    io::Errno,
    net::{Shutdown, shutdown},
    time::Timespec,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// The most channels at once, and how many of them may be connections of the sandbox's network.
const MAX_CHANNELS: usize = 1024;
pub(super) const MAX_FLOWS: usize = 512;
/// Nothing more is read from this side's descriptors while so many bytes wait for the stream; conversations may go a
/// little further, so that no stream keeps them out.
const MAX_OUTGOING: usize = 256 * 1024;
const RESERVE: usize = 128 * 1024;
/// No side owes the other more than this, if both keep to the rules.
const MAX_OWED: usize = 4 << 20;
/// The channel of the keeper's own conversation.
const CONTROL: Number = 0;

/// A descriptor that a relay waits for.
#[derive(Debug, Clone, Copy)]
pub struct Interest<'a> {
    pub token: Token,
    pub fd: BorrowedFd<'a>,
    pub events: PollFlags,
}

/// Which of its descriptors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    Input,
    Output,
    Callers,
    Datagrams,
    Tcp(usize),
    Udp(usize),
    Channel(Number),
    /// The same, of which it is only asked whether somebody still reads there.
    Reader(Number),
}

/// Whether the stream still carries anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Live,
    /// The other side is gone, broke the rules, or the keeper here has left.
    Over,
}

/// What a relay still had to pass on at some moment.
#[derive(Debug)]
pub struct Rest(Vec<(Number, u64)>);

#[derive(Debug)]
pub struct Relay {
    input: OwnedFd,
    output: OwnedFd,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    channels: BTreeMap<Number, Channel>,
    /// This side's next number, and the other's highest so far.
    next: Number,
    heard: Option<Number>,
    ports: Ports,
    state: State,
    /// The streams that came or went with each conversation.
    streams: BTreeMap<Number, Vec<Number>>,
    /// How many connections of the sandbox's network there are.
    flows: usize,
    /// Where the next round of streams begins, so that none is always the first.
    first: Number,
    /// Descriptors ran out: nobody is let in until something has ended.
    exhausted: bool,
}

impl Relay {
    /// The end inside; and process 1's end of the keeper's conversation.
    ///
    /// # Errors
    /// When the kernel refuses descriptors.
    pub fn inside(input: OwnedFd, output: OwnedFd) -> Result<(Self, OwnedFd), Errno> {
        Self::new(input, output, Ports::Sandbox(SandboxPorts::default()))
    }

    pub(super) fn new(input: OwnedFd, output: OwnedFd, ports: Ports) -> Result<(Self, OwnedFd), Errno> {
        rustix::io::ioctl_fionbio(&input, true)?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let (control, theirs) = Channel::pair(Content::Conversation, Use::Both)?;
        let next = if matches!(ports, Ports::Keeper(_)) { 2 } else { 1 };
        let relay = Self {
            input,
            output,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            channels: BTreeMap::from([(CONTROL, control)]),
            next,
            heard: None,
            ports,
            state: State::Live,
            streams: BTreeMap::new(),
            flows: 0,
            first: 0,
            exhausted: false,
        };
        Ok((relay, theirs))
    }

    /// Carries the traffic that ends in `listeners`: TCP and UDP in turn, as [`crate::network::captured`] makes them.
    pub fn capture(&mut self, listeners: Vec<OwnedFd>) {
        if let Ports::Sandbox(ports) = &mut self.ports {
            for (index, listener) in listeners.into_iter().enumerate() {
                if index % 2 == 0 { ports.tcp.push(listener) } else { ports.udp.push(listener) }
            }
        }
    }

    /// Conversations that the keeper's side opened since the last call.
    pub fn opened(&mut self) -> Vec<(Number, OwnedFd)> {
        match &mut self.ports {
            Ports::Sandbox(ports) => std::mem::take(&mut ports.opened),
            Ports::Keeper(_) | Ports::Closed => Vec::new(),
        }
    }

    /// What has to be passed on of the streams of `conversation`, so that everything that is in them now is where it was
    /// meant to go.
    pub fn rest(&self, conversation: Number) -> Rest {
        let streams = self.streams.get(&conversation).into_iter().flatten();
        let target = |number: &Number| Some((*number, self.channels.get(number)?.target()));
        Rest(streams.filter_map(target).collect())
    }

    /// Whether it was.
    pub fn is_passed_on(&self, rest: &Rest) -> bool {
        let done = |(number, target): &(Number, u64)| {
            self.channels.get(number).is_none_or(|channel| channel.passed_on() >= *target)
        };
        rest.0.iter().all(done)
    }

    /// Everything that there is to wait for.
    pub fn interest(&self) -> Vec<Interest<'_>> {
        let mut list = Vec::new();
        let mut add = |token, fd, events| list.push(Interest { token, fd, events });
        let room = self.outgoing.len() < MAX_OUTGOING;
        let speak = self.outgoing.len() < MAX_OUTGOING + RESERVE;
        if self.state == State::Live {
            add(Token::Input, self.input.as_fd(), PollFlags::IN);
            if !self.outgoing.is_empty() {
                add(Token::Output, self.output.as_fd(), PollFlags::OUT);
            }
            if speak && self.channels.len() < MAX_CHANNELS && !self.exhausted {
                match &self.ports {
                    Ports::Closed => {}
                    Ports::Keeper(ports) => {
                        add(Token::Datagrams, ports.datagrams.as_fd(), PollFlags::IN);
                        if let Some(callers) = &ports.callers {
                            add(Token::Callers, callers.as_fd(), PollFlags::IN);
                        }
                    }
                    Ports::Sandbox(ports) => {
                        let tcp = ports.tcp.iter().enumerate().filter(|_| room && self.flows < MAX_FLOWS);
                        for (index, socket) in tcp {
                            add(Token::Tcp(index), socket.as_fd(), PollFlags::IN);
                        }
                        for (index, socket) in ports.udp.iter().enumerate() {
                            add(Token::Udp(index), socket.as_fd(), PollFlags::IN);
                        }
                    }
                }
            }
        }
        let conversations = self.channels.iter().filter(|(_, c)| c.content == Content::Conversation);
        let later = self.channels.range(self.first..).chain(self.channels.range(..self.first));
        let streams = later.filter(|(_, c)| c.content == Content::Bytes);
        for (number, channel) in conversations.chain(streams) {
            if let Some(events) =
                channel.interest(if channel.content == Content::Bytes { room } else { speak })
            {
                let token = if events.is_empty() { Token::Reader } else { Token::Channel };
                add(token(*number), channel.fd(), events);
            }
        }
        list
    }

    /// Waits until something can be done, and does it.
    ///
    /// # Errors
    /// When the kernel fails.
    pub fn turn(&mut self) -> Result<State, Errno> {
        self.step(None).map(|_| self.state)
    }

    /// The same, with a bound for the wait; how many descriptors had something.
    fn step(&mut self, wait: Option<&Timespec>) -> Result<usize, Errno> {
        let interest = self.interest();
        let mut fds: Vec<PollFd<'_>> =
            interest.iter().map(|i| PollFd::from_borrowed_fd(i.fd, i.events)).collect();
        match poll(&mut fds, wait) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(1),
            Err(errno) => return Err(errno),
        }
        let ready = fds.iter().zip(&interest).filter(|(fd, _)| !fd.revents().is_empty());
        let ready: Vec<Token> = ready.map(|(_, interest)| interest.token).collect();
        self.advance(&ready);
        Ok(ready.len())
    }

    /// Does what the descriptors of `ready` allow.
    pub fn advance(&mut self, ready: &[Token]) -> State {
        if let Some(Token::Channel(last)) = ready.last() {
            self.first = last.saturating_add(1);
        }
        for token in ready {
            let done = match token {
                Token::Input => self.hear(),
                Token::Output => Ok(()),
                Token::Callers => self.meet_caller(),
                Token::Datagrams => self.pass_datagram(None),
                Token::Udp(index) => self.pass_datagram(Some(*index)),
                Token::Tcp(index) => self.meet_flow(*index),
                Token::Channel(number) => self.serve(*number),
                Token::Reader(number) => self.reader_left(*number),
            };
            if done.is_err() {
                self.state = State::Over;
            }
        }
        if self.state == State::Live && self.flush().is_err() {
            self.state = State::Over;
        }
        self.state
    }

    /// Carries on until everything that was written here is passed on, or until `deadline`. For when nobody is left who
    /// could write more: not every system tells then that a terminal has ended.
    pub fn finish(&mut self, deadline: Option<Instant>) {
        while self.state == State::Live {
            let waits = !self.outgoing.is_empty() || self.channels.values().any(Channel::is_held_up);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let wait = if waits { left } else { Some(Duration::ZERO) };
            let wait = wait.map(|wait| Timespec {
                tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(wait.subsec_nanos()),
            });
            match self.step(wait.as_ref()) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    /// After the end: what came before it still reaches whoever reads here.
    pub(super) fn deliver_rest(&mut self) {
        self.state = State::Over;
        // Nobody is to find a sandbox here that is gone.
        self.ports = Ports::Closed;
        let _ = shutdown(&self.output, Shutdown::Both);
        for channel in self.channels.values_mut() {
            channel.close_source();
            channel.end();
        }
        self.channels.retain(|_, channel| !channel.is_over());
        while !self.channels.is_empty() && self.turn().is_ok() {}
    }

    fn hear(&mut self) -> Result<(), Errno> {
        let mut buffer = [0_u8; 2 * MAX_CONTENT];
        match rustix::io::read(&self.input, &mut buffer) {
            Ok(0) => return Err(Errno::PIPE),
            Ok(count) => self.incoming.extend_from_slice(&buffer[..count]),
            Err(Errno::AGAIN | Errno::INTR) => return Ok(()),
            Err(errno) => return Err(errno),
        }
        let incoming = std::mem::take(&mut self.incoming);
        let mut rest = incoming.as_slice();
        while let Some((number, frame, length)) = frame::read(rest)? {
            self.obey(number, frame)?;
            rest = &rest[length..];
        }
        self.incoming = rest.to_vec();
        // Not to read would leave both sides waiting; who lets so much become due does not read either.
        if self.outgoing.len() > MAX_OWED { Err(Errno::PROTO) } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let mut sent = 0;
        while sent < self.outgoing.len() {
            match rustix::io::write(&self.output, &self.outgoing[sent..]) {
                Ok(count) => sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(errno) => return Err(errno),
            }
        }
        self.outgoing.drain(..sent);
        Ok(())
    }

    fn say(&mut self, number: Number, frame: &Frame<'_>) {
        frame.write(number, &mut self.outgoing);
    }

    fn obey(&mut self, number: Number, frame: Frame<'_>) -> Result<(), Errno> {
        match frame {
            Frame::Open => self.open_conversation(number),
            Frame::Flow(address) => self.open_flow(number, address),
            Frame::Descriptors(list) => self.open_descriptors(number, &list),
            Frame::Datagram(address, payload) => {
                match &self.ports {
                    Ports::Keeper(ports) => ports.deliver(address, payload),
                    Ports::Sandbox(ports) => ports.deliver(address, payload),
                    Ports::Closed => {}
                }
                Ok(())
            }
            // Of the rest, what is for a channel that has ended here meanwhile means nothing.
            Frame::Data(bytes) => {
                let Some(channel) = self.channels.get_mut(&number).filter(|c| c.sink) else { return Ok(()) };
                channel.push(bytes)?;
                self.deliver(number);
                Ok(())
            }
            Frame::End => {
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.end();
                }
                self.forget_if_over(number);
                Ok(())
            }
            Frame::Stop => {
                if let Some(channel) = self.channels.get_mut(&number) {
                    channel.close_source();
                }
                self.forget_if_over(number);
                Ok(())
            }
            Frame::Credit(more) => {
                let Some(channel) = self.channels.get_mut(&number) else { return Ok(()) };
                // What was under way when this side was told to stop is not counted any more.
                if channel.is_held_up() || channel.source {
                    channel.credit(usize::try_from(more).unwrap_or(usize::MAX))?;
                }
                self.forget_if_over(number);
                Ok(())
            }
        }
    }

    /// Numbers of the other side only grow, so that none is used twice.
    fn check_new(&mut self, number: Number) -> Result<(), Errno> {
        let is_theirs = number % 2 != self.next % 2;
        if !is_theirs || number == CONTROL || self.heard.is_some_and(|last| number <= last) {
            return Err(Errno::PROTO);
        }
        self.heard = Some(number);
        Ok(())
    }

    fn new_number(&mut self) -> Result<Number, Errno> {
        let number = self.next;
        self.next = number.checked_add(2).ok_or(Errno::OVERFLOW)?;
        Ok(number)
    }

    /// Tells the other side that there is nothing for it behind `number`.
    fn refuse(&mut self, number: Number) {
        self.say(number, &Frame::Stop);
        self.say(number, &Frame::End);
    }

    fn open_conversation(&mut self, number: Number) -> Result<(), Errno> {
        self.check_new(number)?;
        let Ports::Sandbox(ports) = &mut self.ports else { return Err(Errno::PROTO) };
        if self.channels.len() >= MAX_CHANNELS {
            self.refuse(number);
            return Ok(());
        }
        match Channel::pair(Content::Conversation, Use::Both) {
            Ok((channel, theirs)) => {
                ports.opened.push((number, theirs));
                self.channels.insert(number, channel);
            }
            Err(_) => self.refuse(number),
        }
        Ok(())
    }

    fn open_flow(&mut self, number: Number, address: std::net::SocketAddr) -> Result<(), Errno> {
        self.check_new(number)?;
        let Ports::Keeper(ports) = &self.ports else { return Err(Errno::PROTO) };
        if self.channels.len() < MAX_CHANNELS
            && self.flows < MAX_FLOWS
            && let Ok((channel, theirs)) = Channel::pair(Content::Bytes, Use::Both)
            && ports.flows.try_send((address, theirs)).is_ok()
        {
            self.flows += 1;
            self.channels.insert(number, channel.of_flow());
        } else {
            self.refuse(number);
        }
        Ok(())
    }

    fn open_descriptors(&mut self, conversation: Number, list: &[(Number, Use)]) -> Result<(), Errno> {
        if list.len() > MAX_GIFTS {
            return Err(Errno::PROTO);
        }
        for (number, purpose) in list {
            self.check_new(*number)?;
            let full = self.channels.len() >= MAX_CHANNELS;
            let Some(receiver) = self.channels.get_mut(&conversation).filter(|c| c.sink && !full) else {
                self.refuse(*number);
                continue;
            };
            match Channel::pair(Content::Bytes, *purpose) {
                Ok((channel, theirs)) => {
                    receiver.give(theirs)?;
                    self.channels.insert(*number, channel);
                    self.streams.entry(conversation).or_default().push(*number);
                }
                Err(_) => self.refuse(*number),
            }
        }
        Ok(())
    }

    /// Whoever comes; without descriptors for it, nobody until something has ended.
    fn let_in<T>(&mut self, came: Result<Option<T>, Errno>) -> Option<T> {
        match came {
            Ok(came) => came,
            Err(errno) => {
                self.exhausted |= matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM);
                None
            }
        }
    }

    fn meet_caller(&mut self) -> Result<(), Errno> {
        let Ports::Keeper(ports) = &self.ports else { return Ok(()) };
        let Some(socket) = self.let_in(ports.accept()) else { return Ok(()) };
        let channel = Channel::new(socket, Content::Conversation, Use::Both)?;
        let number = self.new_number()?;
        self.say(number, &Frame::Open);
        self.channels.insert(number, channel);
        Ok(())
    }

    fn meet_flow(&mut self, index: usize) -> Result<(), Errno> {
        let Ports::Sandbox(ports) = &self.ports else { return Ok(()) };
        let Some((address, socket)) = self.let_in(ports.accept(index)) else { return Ok(()) };
        let channel = Channel::new(socket, Content::Bytes, Use::Both)?.of_flow();
        self.flows += 1;
        let number = self.new_number()?;
        self.say(number, &Frame::Flow(address));
        self.channels.insert(number, channel);
        Ok(())
    }

    fn pass_datagram(&mut self, index: Option<usize>) -> Result<(), Errno> {
        let datagram = match (&self.ports, index) {
            (Ports::Keeper(ports), None) => ports.receive(),
            (Ports::Sandbox(ports), Some(index)) => ports.receive(index),
            _ => None,
        };
        if let Some((address, payload)) = datagram {
            self.say(CONTROL, &Frame::Datagram(address, &payload));
        }
        Ok(())
    }

    /// Reads from and writes to this side's descriptor of a channel.
    fn serve(&mut self, number: Number) -> Result<(), Errno> {
        self.deliver(number);
        let used = self.outgoing.len();
        let live = self.state == State::Live;
        let Some(channel) = self.channels.get_mut(&number).filter(|c| live && c.source) else {
            return Ok(());
        };
        let reserve = if channel.content == Content::Conversation { RESERVE } else { 0 };
        if used >= MAX_OUTGOING + reserve {
            return Ok(());
        }
        let mut buffer = [0_u8; MAX_CONTENT];
        match channel.read(&mut buffer) {
            // What is wrong with one descriptor ends nothing else.
            Err(_) if number != CONTROL => {
                self.abandon(number);
                Ok(())
            }
            Err(errno) => Err(errno),
            Ok(Heard::Nothing) => Ok(()),
            Ok(Heard::Bytes(count, fds)) => {
                match self.pass_descriptors(number, fds) {
                    Ok(()) => self.say(number, &Frame::Data(&buffer[..count])),
                    Err(errno) if number == CONTROL => return Err(errno),
                    Err(_) => self.abandon(number),
                }
                Ok(())
            }
            Ok(Heard::End) => {
                channel.source = false;
                self.say(number, &Frame::End);
                self.forget_if_over(number);
                // The keeper has let go: so does this side.
                let leaves = number == CONTROL && matches!(self.ports, Ports::Keeper(_));
                if leaves { Err(Errno::PIPE) } else { Ok(()) }
            }
        }
    }

    fn abandon(&mut self, number: Number) {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.close_source();
            channel.close_sink();
        }
        self.refuse(number);
        self.forget_if_over(number);
    }

    fn reader_left(&mut self, number: Number) -> Result<(), Errno> {
        if let Some(channel) = self.channels.get_mut(&number) {
            channel.close_sink();
            self.say(number, &Frame::Stop);
            self.forget_if_over(number);
        }
        Ok(())
    }

    fn pass_descriptors(&mut self, conversation: Number, fds: Vec<OwnedFd>) -> Result<(), Errno> {
        if fds.is_empty() {
            return Ok(());
        }
        let mut list = Vec::with_capacity(fds.len());
        for fd in fds {
            let purpose = purpose(&fd)?;
            let channel = Channel::new(fd, Content::Bytes, purpose)?;
            let number = self.new_number()?;
            self.channels.insert(number, channel);
            self.streams.entry(conversation).or_default().push(number);
            list.push((number, purpose));
        }
        self.say(conversation, &Frame::Descriptors(list));
        Ok(())
    }

    /// Writes what waits for this side's descriptor, and lets as much more come.
    fn deliver(&mut self, number: Number) {
        let Some(channel) = self.channels.get_mut(&number).filter(|c| c.sink) else { return };
        match channel.flush() {
            Flushed::Some(0) => {}
            Flushed::Some(taken) => {
                let taken = u32::try_from(taken).unwrap_or(u32::MAX);
                self.say(number, &Frame::Credit(taken));
            }
            Flushed::Closed => self.say(number, &Frame::Stop),
        }
        self.forget_if_over(number);
    }

    fn forget_if_over(&mut self, number: Number) {
        if !self.channels.get(&number).is_some_and(Channel::is_over) {
            return;
        }
        if self.channels.remove(&number).is_some_and(|channel| channel.is_flow) {
            self.flows -= 1;
        }
        self.streams.remove(&number);
        self.exhausted = false;
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
