//! Random guest programs against engine, ghost TLB and oracle, on the host: runs, shrinking, deliberate faults.
#![forbid(unsafe_code)]
