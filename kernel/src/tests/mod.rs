//! Tests of the whole logic on the host: a machine that only records, a booted root task, system calls made by setting
//! registers. Every test ends with a look at the kernel's invariants.

mod derivation;
mod errors;
mod exits;
mod fake;
mod fastpath;
mod invariants;
mod ipc;
mod nested;
mod random;
mod scheduling;
mod shadow;
mod tlb;
mod untyped;
mod vcpu;
mod world;
