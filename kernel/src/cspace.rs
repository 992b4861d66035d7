//! Resolving capability addresses: guards and radices, level by level.

use crate::cap::{CNode, Words};
use crate::mem::Ref;
use crate::slot::Slot;
use sel4_abi::LookupFailure;

/// A resolved slot, and how many address bits were left.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// The slot.
    pub slot: Ref<Slot>,
    /// Unresolved bits.
    pub bits_left: u32,
}

/// Slot `index` of the CNode at `base`.
#[must_use]
pub(crate) fn slot_at(base: u64, index: u64) -> Ref<Slot> {
    Ref::at(base + (index << sel4_abi::object::SLOT_BITS))
}

/// Resolves the low `bits` bits of `address` from the CNode `root` on (docs/objects/cnode.md).
#[inline(always)]
pub(crate) fn resolve(root: Words, address: u64, bits: u32) -> Result<Found, LookupFailure> {
    let mut cnode = root.cnode().ok_or(LookupFailure::InvalidRoot)?;
    let mut left = bits;
    loop {
        let CNode {
            object,
            radix,
            guard_size,
            guard,
        } = cnode;
        let mismatch = LookupFailure::GuardMismatch {
            bits_left: u64::from(left),
            guard,
            guard_size: u64::from(guard_size),
        };
        if guard_size > left {
            return Err(mismatch);
        }
        let found = if guard_size == 0 {
            0
        } else {
            (address >> (left - guard_size)) & (u64::MAX >> (64 - guard_size))
        };
        if found != guard {
            return Err(mismatch);
        }
        if guard_size + radix > left {
            return Err(LookupFailure::DepthMismatch {
                bits_left: u64::from(left),
                bits_found: u64::from(guard_size + radix),
            });
        }
        left -= guard_size + radix;
        let slot = slot_at(object, (address >> left) & ((1 << radix) - 1));
        if left == 0 {
            return Ok(Found { slot, bits_left: 0 });
        }
        match slot.words().cnode() {
            Some(next) => cnode = next,
            None => {
                return Ok(Found {
                    slot,
                    bits_left: left,
                });
            }
        }
    }
}

/// As [`resolve`] with all of `address`: a thread's, in its CSpace.
#[inline(never)]
pub(crate) fn resolve_thread(root: Words, address: u64) -> Result<Ref<Slot>, LookupFailure> {
    resolve(root, address, 64).map(|found| found.slot)
}

/// The slot that all of `address` names in a CSpace of one CNode, which most are; `None` for any other, and where
/// [`resolve`] fails.
#[inline(always)]
pub(crate) fn single_level(root: Words, address: u64) -> Option<Ref<Slot>> {
    let (object, radix, beginning) = root.whole_cnode()?;
    let index = address ^ beginning;
    (index >> radix == 0).then(|| slot_at(object, index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cap::Cap;

    fn cnode(object: u64, radix: u8, guard_size: u8, guard: u64) -> Words {
        Cap::CNode {
            object,
            radix,
            guard_size,
            guard,
        }
        .words()
    }

    #[test]
    fn a_guarded_root_resolves_its_slots() {
        crate::mem::install_test_memory(1 << 21);
        let root = cnode(0x1000, 4, 60, 0);
        let found = resolve(root, 5, 64).expect("slot 5");
        assert_eq!(found.slot.bits(), 0x1000 + 5 * 32);
        assert!(matches!(
            resolve(root, 0x15, 64),
            Err(LookupFailure::GuardMismatch { bits_left: 64, .. })
        ));
        assert!(matches!(
            resolve(root, 5, 4),
            Err(LookupFailure::GuardMismatch { .. })
        ));
        assert!(matches!(
            resolve(cnode(0x1000, 8, 0, 0), 5, 4),
            Err(LookupFailure::DepthMismatch {
                bits_left: 4,
                bits_found: 8
            })
        ));
    }

    #[test]
    fn the_short_way_finds_what_the_long_one_does() {
        crate::mem::install_test_memory(1 << 21);
        let mut found = 0;
        for (radix, guard_size) in [(4, 60), (4, 59), (12, 52), (1, 63), (0, 63), (8, 0)] {
            for guard in [0, 1, 5] {
                let root = cnode(0x1000, radix, guard_size, guard);
                for address in [0, 1, 3, 0x13, 0x53, 0x1003, 0x5003, 0xd, u64::MAX] {
                    let long = resolve(root, address, 64).ok().map(|found| found.slot);
                    if let Some(slot) = single_level(root, address) {
                        assert_eq!(Some(slot), long);
                        found += 1;
                    } else {
                        let whole = radix != 0 && radix + guard_size == 64;
                        assert!(
                            !whole || long.is_none(),
                            "{radix} {guard_size} {address:#x}"
                        );
                    }
                }
            }
        }
        assert!(found > 10);
    }

    #[test]
    fn a_second_level_takes_the_remaining_bits() {
        crate::mem::install_test_memory(1 << 21);
        let root = cnode(0x1000, 4, 0, 0);
        slot_at(0x1000, 3).set_words(cnode(0x2000, 8, 0, 0));
        let found = resolve(root, 0x342, 12).expect("second level");
        assert_eq!(found.slot.bits(), 0x2000 + 0x42 * 32);
        let early = resolve(root, 0x442, 12).expect("an empty slot ends the walk");
        assert_eq!(early.bits_left, 8);
    }
}
