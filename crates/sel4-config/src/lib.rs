//! The kernel's configuration, for programs that ask: one fixed one, named as seL4 names its options (without
//! `CONFIG_`). [`consts`] has the values; the macros answer questions while compiling, with the names and the grammar of
//! rust-sel4's crate `sel4-config`.
//!
//! ```
//! use sel4_config::{sel4_cfg, sel4_cfg_bool, sel4_cfg_if, sel4_cfg_usize};
//!
//! assert!(sel4_cfg_bool!(KERNEL_MCS));
//! assert_eq!(sel4_cfg_usize!(MAX_NUM_NODES), 1);
//!
//! sel4_cfg_if! {
//!     if #[sel4_cfg(VTX)] {
//!         fn guest_tables() -> &'static str { "EPT" }
//!     } else {
//!         fn guest_tables() -> &'static str { "shadow" }
//!     }
//! }
//! assert_eq!(guest_tables(), "shadow");
//!
//! #[sel4_cfg(WORD_SIZE = "64")]
//! const WIDE: bool = true;
//! assert!(WIDE);
//! ```
#![no_std]
#![forbid(unsafe_code)]

pub use sel4_config_data::{Value, consts};
pub use sel4_config_macros::{
    sel4_cfg, sel4_cfg_attr, sel4_cfg_bool, sel4_cfg_enum, sel4_cfg_if, sel4_cfg_match,
    sel4_cfg_str, sel4_cfg_struct, sel4_cfg_usize, sel4_cfg_word, sel4_cfg_wrap_match,
};
