//! A set of interrupt vectors, as the local APIC's request, in-service and trigger-mode registers hold it.

/// 256 bits, 32 a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Vectors([u32; 8]);

impl Vectors {
    pub(super) const fn new() -> Self {
        Self([0; 8])
    }

    /// The register that shows vectors `32 * index` and up.
    pub(super) const fn register(&self, index: u16) -> u32 {
        self.0[(index & 7) as usize]
    }

    pub(super) const fn set(&mut self, vector: u8, on: bool) {
        let bit = 1 << (vector & 31);
        let word = &mut self.0[(vector >> 5) as usize];
        *word = if on { *word | bit } else { *word & !bit };
    }

    pub(super) const fn has(&self, vector: u8) -> bool {
        self.0[(vector >> 5) as usize] >> (vector & 31) & 1 != 0
    }

    /// The highest vector.
    pub(super) fn highest(&self) -> Option<u8> {
        (0u8..8).rev().find_map(|word| {
            let top = self.0[usize::from(word)].checked_ilog2()?;
            Some(word * 32 + top as u8)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set_of_bytes(steps in proptest::collection::vec((any::<u8>(), any::<bool>()), 0..100)) {
            let (mut vectors, mut set) = (Vectors::new(), std::collections::BTreeSet::new());
            for (vector, on) in steps {
                vectors.set(vector, on);
                if on { set.insert(vector); } else { set.remove(&vector); }
                prop_assert_eq!(vectors.highest(), set.last().copied());
                prop_assert_eq!(vectors.has(vector), on);
                let register = vectors.register(u16::from(vector >> 5));
                prop_assert_eq!(register >> (vector & 31) & 1 != 0, on);
            }
        }
    }
}
