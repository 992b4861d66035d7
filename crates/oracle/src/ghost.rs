//! The ghost TLB: translations the guest's tables granted when they were used, until the guest does what takes them away.
//!
//! A table of buckets, found by page. Where a bucket is full, it counts as holding everything until the guest's next flush
//! that takes all its entries away: forgetting makes the oracle lenient, never wrong.

use crate::judge::Judge;
use crate::range::Range;
use naive_walk::{Grant, Grants, Rights};
use words::Gva;

/// Entries of a bucket.
const WAYS: usize = 8;
/// Sizes of guest pages with paging on.
const SIZES: [u32; 4] = [12, 21, 22, 30];

const WRITABLE: u64 = 1;
const USER: u64 = 1 << 1;
const EXECUTABLE: u64 = 1 << 2;
const DIRTY: u64 = 1 << 3;
const GLOBAL: u64 = 1 << 4;
/// Flags that add to what is granted. U/S is none: with SMEP and SMAP it takes from the supervisor.
const GROWING: u64 = WRITABLE | EXECUTABLE | DIRTY;
const FLAGS: u64 = 0xfff;

/// When an entry was made: it counts until the next flush of its kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Time {
    /// Flushes of everything so far, and one.
    era: u32,
    /// Flushes so far of what is not global.
    lap: u32,
}

impl Time {
    const NEVER: Self = Self { era: 0, lap: 0 };
}

#[derive(Clone, Copy, Debug)]
struct Ghost {
    /// The page's first address, and log2 of its size.
    page: u64,
    /// Where it leads, and flags.
    to: u64,
    made: Time,
}

/// A part of the ghost TLB.
#[derive(Clone, Copy, Debug)]
pub struct GhostBucket {
    ways: [Ghost; WAYS],
    /// When an entry was last left out, and whether one of them was global.
    overflow: Time,
    overflow_global: bool,
}

impl GhostBucket {
    /// An empty bucket.
    pub const EMPTY: Self = Self {
        ways: [Ghost {
            page: 0,
            to: 0,
            made: Time::NEVER,
        }; WAYS],
        overflow: Time::NEVER,
        overflow_global: false,
    };
}

/// The ghost TLB.
#[derive(Debug)]
pub struct Ghosts<'a> {
    buckets: &'a mut [GhostBucket],
    now: Time,
}

/// What ghosts grant at one address.
#[derive(Clone, Copy, Debug, Default)]
pub struct Held {
    /// Accesses.
    pub grants: Grants,
    /// Whether there may be more that was forgotten.
    pub unknown: bool,
    /// log2 of the largest page that grants all of what was asked for by itself; 0 if none does.
    pub whole: u32,
}

impl<'a> Ghosts<'a> {
    /// An empty ghost TLB.
    pub fn new(buckets: &'a mut [GhostBucket]) -> Self {
        buckets.fill(GhostBucket::EMPTY);
        Self {
            buckets,
            now: Time { era: 1, lap: 0 },
        }
    }

    const fn counts(&self, made: Time, global: bool) -> bool {
        made.era == self.now.era && (global || made.lap == self.now.lap)
    }

    fn bucket(&self, gva: Gva, bits: u32) -> Option<usize> {
        let count = self.buckets.len() as u64;
        let number = (gva.bits() >> bits) << 6 | bits as u64;
        let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (count > 0).then(|| ((spread * count) >> 32) as usize)
    }

    /// The guest used this translation of `gva`; `global`: G is set and CR4.PGE too.
    pub fn add(&mut self, gva: Gva, grant: &Grant, global: bool) {
        let bits = grant.page;
        let Some(bucket) = self.bucket(gva, bits) else {
            return;
        };
        let page = gva.align_down(bits).bits() | u64::from(bits);
        let flag = |set: bool, flag: u64| if set { flag } else { 0 };
        let to = grant.gpa.align_down(bits).bits()
            | flag(grant.rights.writable, WRITABLE)
            | flag(grant.rights.user, USER)
            | flag(grant.rights.executable, EXECUTABLE)
            | flag(grant.dirty, DIRTY)
            | flag(global, GLOBAL);
        let now = self.now;
        let mut free = None;
        for way in 0..WAYS {
            let ghost = self.buckets[bucket].ways[way];
            if !self.counts(ghost.made, ghost.to & GLOBAL != 0) {
                free = Some(way);
            } else if ghost.page == page && (ghost.to ^ to) & !GROWING == 0 && ghost.to & !to == 0 {
                // It grants no more than the new one, and goes as late.
                free = Some(way);
                break;
            }
        }
        let bucket = &mut self.buckets[bucket];
        match free {
            Some(way) => {
                bucket.ways[way] = Ghost {
                    page,
                    to,
                    made: now,
                }
            }
            None => {
                bucket.overflow_global =
                    global || (bucket.overflow_global && bucket.overflow.era == now.era);
                bucket.overflow = now;
            }
        }
    }

    /// What ghosts grant at `gva` if it leads to `gpa`, for a leaf that grants `asked`.
    pub fn held(&self, judge: &Judge, gva: Gva, gpa: u64, asked: Grants) -> Held {
        let mut held = Held::default();
        for bits in SIZES {
            let Some(bucket) = self.bucket(gva, bits).map(|index| &self.buckets[index]) else {
                held.unknown = true;
                break;
            };
            held.unknown |= self.counts(bucket.overflow, bucket.overflow_global);
            let page = gva.align_down(bits).bits() | u64::from(bits);
            let offset = gva.bits() & ((1 << bits) - 1);
            for ghost in &bucket.ways {
                if ghost.page != page
                    || (ghost.to & !FLAGS) + offset != gpa
                    || !self.counts(ghost.made, ghost.to & GLOBAL != 0)
                {
                    continue;
                }
                let rights = Rights {
                    writable: ghost.to & WRITABLE != 0,
                    user: ghost.to & USER != 0,
                    executable: ghost.to & EXECUTABLE != 0,
                };
                let grants = judge.guest(rights, ghost.to & DIRTY != 0);
                held.grants = held.grants.or(grants);
                if asked.is_within(grants) {
                    held.whole = held.whole.max(bits);
                }
            }
        }
        held
    }

