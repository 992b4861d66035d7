//! The kernel's configuration under all the names that seL4's build writes down, so that a question after an option of
//! another platform has an answer too.
//!
//! What the crate `sel4-config` knows comes from there; this list adds what no program of ours asks.

use std::fmt::Write;

use sel4_config::Value;
use sel4_config::consts;

/// The kernel's kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Build {
    /// With a console and debug system calls.
    Debug,
    /// Without.
    Release,
}

/// A value as the files have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// On or off.
    Flag(bool),
    /// Everything else.
    Text(String),
}

/// Options of the kernel that are on or off and on.
const ON: &[&str] = &[
    "ARCH_X86_GENERIC",
    "FASTPATH",
    "FSGSBASE_MSR",
    "FXSAVE",
    "HAVE_FPU",
    "KERNEL_OPT_LEVEL_O3",
    "KERNEL_SKIM_WINDOW",
    "KERNEL_X86_IBRS_NONE",
    "MULTIBOOT1_HEADER",
    "MULTIBOOT_GRAPHICS_MODE_NONE",
    "NO_BENCHMARKS",
    "PLAT_PC99",
    "XAPIC",
];

/// Options of the kernel that are off.
const OFF: &[&str] = &[
    "AARCH64_SERROR_IGNORE",
    "ALLOW_SMC_CALLS",
    "ARCH_AARCH32",
    "ARCH_AARCH64",
    "ARCH_ARM",
    "ARCH_ARM_HYP",
    "ARCH_ARM_V7A",
    "ARCH_ARM_V7VE",
    "ARCH_ARM_V8A",
    "ARCH_RISCV",
    "ARCH_RISCV32",
    "ARCH_RISCV64",
    "ARCH_X86_BROADWELL",
    "ARCH_X86_HASWELL",
    "ARCH_X86_IVY",
    "ARCH_X86_NEHALEM",
    "ARCH_X86_SANDY",
    "ARCH_X86_SKYLAKE",
    "ARCH_X86_WESTMERE",
    "ARM_CORTEX_A15",
    "ARM_CORTEX_A35",
    "ARM_CORTEX_A53",
    "ARM_CORTEX_A55",
    "ARM_CORTEX_A57",
    "ARM_CORTEX_A7",
    "ARM_CORTEX_A72",
    "ARM_CORTEX_A76",
    "ARM_CORTEX_A78AE",
    "ARM_CORTEX_A8",
    "ARM_CORTEX_A9",
    "ARM_GIC_V3_SUPPORT",
    "ARM_HYPERVISOR_SUPPORT",
    "ARM_SMMU",
    "BENCHMARK_GENERIC",
    "BENCHMARK_TRACEPOINTS",
    "BENCHMARK_TRACK_KERNEL_ENTRIES",
    "BINARY_VERIFICATION_BUILD",
    "CLZ_32",
    "CLZ_64",
    "CLZ_NO_BUILTIN",
    "COLOUR_PRINTING",
    "CTZ_32",
    "CTZ_64",
    "CTZ_NO_BUILTIN",
    "DANGEROUS_CODE_INJECTION",
    "DEBUG_DISABLE_PREFETCHERS",
    "EXCEPTION_FASTPATH",
    "EXPORT_PMC_USER",
    "FSGSBASE_GDT",
    "FSGSBASE_INST",
    "IRQ_REPORTING",
    "KERNEL_FWHOLE_PROGRAM",
    "KERNEL_LOG_BUFFER",
    "KERNEL_OPTIMISATION_CLONE_FUNCTIONS",
    "KERNEL_OPT_LEVEL_O0",
    "KERNEL_OPT_LEVEL_O1",
    "KERNEL_OPT_LEVEL_O2",
    "KERNEL_OPT_LEVEL_OS",
    "KERNEL_X86_DANGEROUS_MSR",
    "KERNEL_X86_IBPB_ON_CONTEXT_SWITCH",
    "KERNEL_X86_IBRS_ALL",
    "KERNEL_X86_IBRS_BASIC",
    "KERNEL_X86_IBRS_STIBP",
    "KERNEL_X86_RSB_ON_CONTEXT_SWITCH",
    "MULTIBOOT2_HEADER",
    "MULTIBOOT_GRAPHICS_MODE_LINEAR",
    "MULTIBOOT_GRAPHICS_MODE_TEXT",
    "PLAT_ALLWINNERA20",
    "PLAT_AM335X",
    "PLAT_APQ8064",
    "PLAT_ARIANE",
    "PLAT_BCM2711",
    "PLAT_BCM2837",
    "PLAT_CHESHIRE",
    "PLAT_EXYNOS4",
    "PLAT_EXYNOS5",
    "PLAT_FVP",
    "PLAT_HIFIVE",
    "PLAT_HIKEY",
    "PLAT_IMX6",
    "PLAT_IMX7",
    "PLAT_IMX7_SABRE",
    "PLAT_IMX8MM_EVK",
    "PLAT_IMX8MP_EVK",
    "PLAT_IMX8MQ_EVK",
    "PLAT_IMX93",
    "PLAT_MAAXBOARD",
    "PLAT_ODROIDC2",
    "PLAT_ODROIDC4",
    "PLAT_OMAP3",
    "PLAT_POLARFIRE",
    "PLAT_QEMU_ARM_VIRT",
    "PLAT_QEMU_RISCV_VIRT",
    "PLAT_QUARTZ64",
    "PLAT_ROCKETCHIP",
    "PLAT_ROCKPRO64",
    "PLAT_SPIKE",
    "PLAT_STAR64",
    "PLAT_TK1",
    "PLAT_TQMA8XQP1GB",
    "PLAT_TX1",
    "PLAT_TX2",
    "PLAT_ZYNQ7000",
    "PLAT_ZYNQMP",
    "SIGNAL_FASTPATH",
    "SUPPORT_PCID",
    "SYSENTER",
    "USE_LOGICAL_IDS",
    "VERIFICATION_BUILD",
    "X2APIC",
    "X86_64_VTX_64BIT_GUESTS",
    "XSAVE",
    "XSAVE_XSAVE",
    "XSAVE_XSAVEC",
    "XSAVE_XSAVEOPT",
    "XSAVE_XSAVES",
];

