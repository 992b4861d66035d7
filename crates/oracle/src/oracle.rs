//! The oracle: each request judged by the guest's tables and the ghost TLB.
//!
//! The guest may hold a translation that its tables granted when it was used until INVLPG of one of its addresses (all
//! sizes, global or not), a load of CR3 (what is not global), or a change of CR0.PG or WP, CR4.PGE, PAE, PSE, SMEP or SMAP,
//! EFER.NXE or LMA (everything): APM vol. 2, 5.5.2, and a little stricter, since loads that change rights drop the shadow.
//! Making an entry present or granting more needs no flush: the tables as they are now always count.

use crate::finding::{Finding, Holder, Leaf, Moment, Verdict};
use crate::ghost::{GhostBucket, Ghosts};
use crate::guest::Guest;
use crate::judge::Judge;
use crate::mirror::{Found, Mirror};
use crate::range::Range;
use exit_abi::Mode;
use naive_walk::{Access, Grant, Grants, Refusal};
use shadow::{Counters, Error, Fault, GuestMemory, Limits, Load, LoadReason, Outcome, Target};
use words::{Gpa, Gva, PageSize};

/// How much is judged, and by which bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Most entries looked at after INVLPG or a load.
    pub limit: usize,
    /// Every so many requests a sample of everything is judged.
    pub period: u32,
    /// How many entries are in a sample.
    pub sample: usize,
    /// Most times in a row that the same fault may come after it was answered as settled.
    pub max_repeats: u32,
    /// Most entries a request may touch.
    pub max_touched: u64,
    /// What the choice of samples begins with.
    pub seed: u64,
}

impl Settings {
    /// For a booted system.
    pub const BOOTED: Self = Self {
        limit: 64,
        period: 16,
        sample: 8,
        max_repeats: 32,
        max_touched: 512,
        seed: 1,
    };
    /// Everything, every time: for tests with small shadows.
    pub const EVERYTHING: Self = Self {
        limit: usize::MAX,
        period: 1,
        sample: usize::MAX,
        ..Self::BOOTED
    };
}

/// What a fault should come to, by the guest's tables before it.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    guest: Guest,
    grant: Result<Grant, Refusal>,
    memory: bool,
}

impl Expected {
    fn verdict(&self) -> Verdict {
        match self.grant {
            Ok(grant) => Verdict::At(grant.gpa),
            Err(Refusal::PageFault(code)) => Verdict::PageFault(code),
            Err(Refusal::NonCanonical) => Verdict::NonCanonical,
        }
    }

    /// Where the guest's tables lead before the request, if they allow the access.
    #[must_use]
    pub const fn grant(&self) -> Option<&Grant> {
        match &self.grant {
            Ok(grant) => Some(grant),
            Err(_) => None,
        }
    }
}

/// What a load should come to.
#[derive(Clone, Copy, Debug)]
pub struct ExpectedLoad {
    guest: Guest,
    is_loadable: bool,
}

/// The ghost TLB and the rules.
#[derive(Debug)]
pub struct Oracle<'a> {
    limits: Limits,
    settings: Settings,
    ghosts: Ghosts<'a>,
    guest: Option<Guest>,
    judge: Judge,
    /// The guest's flush of everything is to be checked after this request.
    flushed: bool,
    last: Option<Fault>,
    repeats: u32,
    requests: u64,
    refused: u64,
    touched: u64,
    luck: u64,
    judged: u64,
    finding: Option<Finding>,
}

impl<'a> Oracle<'a> {
    /// An oracle that knows of nothing yet.
    pub fn new(limits: Limits, settings: Settings, ghosts: &'a mut [GhostBucket]) -> Self {
        Self {
            limits,
            settings,
            ghosts: Ghosts::new(ghosts),
            guest: None,
            judge: Judge::new(Mode::default()),
            flushed: false,
            last: None,
            repeats: 0,
            requests: 0,
            refused: 0,
            touched: settings.max_touched,
            luck: settings.seed | 1,
            judged: 0,
            finding: None,
        }
    }

    /// The first broken rule since this was last asked.
    pub fn take_finding(&mut self) -> Option<Finding> {
        self.finding.take()
    }

    /// Requests and translations judged so far.
    #[must_use]
    pub const fn judged(&self) -> (u64, u64) {
        (self.requests, self.judged)
    }

