//! The kernel's configuration, for programs that ask: one fixed one, named as seL4 names its options (without
//! `CONFIG_`). [`consts`] has the values; the macros answer questions while compiling.
//!
//! rust-sel4 has attribute macros of these names that read a kernel build's files; with one configuration, constants do.
//!
//! ```
//! use sel4_config::{sel4_cfg_bool, sel4_cfg_if, sel4_cfg_usize};
//!
//! assert!(sel4_cfg_bool!(KERNEL_MCS));
//! assert_eq!(sel4_cfg_usize!(MAX_NUM_NODES), 1);
//! sel4_cfg_if! {
//!     if #[sel4_cfg(VTX)] {
//!         fn guest_tables() -> &'static str { "EPT" }
//!     } else {
//!         fn guest_tables() -> &'static str { "shadow" }
//!     }
//! }
//! assert_eq!(guest_tables(), "shadow");
//! ```
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

/// An option's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// On or off.
    Flag(bool),
    /// A number.
    Number(usize),
}

macro_rules! options {
    ($($(#[$doc:meta])* $name:ident: $type:ident = $value:literal,)*) => {
        $($(#[$doc])* pub const $name: $type = $value;)*
        /// Every option with its value.
        pub const ALL: &[(&str, super::Value)] =
            &[$((stringify!($name), options!(@value $type $value))),*];
    };
    (@value bool $value:literal) => { super::Value::Flag($value) };
    (@value usize $value:literal) => { super::Value::Number($value) };
}

/// The options' values.
pub mod consts {
    options! {
        /// Scheduling contexts and reply objects.
        KERNEL_MCS: bool = true,
        /// x86.
        ARCH_X86: bool = true,
        /// x86_64.
        ARCH_X86_64: bool = true,
        /// Entry by the `syscall` instruction.
        SYSCALL: bool = true,
        /// 1 GiB frames.
        HUGE_PAGE: bool = true,
        /// A debug console.
        PRINTING: bool = true,
        /// Debug system calls.
        DEBUG_BUILD: bool = true,
        /// A thread sets its own FS base by a system call.
        SET_TLS_BASE_SELF: bool = true,
        /// Interrupts come through I/O APICs.
        IRQ_IOAPIC: bool = true,
        /// 32-bit x86.
        ARCH_IA32: bool = false,
        /// Intel's virtualisation.
        VTX: bool = false,
        /// I/O address spaces.
        IOMMU: bool = false,
        /// Several processors.
        ENABLE_SMP_SUPPORT: bool = false,
        /// Benchmark system calls.
        ENABLE_BENCHMARKS: bool = false,
        /// Utilisation counters.
        BENCHMARK_TRACK_UTILISATION: bool = false,
        /// Breakpoints by system call.
        HARDWARE_DEBUG_API: bool = false,
        /// Error texts in the IPC buffer.
        KERNEL_INVOCATION_REPORT_ERROR_IPC: bool = false,
        /// Interrupts come through the 8259.
        IRQ_PIC: bool = false,
        /// Bits in a word.
        WORD_SIZE: usize = 64,
        /// Processors.
        MAX_NUM_NODES: usize = 1,
        /// Priorities.
        NUM_PRIORITIES: usize = 256,
        /// Radix of the initial thread's CNode.
        ROOT_CNODE_SIZE_BITS: usize = 16,
        /// Most untyped capabilities described at boot.
        MAX_NUM_BOOTINFO_UNTYPED_CAPS: usize = 230,
        /// Most objects one retype makes.
        RETYPE_FAN_OUT_LIMIT: usize = 256,
        /// The initial thread's budget in milliseconds.
        BOOT_THREAD_TIME_SLICE: usize = 5,
    }
}

/// An option that is on or off, or a condition over such options: `not(C)`, `all(C, ..)`, `any(C, ..)`.
#[macro_export]
macro_rules! sel4_cfg_bool {
    (not($($condition:tt)+)) => { !$crate::sel4_cfg_bool!($($condition)+) };
    (all($($key:ident $(($($inner:tt)*))?),* $(,)?)) => { true $(&& $crate::sel4_cfg_bool!($key $(($($inner)*))?))* };
    (any($($key:ident $(($($inner:tt)*))?),* $(,)?)) => { false $(|| $crate::sel4_cfg_bool!($key $(($($inner)*))?))* };
    ($key:ident) => { $crate::consts::$key };
}

/// An option that is a number.
#[macro_export]
macro_rules! sel4_cfg_usize {
    ($key:ident) => {
        $crate::consts::$key
    };
}

/// An option that is a number, as a word.
#[macro_export]
macro_rules! sel4_cfg_word {
    ($key:ident) => {
        $crate::consts::$key as u64
    };
}

/// An option that is a number, as the text a kernel build writes.
#[macro_export]
macro_rules! sel4_cfg_str {
    (WORD_SIZE) => {
        "64"
    };
    (MAX_NUM_NODES) => {
        "1"
    };
    (NUM_PRIORITIES) => {
        "256"
    };
    (ROOT_CNODE_SIZE_BITS) => {
        "16"
    };
    (MAX_NUM_BOOTINFO_UNTYPED_CAPS) => {
        "230"
    };
    (RETYPE_FAN_OUT_LIMIT) => {
        "256"
    };
    (BOOT_THREAD_TIME_SLICE) => {
        "5"
    };
}

/// Items or statements for one answer or the other.
#[macro_export]
macro_rules! sel4_cfg_if {
    (if #[sel4_cfg(not($key:ident))] { $($yes:tt)* } else { $($no:tt)* }) => {
        $crate::__choose! { $key { $($no)* } { $($yes)* } }
    };
    (if #[sel4_cfg($key:ident)] { $($yes:tt)* } else { $($no:tt)* }) => {
        $crate::__choose! { $key { $($yes)* } { $($no)* } }
    };
    (if #[sel4_cfg(not($key:ident))] { $($yes:tt)* }) => { $crate::__choose! { $key {} { $($yes)* } } };
    (if #[sel4_cfg($key:ident)] { $($yes:tt)* }) => { $crate::__choose! { $key { $($yes)* } {} } };
}

/// Takes the first piece of code if the option is on, else the second.
#[doc(hidden)]
#[macro_export]
macro_rules! __choose {
    (KERNEL_MCS { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (ARCH_X86 { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (ARCH_X86_64 { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (SYSCALL { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (HUGE_PAGE { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (PRINTING { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (DEBUG_BUILD { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (SET_TLS_BASE_SELF { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (IRQ_IOAPIC { $($yes:tt)* } { $($no:tt)* }) => { $($yes)* };
    (ARCH_IA32 { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
    (VTX { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
    (IOMMU { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
    (ENABLE_SMP_SUPPORT { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
    (ENABLE_BENCHMARKS { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
    (BENCHMARK_TRACK_UTILISATION { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
    (HARDWARE_DEBUG_API { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
    (KERNEL_INVOCATION_REPORT_ERROR_IPC { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
    (IRQ_PIC { $($yes:tt)* } { $($no:tt)* }) => { $($no)* };
}

#[cfg(test)]
mod tests {
    use super::consts;

    #[test]
    fn conditions_combine() {
        const {
            assert!(sel4_cfg_bool!(all(
                KERNEL_MCS,
                not(VTX),
                any(IOMMU, HUGE_PAGE)
            )))
        };
        const { assert!(!sel4_cfg_bool!(any(VTX, all(KERNEL_MCS, IOMMU)))) };
        const { assert!(sel4_cfg_bool!(not(not(PRINTING)))) };
    }

    #[test]
    fn a_choice_compiles_one_side_only() {
        sel4_cfg_if! {
            if #[sel4_cfg(not(ENABLE_SMP_SUPPORT))] {
                let nodes = sel4_cfg_usize!(MAX_NUM_NODES);
            } else {
                let nodes = there_is_no_such_function();
            }
        }
        assert_eq!(nodes, 1);
    }

    #[test]
    fn texts_and_numbers_agree() {
        assert_eq!(
            sel4_cfg_str!(ROOT_CNODE_SIZE_BITS).parse(),
            Ok(consts::ROOT_CNODE_SIZE_BITS)
        );
        assert_eq!(sel4_cfg_word!(WORD_SIZE), 64);
    }
}
