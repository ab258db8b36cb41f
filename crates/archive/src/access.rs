//! Reading a file whose mode keeps even its owner out, such as `/etc/shadow` in many images.

use crate::kernel::Facts;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
};

/// A file that its owner may read while this lives.
pub(crate) struct Unlocked {
    file: OwnedFd,
    mode: u32,
}

impl AsFd for Unlocked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Unlocked {
    /// The mode that the file has again afterwards.
    pub(crate) fn mode(&self) -> u32 {
        self.mode
    }

    /// Opens the regular file `name` in `parent`, which was seen as `facts`.
    ///
    /// # Errors
    /// `NOENT` when it is another file by now; `PERM` when it is somebody else's.
    #[cfg(target_os = "linux")]
    pub(crate) fn open(parent: BorrowedFd<'_>, name: &[u8], facts: &Facts) -> Result<Self, Errno> {
        use crate::kernel;
        use rustix::{
            fd::AsRawFd as _,
            fs::{FileType, Mode, OFlags},
        };
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let held = rustix::fs::openat(parent, name, flags, Mode::empty())?;
        let there = kernel::look(&held)?;
        if there.id != facts.id || there.kind != FileType::RegularFile {
            return Err(Errno::NOENT);
        }
        // The one name of a file that nobody can put another one under.
        let path = format!("/proc/self/fd/{}", held.as_raw_fd());
        rustix::fs::chmod(&path, kernel::mode(there.mode | 0o400))?;
        match rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            Ok(file) => Ok(Self { file, mode: there.mode }),
            Err(errno) => {
                // The first error says more.
                let _locked_again = rustix::fs::chmod(&path, kernel::mode(there.mode));
                Err(errno)
            }
        }
    }

    /// Elsewhere nobody unpacks images.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn open(_parent: BorrowedFd<'_>, _name: &[u8], _facts: &Facts) -> Result<Self, Errno> {
        Err(Errno::ACCESS)
    }
}

impl Drop for Unlocked {
    fn drop(&mut self) {
        // It was possible a moment ago.
        let _locked_again = rustix::fs::fchmod(&self.file, crate::kernel::mode(self.mode));
    }
}