    fn found(&mut self, finding: Finding) {
        self.finding.get_or_insert(finding);
    }

    /// Makes (`mode`, `cr3`) the guest's space. That it is not yet means that a load was missed, which counts as one.
    pub fn adopt<M: GuestMemory>(&mut self, memory: &M, mode: Mode, cr3: u64) {
        match &mut self.guest {
            Some(guest) if guest.is_same(mode, cr3) => guest.mode = mode,
            _ => {
                self.ghosts.flush();
                self.flushed = true;
                self.enter(Guest::open(memory, mode, cr3));
            }
        }
    }

    fn enter(&mut self, guest: Guest) {
        if !self.judge.is_for(guest.mode) {
            self.judge = Judge::new(guest.mode);
        }
        self.guest = Some(guest);
    }

    /// Before a fault.
    pub fn before_fault<M: GuestMemory>(&mut self, memory: &M, fault: &Fault) -> Expected {
        self.adopt(memory, fault.mode, fault.cr3);
        self.before_translate(memory, fault)
    }

    /// Before a translation for vmm-server, which leaves the guest's space as it is.
    pub fn before_translate<M: GuestMemory>(&self, memory: &M, fault: &Fault) -> Expected {
        let guest = match self.guest {
            Some(guest) if guest.is_same(fault.mode, fault.cr3) => Guest {
                mode: fault.mode,
                ..guest
            },
            _ => Guest::open(memory, fault.mode, fault.cr3),
        };
        let grant = guest.walk(memory, self.limits, fault);
        let memory = grant.is_ok_and(|grant| is_memory(memory, grant.gpa));
        Expected {
            guest,
            grant,
            memory,
        }
    }

    /// After a fault.
    pub fn after_fault<M: GuestMemory, T>(
        &mut self,
        memory: &M,
        mirror: &Mirror<'_, T>,
        fault: &Fault,
        expected: &Expected,
        outcome: Result<Outcome, Error>,
    ) {
        match outcome {
            Ok(Outcome::Filled) => self.after_fill(memory, mirror, fault, expected),
            Ok(Outcome::Device { gpa, access }) => {
                let right = !expected.memory
                    && expected.verdict() == Verdict::At(gpa)
                    && access == fault.access;
                if right {
                    self.check_marks(memory, fault, expected);
                } else {
                    self.wrong(fault, Outcome::Device { gpa, access }, expected);
                }
            }
            Ok(Outcome::Inject { code }) => {
                if expected.verdict() != Verdict::PageFault(code) {
                    self.wrong(fault, Outcome::Inject { code }, expected);
                }
            }
            Ok(Outcome::Retry) => {}
            Err(Error::NonCanonical) if expected.verdict() == Verdict::NonCanonical => {}
            Err(error) => self.found(Finding::Failed(error)),
        }
        let settled = matches!(outcome, Ok(Outcome::Filled | Outcome::Retry));
        self.count_repeats(fault, settled);
    }

    fn wrong(&mut self, fault: &Fault, outcome: Outcome, expected: &Expected) {
        self.found(Finding::WrongOutcome {
            fault: *fault,
            outcome,
            expected: expected.verdict(),
            memory: expected.memory,
        });
    }

    fn count_repeats(&mut self, fault: &Fault, settled: bool) {
        if !settled || self.last != Some(*fault) {
            self.last = settled.then_some(*fault);
            self.repeats = 0;
            return;
        }
        self.repeats += 1;
        if self.repeats > self.settings.max_repeats {
            let repeats = core::mem::take(&mut self.repeats);
            let fault = *fault;
            self.found(Finding::NoEnd { fault, repeats });
        }
    }

    /// A and D, as an access that went through leaves them (APM vol. 2, 5.4.2). The page, as the tables have it now.
    fn check_marks<M: GuestMemory>(
        &mut self,
        memory: &M,
        fault: &Fault,
        expected: &Expected,
    ) -> Option<Grant> {
        let now = expected
            .guest
            .translate(memory, self.limits, fault.gva)
            .ok()?;
        // Marking may have changed the way: a table can stand in the page that it maps itself.
        if now.accessed && (now.dirty || !fault.access.is_write()) {
            Some(now)
        } else {
            self.found(Finding::NotMarked { fault: *fault });
            None
        }
    }

