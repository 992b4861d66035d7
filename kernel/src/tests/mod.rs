//! Tests of the whole logic on the host: a machine that only records, a booted root task, system calls made by setting
//! registers. Every test ends with a look at the kernel's invariants. Under Miri the long ones are short.

mod bases;
mod boot;
mod calls;
mod corrupted;
mod derivation;
mod errors;
mod exits;
mod fake;
mod fastpath;
mod fpu;
mod invariants;
mod ipc;
mod nested;
mod preemption;
mod random;
mod scheduling;
mod shadow;
mod tlb;
mod untyped;
mod vcpu;
mod world;

use proptest::prelude::ProptestConfig;

/// Cases of a property; one under Miri, which is a thousand times slower, and where no file is to be written.
fn cases(count: u32) -> ProptestConfig {
    let mut config = ProptestConfig::with_cases(if cfg!(miri) { 1 } else { count });
    if cfg!(miri) {
        config.failure_persistence = None;
    }
    config
}
