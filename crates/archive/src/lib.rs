//! Tar archives that nobody trusts: layers of images, and files that leave a sandbox.
//!
//! [`unpack`] writes below one directory and nowhere else, whatever names, links and sizes an archive holds, and within
//! bounds. [`pack`] writes a file tree as an archive and follows no link, [`pack_layer`] an unpacked image layer, and
//! [`remove_tree`] removes what was unpacked or written inside, however deep. None of them knows where archives come from,
//! what compresses them or who may have them.
//!
//! Where to look: `input` counts what is read, `members` makes entries of it (`member`, `pax`, `name`), `tree` is the
//! directory that nothing leaves, `unpack` puts the entries there, `holey` leaves out zeros, `directories` and `attributes` finish them. `pack`
//! walks, `repack` does so for image layers, `output` writes. `purge` removes. `kernel` has what Linux does in its own way.
#![forbid(unsafe_code)]

mod access;
mod attributes;
mod directories;
mod fault;
mod holey;
mod input;
mod kernel;
mod member;
mod members;
mod name;
mod output;
mod pack;
mod pax;
mod purge;
mod removal;
mod repack;
mod tally;
mod tree;
mod unpack;
mod whiteout;

pub use pack::{Crossing, PackOptions, Packed, pack};
pub use purge::remove_tree;
pub use repack::{LayerOwners, pack_layer};
pub use tally::{Bounds, Unpacked};
pub use unpack::{Existing, Ownership, UnpackOptions, Whiteouts, unpack};

#[cfg(test)]
#[path = "fixture_tests.rs"]
mod fixture;