    fn after_fill<M: GuestMemory, T>(
        &mut self,
        memory: &M,
        mirror: &Mirror<'_, T>,
        fault: &Fault,
        expected: &Expected,
    ) {
        let Some(before) = expected.grant().filter(|_| expected.memory) else {
            return self.wrong(fault, Outcome::Filled, expected);
        };
        let Some(now) = self.check_marks(memory, fault, expected) else {
            return;
        };
        let gva = expected.guest.address(fault.gva);
        if expected.guest.mode.has(Mode::PG) {
            let global = now.global && expected.guest.mode.has(Mode::PGE);
            self.ghosts.add(gva, &now, global);
        }
        let leaf = match mirror.find(gva) {
            Found::Leaf(leaf) => leaf,
            Found::Nothing => {
                let fault = *fault;
                return self.found(Finding::NoProgress { fault, leaf: None });
            }
            Found::Unknown => return,
        };
        let access = Access::of(fault.mode, fault.access.code());
        let leads = leaf.gpa.bits() + (gva.bits() - leaf.gva.bits());
        if leads != before.gpa.bits() || !self.judge.hardware(leaf.rights).has(access) {
            return self.found(Finding::NoProgress {
                fault: *fault,
                leaf: Some(leaf),
            });
        }
        self.check_filled(leaf, gva, &now);
        let held = mirror
            .remnants()
            .find(|held| held.size != leaf.size && overlap(held, &leaf));
        if let Some(held) = held {
            self.found(Finding::MixedSizes { filled: leaf, held });
        }
    }

    /// A leaf just filled is granted by the guest's page as it is now, without the help of any ghost.
    fn check_filled(&mut self, leaf: Leaf, gva: Gva, now: &Grant) {
        self.judged += 1;
        let granted = self.judge.guest(now.rights, now.dirty);
        let hardware = self.judge.hardware(leaf.rights);
        let fits = leaf.size.bits() <= now.page;
        let allowed = if fits { granted } else { Grants::default() };
        let excused = if now.rights.user && !now.rights.writable {
            self.judge.beyond(leaf.rights)
        } else {
            Grants::default()
        };
        let excess = hardware.without(allowed).without(excused);
        if !excess.is_empty() {
            self.found(Finding::NotGranted {
                moment: Moment::Fill,
                holder: Holder::Shadow,
                leaf,
                at: gva,
                excess,
            });
        }
    }

    /// After a translation for vmm-server.
    pub fn after_translate<M: GuestMemory>(
        &mut self,
        memory: &M,
        fault: &Fault,
        expected: &Expected,
        target: Result<Target, Error>,
    ) {
        let right = match target {
            Ok(Target::At(gpa)) => {
                self.check_marks(memory, fault, expected);
                expected.verdict() == Verdict::At(gpa)
            }
            Ok(Target::Inject { code }) => expected.verdict() == Verdict::PageFault(code),
            Ok(Target::Retry) => true,
            Err(Error::NonCanonical) => expected.verdict() == Verdict::NonCanonical,
            Err(error) => return self.found(Finding::Failed(error)),
        };
        if !right {
            self.found(Finding::WrongTarget {
                fault: *fault,
                target: target.unwrap_or(Target::Retry),
                expected: expected.verdict(),
            });
        }
    }

    /// After INVLPG. The space was adopted before.
    pub fn after_invlpg<M: GuestMemory, T>(
        &mut self,
        memory: &M,
        mirror: &Mirror<'_, T>,
        gva: Gva,
        done: Result<(), Error>,
    ) {
        self.last = None;
        if let Err(error) = done {
            self.found(Finding::Failed(error));
        }
        let Some(guest) = self.guest else { return };
        let gva = guest.address(gva);
        // With paging off nothing is looked up, and no page has an address that is not canonical.
        if !guest.mode.has(Mode::PG) || !gva.is_canonical() {
            return;
        }
        let gone = self.ghosts.invalidate(gva);
        let page = Range::page(gva, PageSize::Size4K.bits());
        let largest = gone.into_iter().flatten().last().unwrap_or(page);
        self.check_range(memory, mirror, largest, Moment::Invlpg);
    }

    /// Before a load.
    pub fn before_load<M: GuestMemory>(
        &self,
        memory: &M,
        mode: Mode,
        cr3: u64,
        reason: LoadReason,
    ) -> ExpectedLoad {
        let guest = Guest::loaded(self.guest, memory, mode, cr3, reason);
        ExpectedLoad {
            guest,
            is_loadable: guest.is_loadable(self.limits),
        }
    }

