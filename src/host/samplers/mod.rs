//! The samplers, one file each; the table is [`super::SAMPLERS`].
//!
//! Must not: know each other.

pub(super) mod client;
pub(super) mod conntrack;
pub(super) mod cpu;
pub(super) mod destination;
pub(super) mod disk;
pub(super) mod memory;
pub(super) mod net;
pub(super) mod pressure;
pub(super) mod process;
pub(super) mod sockets;
pub(super) mod softirq;
pub(super) mod target;
pub(super) mod tcp;