/// Options of the kernel with a value.
const TEXTS: &[(&str, &str)] = &[
    ("ARCH", "x86"),
    ("CACHE_LN_SZ", "64"),
    ("KERNEL_BENCHMARK", "none"),
    ("KERNEL_FSGS_BASE", "msr"),
    ("KERNEL_IRQ_CONTROLLER", "IOAPIC"),
    ("KERNEL_LAPIC_MODE", "XAPIC"),
    ("KERNEL_MUTLTIBOOT_GFX_MODE", "none"),
    ("KERNEL_OPT_LEVEL", "-O3"),
    ("KERNEL_STATIC_MAX_PERIOD_US", "0"),
    ("KERNEL_WCET_SCALE", "1"),
    ("KERNEL_X86_FPU", "FXSAVE"),
    ("KERNEL_X86_IBRS", "ibrs_none"),
    ("KERNEL_X86_MICRO_ARCH", "generic"),
    ("KERNEL_X86_SYSCALL", "syscall"),
    ("MAX_NUM_IOAPIC", "1"),
    ("MAX_NUM_TRACE_POINTS", "0"),
    ("MAX_NUM_WORK_UNITS_PER_PREEMPTION", "100"),
    ("MAX_VPIDS", "0"),
    ("NUM_DOMAINS", "1"),
    ("NUM_DOMAIN_SCHEDULES", "2"),
    ("PADDR_USER_DEVICE_TOP", "140737488355328"),
    ("PC99_TSC_FREQUENCY", "0"),
    ("PLAT", "pc99"),
    ("RESET_CHUNK_BITS", "8"),
    ("SEL4_ARCH", "x86_64"),
    ("USER_STACK_TRACE_LENGTH", "0"),
    ("XSAVE_FEATURE_SET", "0"),
    ("XSAVE_SIZE", "512"),
];

