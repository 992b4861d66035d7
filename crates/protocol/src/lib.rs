//! What crosses the boundaries between Umbra's domains: requests and replies of mmu-server and the device server, the
//! capability slots each domain starts with, its address-space layout, and the compiled `system.toml`.
//!
//! Hot requests are plain message words with the labels given here; what happens once a boot is postcard.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

pub mod device;
pub mod layout;
pub mod mmu;
pub mod platform;
pub mod slots;
pub mod system;
