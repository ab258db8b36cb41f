//! A sandbox and its keeper over nothing but a stream of bytes, where no descriptor can be passed: gVisor, an engine on
//! another machine, later a virtual machine's serial line.
//!
//! Both ends run a [`Relay`](relay::Relay). Whatever goes over a socket of this machine elsewhere, with descriptors beside
//! it, goes to the relay of its own side, which keeps the descriptors, and the other side's relay makes new ones in their
//! place: what is written into one comes out of the other. So neither process 1 nor its callers know of it.
//!
//! Where to look: `frame` is what goes over the stream, `channel` one pair of descriptors, `ports` the sandbox's
//! network, `relay` the loop, `keeper` the end that the host runs.

mod channel;
pub mod frame;
pub mod keeper;
mod ports;
pub mod relay;