/// Options of seL4's C library.
const LIBRARY: &[(&str, Option<&str>)] = &[
    ("LIB_SEL4_DEFAULT_FUNCTION_ATTRIBUTES", None),
    ("LIB_SEL4_FUNCTION_ATTRIBUTE", Some("inline")),
    ("LIB_SEL4_INLINE_INVOCATIONS", Some("")),
    ("LIB_SEL4_PRINT_INVOCATION_ERRORS", Some("0")),
    ("LIB_SEL4_PUBLIC_SYMBOLS", None),
    ("LIB_SEL4_STUBS_USE_IPC_BUFFER_ONLY", None),
];

/// The kernel's options, by name.
#[must_use]
pub fn kernel(build: Build) -> Vec<(&'static str, Answer)> {
    let mut options: Vec<(&str, Answer)> = Vec::new();
    for (name, value) in consts::ALL {
        let debug = ["DEBUG_BUILD", "PRINTING"].contains(name);
        options.push((
            name,
            match value {
                Value::Flag(flag) => Answer::Flag(*flag && !(debug && build == Build::Release)),
                Value::Number(number) => Answer::Text(number.to_string()),
            },
        ));
    }
    options.extend(ON.iter().map(|name| (*name, Answer::Flag(true))));
    options.extend(OFF.iter().map(|name| (*name, Answer::Flag(false))));
    let texts = TEXTS.iter();
    options.extend(texts.map(|(name, text)| (*name, Answer::Text((*text).into()))));
    options.sort_by_key(|(name, _)| *name);
    options
}

/// The C library's options, by name.
#[must_use]
pub fn library() -> Vec<(&'static str, Answer)> {
    let answer = |value: &Option<&str>| match value {
        None => Answer::Flag(false),
        Some("") => Answer::Flag(true),
        Some(text) => Answer::Text((*text).into()),
    };
    LIBRARY
        .iter()
        .map(|(name, value)| (*name, answer(value)))
        .collect()
}

/// As JSON: one flat object, numbers as texts.
#[must_use]
pub fn json(options: &[(&str, Answer)]) -> String {
    let lines: Vec<String> = options
        .iter()
        .map(|(name, answer)| match answer {
            Answer::Flag(flag) => format!("  \"{name}\": {flag}"),
            Answer::Text(text) => format!("  \"{name}\": \"{text}\""),
        })
        .collect();
    format!("{{\n{}\n}}\n", lines.join(",\n"))
}

/// As C: what is off is not defined.
#[must_use]
pub fn header(options: &[(&str, Answer)]) -> String {
    let mut text = String::from("/* Written by Umbra's build. */\n\n#pragma once\n\n");
    for (name, answer) in options {
        let line = match answer {
            Answer::Flag(true) => format!("#define CONFIG_{name} 1"),
            Answer::Flag(false) => format!("/* disabled: CONFIG_{name} */"),
            Answer::Text(word) => format!("#define CONFIG_{name} {word}"),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{line}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_option_is_there_twice() {
        let kernel = kernel(Build::Debug);
        for pair in kernel.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{}", pair[1].0);
        }
        let names: Vec<&str> = kernel.iter().map(|option| option.0).collect();
        assert!(library().iter().all(|(name, _)| !names.contains(name)));
    }

    #[test]
    fn a_release_build_lacks_the_debug_options_alone() {
        let (debug, release) = (kernel(Build::Debug), kernel(Build::Release));
        let differ: Vec<&str> = debug
            .iter()
            .zip(&release)
            .filter(|(a, b)| a != b)
            .map(|(a, _)| a.0)
            .collect();
        assert_eq!(differ, ["DEBUG_BUILD", "PRINTING"]);
    }
}