    /// INVLPG: every page that holds `gva` goes, global or not (APM vol. 2, 5.5.2). The pages that went.
    pub fn invalidate(&mut self, gva: Gva) -> [Option<Range>; 4] {
        SIZES.map(|bits| {
            let bucket = self.bucket(gva, bits)?;
            let page = gva.align_down(bits).bits() | u64::from(bits);
            let mut gone = false;
            for way in 0..WAYS {
                let ghost = self.buckets[bucket].ways[way];
                if ghost.page == page && self.counts(ghost.made, ghost.to & GLOBAL != 0) {
                    self.buckets[bucket].ways[way].made = Time::NEVER;
                    gone = true;
                }
            }
            gone.then(|| Range::page(gva, bits))
        })
    }

    /// A load of CR3: everything goes but what is global.
    pub fn flush_local(&mut self) {
        self.now.lap = self.now.lap.wrapping_add(1);
    }

    /// Everything goes.
    pub fn flush(&mut self) {
        self.now.era = self.now.era.wrapping_add(1).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use exit_abi::Mode;
    use words::Gpa;

    const PAGE: Gva = Gva::new(0x20_1000);
    const USER_PAGE: Rights = Rights {
        writable: true,
        user: true,
        executable: true,
    };

    fn grant(gpa: u64, page: u32, rights: Rights, dirty: bool) -> Grant {
        let mut grant = naive_walk::identity(PAGE);
        grant.gpa = Gpa::new(gpa);
        (grant.page, grant.rights, grant.dirty) = (page, rights, dirty);
        grant
    }

    fn judge() -> Judge {
        Judge::new(Mode::from_bits(Mode::PG | Mode::WP | Mode::SMEP))
    }

    fn held(ghosts: &Ghosts<'_>, gva: Gva, gpa: u64) -> Held {
        let judge = judge();
        ghosts.held(&judge, gva, gpa, judge.guest(USER_PAGE, false))
    }

    #[test]
    fn a_load_of_cr3_leaves_what_is_global_and_a_change_of_mode_nothing() {
        let mut buckets = [GhostBucket::EMPTY; 4];
        let mut ghosts = Ghosts::new(&mut buckets);
        ghosts.add(PAGE, &grant(0x1000, 12, USER_PAGE, true), true);
        ghosts.add(PAGE, &grant(0x2000, 12, USER_PAGE, true), false);
        ghosts.flush_local();
        assert!(!held(&ghosts, PAGE, 0x1000).grants.is_empty());
        assert!(held(&ghosts, PAGE, 0x2000).grants.is_empty());
        ghosts.flush();
        assert!(held(&ghosts, PAGE, 0x1000).grants.is_empty());
    }

    #[test]
    fn invlpg_takes_every_page_that_holds_the_address_and_names_them() {
        let mut buckets = [GhostBucket::EMPTY; 4];
        let mut ghosts = Ghosts::new(&mut buckets);
        ghosts.add(PAGE, &grant(0x1000, 12, USER_PAGE, true), true);
        ghosts.add(PAGE, &grant(0x40_1000, 21, USER_PAGE, true), true);
        let far = Gva::new(0x3f_f000);
        assert_eq!(held(&ghosts, far, 0x5f_f000).whole, 21);
        let gone = ghosts.invalidate(PAGE);
        assert_eq!(gone[0], Some(Range::page(PAGE, 12)));
        assert_eq!(gone[1], Some(Range::page(far, 21)));
        assert_eq!(gone[2..], [None, None]);
        assert!(held(&ghosts, far, 0x5f_f000).grants.is_empty());
    }

    #[test]
    fn a_page_that_became_the_users_does_not_replace_the_supervisors() {
        let mut buckets = [GhostBucket::EMPTY; 4];
        let mut ghosts = Ghosts::new(&mut buckets);
        let kernel = Rights {
            user: false,
            ..USER_PAGE
        };
        ghosts.add(PAGE, &grant(0x1000, 12, kernel, true), false);
        ghosts.add(PAGE, &grant(0x1000, 12, USER_PAGE, true), false);
        // The supervisor may still execute it by the old one, SMEP or not.
        let asked = judge().guest(kernel, true);
        assert!(asked.is_within(held(&ghosts, PAGE, 0x1000).grants));
    }

    #[test]
    fn a_full_bucket_counts_as_everything_until_the_flush_that_empties_it() {
        let mut buckets = [GhostBucket::EMPTY; 1];
        let mut ghosts = Ghosts::new(&mut buckets);
        for page in 0..9 {
            ghosts.add(PAGE, &grant(page << 12, 12, USER_PAGE, true), page == 8);
        }
        assert!(held(&ghosts, PAGE, 0x9_0000).unknown);
        ghosts.invalidate(PAGE);
        ghosts.flush_local();
        assert!(
            held(&ghosts, PAGE, 0x9_0000).unknown,
            "a global one was left out"
        );
        ghosts.flush();
        assert!(!held(&ghosts, PAGE, 0x9_0000).unknown);
    }
}
