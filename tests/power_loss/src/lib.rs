//! Power loss for real processes.
//!
//! A writer process ([`mail`] says what it writes) runs under `strace`; [`trace`] reads what it told the kernel, [`device`]
//! plays it on a disk in memory and makes, from a seed, the disks that a power loss at any moment could leave: whatever was
//! not synced is there, missing, out of order or torn. [`book`] knows what the writer was promised until that moment.
//!
//! Nothing of the program under test takes part: not its disk seam, not its idea of what a sync is. So this is the proof for
//! what does its own input and output (SQLite) and a cross-check for what goes through the seam.

pub mod book;
pub mod device;
pub mod life;
pub mod mail;
pub mod random;
pub mod records;
pub mod trace;
