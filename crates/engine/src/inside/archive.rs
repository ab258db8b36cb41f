//! A small tar archive in memory (ustar, POSIX.1-2001 pax(1)), wiped when it is dropped: its files may be secrets.

use agentkernel_model::{Error, Result, command::User};
use zeroize::Zeroizing;

const BLOCK: usize = 512;
/// What the name of a plain header holds.
const LONGEST_NAME: usize = 100;

pub(super) struct Archive(Zeroizing<Vec<u8>>);

impl Archive {
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(Vec::new()))
    }

    /// Root's.
    pub(super) fn directory(&mut self, name: &str, mode: u32) -> Result<()> {
        self.entry(b'5', name, mode, User::ROOT, &[])
    }

    pub(super) fn file(&mut self, name: &str, mode: u32, owner: User, content: &[u8]) -> Result<()> {
        self.entry(b'0', name, mode, owner, content)
    }

    pub(super) fn finish(mut self) -> Zeroizing<Vec<u8>> {
        self.append(&[0; 2 * BLOCK]);
        self.0
    }

    fn entry(&mut self, kind: u8, name: &str, mode: u32, owner: User, content: &[u8]) -> Result<()> {
        self.append(&header(kind, name, mode, owner, content.len())?);
        self.append(content);
        let over = content.len() % BLOCK;
        self.append(&[0; BLOCK][..(BLOCK - over) % BLOCK]);
        Ok(())
    }

    /// Into new memory when there is too little: what grows by itself leaves copies behind that nobody wipes.
    fn append(&mut self, bytes: &[u8]) {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(needed.max(2 * self.0.capacity())));
            larger.extend_from_slice(&self.0);
            self.0 = larger;
        }
        self.0.extend_from_slice(bytes);
    }
}

/// Octal digits and a zero; what is more than seven digits is in binary behind a byte 0x80, as GNU's and Go's archives have
/// it and all readers know.
fn number(number: u32) -> [u8; 8] {
    let mut field = [0; 8];
    if number > 0o777_7777 {
        field[0] = 0x80;
        field[4..].copy_from_slice(&number.to_be_bytes());
    } else {
        field[..7].copy_from_slice(format!("{number:07o}").as_bytes());
    }
    field
}

fn header(kind: u8, name: &str, mode: u32, owner: User, size: usize) -> Result<[u8; BLOCK]> {
    if name.len() > LONGEST_NAME {
        return Err(Error::internal("a file of agentkernel's own has too long a name"));
    }
    let mut header = [0; BLOCK];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, name.as_bytes());
    put(100, format!("{:07o}", mode & 0o7777).as_bytes());
    put(108, &number(owner.uid));
    put(116, &number(owner.gid));
    put(124, format!("{size:011o}").as_bytes());
    put(136, b"00000000000");
    // The checksum counts its own field as blanks.
    put(148, b"        ");
    put(156, &[kind]);
    put(257, b"ustar\x0000");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}
