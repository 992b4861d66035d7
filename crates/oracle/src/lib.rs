//! The oracle: what a guest may still hold in its TLB, what the shadow and the hardware TLB grant, and whether the second is
//! allowed by the first.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
