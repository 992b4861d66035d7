//! Kernel objects, one file each: their fields, and (in the same file) the operations on them.
//!
//! Fields are `Cell`s; zeroed memory is a fresh object. Sizes are checked against the ABI when compiling.

pub mod asid;
pub mod cnode;
pub mod domain;
pub mod endpoint;
pub mod frame;
pub mod guest_space;
pub mod io_port;
pub mod irq;
pub(crate) mod nested;
pub mod notification;
pub mod reply;
pub mod sched_context;
pub mod shadow_pool;
pub mod table;
pub mod tcb;
pub mod untyped;
pub mod vcpu;

pub use asid::AsidPool;
pub use endpoint::Endpoint;
pub use notification::Notification;
pub use reply::Reply;
pub use sched_context::SchedContext;
pub use shadow_pool::ShadowPool;
pub use tcb::Tcb;
pub use vcpu::Vcpu;
