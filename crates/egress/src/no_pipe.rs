//! Where there is no splice(2): bytes are copied. The same names as on Linux.

use crate::pump::Fault;
use std::{convert::Infallible, io};
use tokio::{
    net::{TcpStream, UnixStream},
    sync::{Semaphore, SemaphorePermit},
};

pub(crate) const MOST: usize = 0;

#[derive(Clone, Copy)]
#[expect(dead_code, reason = "nothing takes it here")]
pub(crate) enum Socket<'a> {
    Tcp(&'a TcpStream),
    Unix(&'a UnixStream),
}

#[expect(dead_code, reason = "nothing is carried here")]
pub(crate) enum Carried {
    All,
    Much,
    Stuck(usize),
    Nothing,
}

/// There is none.
pub(crate) struct Pipe<'a> {
    never: Infallible,
    _permit: SemaphorePermit<'a>,
}

impl<'a> Pipe<'a> {
    pub(crate) const fn open(_: &'a Semaphore) -> Option<io::Result<Self>> {
        None
    }

    #[expect(clippy::unused_async, reason = "as on Linux")]
    pub(crate) async fn carry(
        &self,
        _: Socket<'_>,
        _: Socket<'_>,
        _: impl FnMut(usize),
    ) -> Result<Carried, Fault> {
        match self.never {}
    }

    pub(crate) fn empty(self, _: usize) -> io::Result<(Vec<u8>, SemaphorePermit<'a>)> {
        match self.never {}
    }
}
