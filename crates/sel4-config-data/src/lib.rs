//! The kernel's configuration: every option under the name that seL4's build has for it (without `CONFIG_`), also those of
//! other platforms, so that a question after one has an answer.
//!
//! [`consts`] has what the kernel can differ in, as constants; the lists have the rest. The macros of the crate `sel4-config`
//! and the files of the install prefix are made from this table.
#![no_std]
#![forbid(unsafe_code)]

mod others;

pub use others::{OFF, ON, TEXTS};

/// An option's value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Value {
    /// On or off.
    Flag(bool),
    /// A number.
    Number(usize),
    /// A word.
    Text(&'static str),
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

/// The value of the option `name`.
#[must_use]
pub fn value(name: &str) -> Option<Value> {
    let known = consts::ALL.iter().find(|option| option.0 == name);
    let text = || TEXTS.iter().find(|option| option.0 == name);
    if let Some((_, value)) = known {
        return Some(*value);
    }
    if ON.contains(&name) {
        return Some(Value::Flag(true));
    }
    if OFF.contains(&name) {
        return Some(Value::Flag(false));
    }
    text().map(|(_, text)| Value::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_is_there_twice() {
        let all = || {
            let known = consts::ALL.iter().map(|option| option.0);
            let texts = TEXTS.iter().map(|option| option.0);
            known
                .chain(ON.iter().copied())
                .chain(OFF.iter().copied())
                .chain(texts)
        };
        for name in all() {
            assert_eq!(all().filter(|other| *other == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn options_are_found_by_name() {
        assert_eq!(value("KERNEL_MCS"), Some(Value::Flag(true)));
        assert_eq!(value("ARCH_AARCH64"), Some(Value::Flag(false)));
        assert_eq!(value("WORD_SIZE"), Some(Value::Number(64)));
        assert_eq!(value("SEL4_ARCH"), Some(Value::Text("x86_64")));
        assert_eq!(value("NO_SUCH_OPTION"), None);
    }
}