    /// After a load.
    pub fn after_load<M: GuestMemory, T>(
        &mut self,
        memory: &M,
        mirror: &Mirror<'_, T>,
        expected: &ExpectedLoad,
        reason: LoadReason,
        loaded: Result<Load, Error>,
    ) {
        self.last = None;
        let load = match loaded {
            Ok(load) => load,
            Err(error) => return self.found(Finding::Failed(error)),
        };
        if (load == Load::Done) != expected.is_loadable {
            let cr3 = expected.guest.cr3;
            return self.found(Finding::WrongLoad { cr3, load });
        }
        if load != Load::Done {
            return;
        }
        let same_role = self
            .guest
            .is_some_and(|old| old.mode.role() == expected.guest.mode.role());
        if !same_role || reason == LoadReason::Reset {
            self.ghosts.flush();
        } else if reason == LoadReason::Cr3 {
            self.ghosts.flush_local();
        }
        self.enter(expected.guest);
        self.check_range(memory, mirror, Range::ALL, Moment::Load);
    }

    /// After a request for a root.
    pub fn after_ensure_root<T>(&mut self, mirror: &Mirror<'_, T>, done: Result<(), Error>) {
        match done {
            // Should the pool have gone stale in every attempt, the vCPU asks again.
            Ok(()) if !mirror.has_root() && !mirror.was_stale() => {
                self.found(Finding::WrongRoot { level: None });
            }
            Ok(()) => {}
            Err(error) => self.found(Finding::Failed(error)),
        }
    }

    /// After every request: what holds always.
    pub fn finish<M: GuestMemory, T>(
        &mut self,
        memory: &M,
        mirror: &Mirror<'_, T>,
        counters: Counters,
    ) {
        if mirror.refused() > self.refused {
            self.found(Finding::Refused);
        }
        self.refused = mirror.refused();
        // The engine's own count, and what the pool was asked to do.
        let touched = counters.max_touched.max(mirror.work());
        if touched > self.touched {
            self.touched = touched;
            self.found(Finding::TooMuchWork { touched });
        }
        self.check_root(mirror);
        if core::mem::take(&mut self.flushed) {
            self.check_range(memory, mirror, Range::ALL, Moment::Load);
        }
        self.requests += 1;
        if self
            .requests
            .is_multiple_of(u64::from(self.settings.period.max(1)))
        {
            self.check_sample(memory, mirror);
        }
    }

    /// A root has the format that the guest's mode wants: four levels in long mode, else PAE.
    fn check_root<T>(&mut self, mirror: &Mirror<'_, T>) {
        let (Some(guest), Some(level)) = (self.guest, mirror.root_level()) else {
            return;
        };
        let wanted = if guest.mode.has(Mode::PG | Mode::LMA) {
            4
        } else {
            5
        };
        if level != wanted {
            self.found(Finding::WrongRoot { level: Some(level) });
        }
    }

    fn roll(&mut self) -> u64 {
        self.luck ^= self.luck << 13;
        self.luck ^= self.luck >> 7;
        self.luck ^= self.luck << 17;
        self.luck
    }

    /// A sample of everything.
    fn check_sample<M: GuestMemory, T>(&mut self, memory: &M, mirror: &Mirror<'_, T>) {
        if self.settings.sample == usize::MAX {
            return self.check_all(memory, mirror, Moment::Sample);
        }
        for _ in 0..self.settings.sample {
            let luck = self.roll();
            if let Some(leaf) = mirror.pick(luck) {
                self.check_leaf(memory, Holder::Shadow, leaf, Moment::Sample);
            }
        }
        let luck = self.roll() as usize;
        let count = mirror.remnants().count();
        let first = luck.checked_rem(count).unwrap_or(0);
        for leaf in mirror.remnants().skip(first).take(self.settings.sample) {
            self.check_leaf(memory, Holder::Tlb, leaf, Moment::Sample);
        }
    }

    /// Judges every translation there is.
    pub fn check_all<M: GuestMemory, T>(
        &mut self,
        memory: &M,
        mirror: &Mirror<'_, T>,
        moment: Moment,
    ) {
        let limit = core::mem::replace(&mut self.settings.limit, usize::MAX);
        self.check_range(memory, mirror, Range::ALL, moment);
        self.settings.limit = limit;
    }

    /// Judges the translations of a range of addresses, up to the limit.
    fn check_range<M: GuestMemory, T>(
        &mut self,
        memory: &M,
        mirror: &Mirror<'_, T>,
        range: Range,
        moment: Moment,
    ) {
        let limit = self.settings.limit;
        let turn = if limit == usize::MAX {
            0
        } else {
            self.roll() as usize
        };
        for leaf in mirror.remnants() {
            if range.meets(leaf.gva, leaf.size.bits()) {
                self.check_leaf(memory, Holder::Tlb, leaf, moment);
            }
        }
        let mut seen = 0;
        mirror.visit(range, turn, |leaf| {
            self.check_leaf(memory, Holder::Shadow, leaf, moment);
            seen += 1;
            seen < limit
        });
    }

    /// Judges one translation.
    fn check_leaf<M: GuestMemory>(
        &mut self,
        memory: &M,
        holder: Holder,
        leaf: Leaf,
        moment: Moment,
    ) {
        self.judged += 1;
        let asked = self.judge.hardware(leaf.rights);
        let mut offset = 0;
        while offset < leaf.size.bytes() {
            let gva = leaf.gva.wrapping_add(offset);
            let gpa = leaf.gpa.bits() + offset;
            let (granted, bits) = self.granted(memory, gva, gpa, leaf, asked);
            let excess = asked.without(granted);
            if !excess.is_empty() {
                return self.found(Finding::NotGranted {
                    moment,
                    holder,
                    leaf,
                    at: gva,
                    excess,
                });
            }
            let next = (gva.bits() | ((1 << bits) - 1)).wrapping_add(1);
            offset = match next.checked_sub(leaf.gva.bits()) {
                Some(next) => next,
                None => return,
            };
        }
    }

    /// What guest and ghosts grant at `gva` leading to `gpa`, and log2 of the page to which that applies.
    fn granted<M: GuestMemory>(
        &self,
        memory: &M,
        gva: Gva,
        gpa: u64,
        leaf: Leaf,
        asked: Grants,
    ) -> (Grants, u32) {
        const SMALL: u32 = 12;
        let Some(guest) = self.guest else {
            return (asked, SMALL);
        };
        // Once such a leaf stands it may stay: the guest may meanwhile have made the page writable, without a flush.
        let excused = self.judge.beyond(leaf.rights);
        let mut granted = excused;
        if let Ok(now) = guest.translate(memory, self.limits, gva)
            && now.accessed
            && now.gpa.bits() == gpa
        {
            granted = self.judge.guest(now.rights, now.dirty).or(excused);
            if asked.is_within(granted) {
                return (granted, now.page);
            }
        }
        let held = self
            .ghosts
            .held(&self.judge, gva, gpa, asked.without(excused));
        if held.unknown {
            return (asked, SMALL);
        }
        (granted.or(held.grants), held.whole.max(SMALL))
    }

    /// Whether a translation of `gva` to `gpa` may let `access` through: for a test that plays the processor.
    #[must_use]
    pub fn is_granted<M: GuestMemory>(
        &self,
        memory: &M,
        leaf: Leaf,
        gva: Gva,
        access: Access,
    ) -> bool {
        let gpa = leaf.gpa.bits() + (gva.bits() - leaf.gva.bits());
        let (gva, gpa) = (gva.page(), Gpa::new(gpa).page().bits());
        let asked = self.judge.hardware(leaf.rights);
        self.granted(memory, gva, gpa, leaf, asked).0.has(access)
    }

    /// Whether the entry at `at` is on the way of an access: `Some(true)` for the last one. For a test that watches what a
    /// walk writes.
    #[must_use]
    pub fn way<M: GuestMemory>(&self, memory: &M, fault: &Fault, at: u64) -> Option<bool> {
        let grant = self.before_translate(memory, fault).grant.ok()?;
        let last = grant.path().last()?.at.bits() == at;
        grant
            .path()
            .any(|entry| entry.at.bits() == at)
            .then_some(last)
    }
}

fn is_memory<M: GuestMemory>(memory: &M, gpa: Gpa) -> bool {
    memory.is_memory(gpa.page(), PageSize::Size4K.bytes())
}

fn overlap(one: &Leaf, other: &Leaf) -> bool {
    Range::page(one.gva, one.size.bits()).meets(other.gva, other.size.bits())
}
