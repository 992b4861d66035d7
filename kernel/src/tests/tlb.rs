//! A model of the hardware's TLB against the kernel's bookkeeping of tags (I3, I5 of docs/isolation.md): each VMRUN may
//! cache all that the tables grant under its tag, and nothing leaves but by what the kernel tells the processor. So
//! whatever was cached must be harmless when its tag runs again.

use super::fake::FakeMachine;
use super::invariants::granted;
use super::random::Random;
use super::shadow::Guest;
use crate::mem::{Page, Ref};
use crate::mutant::{self, Mutant};
use crate::object::{ShadowPool, Vcpu, guest_space};
use exit_abi::Register;
use sel4_abi::label::{self, fill};
use sel4_abi::object;
use std::collections::HashMap;
use words::Gpa;
use words::svm::vmcb;
use words::x86::{cr0, cr4, efer, pte};

/// Tags of the model's processor, 0 included: few, so that they run out often.
const TAGS: u32 = 6;
/// Pages of each pool that are used.
const PAGES: u64 = 7;
/// Guest-physical pages that are mapped and unmapped.
const FRAMES: u64 = 3;

/// What a translation depends on besides tables: root, CR0, CR4, EFER, and the guest's CR3 under nested paging.
type Context = [u64; 5];

/// One thing the processor may hold: a translation, or the way to a table.
#[derive(Clone, PartialEq, Debug)]
struct Cached {
    tag: u32,
    context: Context,
    /// Pool, page, and how often the page had been reset.
    way: Vec<(usize, u64, u64)>,
    address: u64,
    bytes: u64,
    leaf: Option<u64>,
    /// It was invalidated: it must not be there when its tag runs.
    dead: bool,
}

/// One that must not be there, or not yet.
type Finding = Result<(), String>;

struct Model {
    guest: Guest,
    pools: [u64; 2],
    /// Each with its pool; the last one runs under nested paging.
    vcpus: Vec<(u64, Option<usize>)>,
    cached: Vec<Cached>,
    resets: HashMap<(usize, u64), u64>,
    random: Random,
    runs: u32,
}

impl Model {
    fn new(seed: u64) -> Self {
        let mut machine = FakeMachine::new();
        machine.svm.asids = TAGS;
        let mut guest = Guest::with(machine);
        let (space, first) = (guest.space, guest.vcpu);
        let w = &mut guest.world;
        let second_pool = w.make(object::SHADOW_POOL, 5);
        w.call(second_pool, label::POOL_BIND_SPACE, &[], &[space])
            .ok();
        let pools = [guest.pool, second_pool];
        let others = [0, 1].map(|pool: usize| {
            let vcpu = w.make(object::VCPU, 0);
            w.call(pools[pool], label::POOL_BIND_VCPU, &[], &[vcpu])
                .ok();
            vcpu
        });
        let nested = w.make(object::VCPU, 0);
        w.call(nested, label::VCPU_SET_NESTED, &[], &[space]).ok();
        let vcpus = vec![
            (first, Some(0)),
            (others[0], Some(0)),
            (others[1], Some(1)),
            (nested, None),
        ];
        for &(vcpu, _) in &vcpus {
            let mask = Register::Cr0.bit() | Register::Cr4.bit() | Register::Efer.bit();
            let words = [mask, cr0::PE | cr0::PG, cr4::PAE, efer::LME | efer::LMA];
            w.call(vcpu, label::VCPU_WRITE_REGISTERS, &words, &[]).ok();
        }
        Self {
            guest,
            pools,
            vcpus,
            cached: Vec::new(),
            resets: HashMap::new(),
            random: Random(seed),
            runs: 0,
        }
    }

    fn vcpu(&self, n: usize) -> Ref<Vcpu> {
        self.guest.world.vcpu(self.vcpus[n].0)
    }
    fn pool(&self, n: usize) -> Ref<ShadowPool> {
        self.guest.world.pool(self.pools[n])
    }
    fn space(&self) -> Ref<Page> {
        self.pool(0).space.get().expect("a space")
    }
    fn ask(&mut self, pool: usize, label: u64, words: &[u64], caps: &[u64]) -> bool {
        let answer = self.guest.world.call(self.pools[pool], label, words, caps);
        answer.label == 0
    }

    /// Marks what a flush of the pool's server covers.
    fn kill(&mut self, pool: usize, covers: impl Fn(&Cached) -> bool) {
        for cached in &mut self.cached {
            let own = cached.way.first().is_some_and(|(of, ..)| *of == pool);
            if own && covers(cached) {
                cached.dead = true;
            }
        }
    }

    fn reset(&mut self, pool: usize, page: u64, level: u64) {
        if self.ask(pool, label::POOL_RESET, &[page, level], &[]) {
            *self.resets.entry((pool, page)).or_default() += 1;
        }
    }

    /// Four pages in a row, a leaf or two, and a root for a vCPU.
    fn build(&mut self, pool: usize) {
        let base = self.random.below(PAGES - 3);
        for n in 0..4 {
            self.reset(pool, base + n, 4 - n);
        }
        let links = [base, base + 1, base + 1, base + 2, base + 2, base + 3];
        self.ask(pool, label::POOL_LINK, &links, &[]);
        for _ in 0..2 {
            self.fill(pool, base + 3);
        }
        self.set_root(pool, base);
    }

    fn fill(&mut self, pool: usize, page: u64) {
        let slot = self.random.below(3) << 32;
        let frame = self.random.below(FRAMES);
        let rights = self.random.word() & (fill::WRITE | fill::USER | fill::EXECUTE);
        self.ask(pool, label::POOL_FILL, &[page | slot, frame, rights], &[]);
    }

    fn set_root(&mut self, pool: usize, page: u64) {
        let of_pool: Vec<u64> = self
            .vcpus
            .iter()
            .filter(|(_, of)| *of == Some(pool))
            .map(|(vcpu, _)| *vcpu)
            .collect();
        let vcpu = self.random.pick(&of_pool);
        self.ask(pool, label::POOL_SET_ROOT, &[page], &[vcpu]);
    }

    fn invalidate_address(&mut self, pool: usize) {
        let gva = self.random.below(3) << 12;
        if self.ask(pool, label::POOL_INVALIDATE, &[1, gva], &[]) {
            self.kill(pool, |cached| {
                cached.leaf.is_some() && gva.wrapping_sub(cached.address) < cached.bytes
            });
        }
        for (gva, tag) in core::mem::take(&mut self.guest.world.kernel.machine.invlpga) {
            self.cached.retain(|cached| {
                let meant = cached.tag == tag && gva.wrapping_sub(cached.address) < cached.bytes;
                // The ways to tables may stay.
                cached.leaf.is_none() || !meant
            });
        }
    }

    /// A frame goes, comes, or changes its rights.
    fn remap(&mut self) {
        let page = self.random.below(FRAMES);
        let frame = self.guest.frames[page as usize];
        let w = &mut self.guest.world;
        if self.random.chance(50) {
            w.call(frame, label::X86_PAGE_UNMAP, &[], &[]);
        } else {
            let rights = self.random.pick(&[3, 3, 2]);
            let words = [page << 12, rights, 0];
            w.call(frame, label::PAGE_MAP_GUEST, &words, &[self.guest.space]);
        }
    }

    fn write_nested_register(&mut self) {
        let vcpu = self.vcpus[3].0;
        let (register, value) = self.random.pick(&[
            (Register::Cr0, cr0::PE | cr0::PG),
            (Register::Cr0, cr0::PE | cr0::PG | cr0::WP),
            (Register::Cr3, 0x1000),
            (Register::Cr3, 0x2000),
            (Register::Cr4, cr4::PAE),
            (Register::Cr4, cr4::PAE | cr4::SMEP),
            (Register::Efer, efer::LME | efer::LMA),
            (Register::Efer, efer::LME | efer::LMA | efer::NXE),
        ]);
        let words = [register.bit(), value];
        self.guest
            .world
            .call(vcpu, label::VCPU_WRITE_REGISTERS, &words, &[])
            .ok();
    }

    fn step(&mut self) -> Finding {
        let pool = self.random.below(2) as usize;
        let page = self.random.below(PAGES);
        match self.random.below(100) {
            0..8 => self.build(pool),
            8..16 => {
                let level = 1 + self.random.below(4);
                self.reset(pool, page, level);
            }
            16..22 => {
                let slot = self.random.below(3) << 32;
                let child = self.random.below(PAGES);
                self.ask(pool, label::POOL_LINK, &[page | slot, child], &[]);
            }
            22..32 => self.fill(pool, page),
            32..38 => {
                let slot = self.random.below(3) << 32;
                self.ask(pool, label::POOL_CLEAR, &[page | slot, 1], &[]);
            }
            38..40 => {
                if self.ask(pool, label::POOL_HARVEST, &[page, 512], &[]) {
                    self.kill(pool, |cached| {
                        let last = cached.way.last().map(|(_, page, _)| *page);
                        cached.leaf.is_some() && last == Some(page)
                    });
                }
            }
            40..46 => self.set_root(pool, page),
            46..54 => self.invalidate_address(pool),
            54..56 => {
                if self.ask(pool, label::POOL_INVALIDATE, &[0], &[]) {
                    self.kill(pool, |_| true);
                }
            }
            56 => {
                self.ask(pool, label::POOL_RETIRE, &[], &[]);
            }
            57..62 => self.remap(),
            62..66 => self.write_nested_register(),
            _ => {
                let vcpu = self.random.below(4) as usize;
                return self.run(vcpu);
            }
        }
        Ok(())
    }

    /// VMRUN, if there is something to run.
    fn run(&mut self, n: usize) -> Finding {
        let vcpu = self.vcpu(n);
        if self.guest.world.kernel.vcpu_prepare(vcpu).is_none() {
            return Ok(());
        }
        if self.random.chance(5) {
            self.guest.world.kernel.tag_used(vcpu, true);
            return Ok(());
        }
        let word = vcpu.read(vmcb::ASID);
        let tag = word as u32;
        if tag == 0 || tag >= TAGS {
            return Err(format!("vCPU {n} runs under tag {tag}"));
        }
        if word >> 32 & 0xff == 1 {
            self.cached.clear();
        }
        self.runs += 1;
        let context = context(vcpu);
        for cached in self.cached.iter().filter(|cached| cached.tag == tag) {
            self.judge(n, cached, context)?;
        }
        for fresh in self.reachable(n, tag, context) {
            self.judge(n, &fresh, context)?;
            if !self.cached.contains(&fresh) {
                self.cached.push(fresh);
            }
        }
        self.guest.world.kernel.tag_used(vcpu, false);
        Ok(())
    }

    /// Whether the vCPU may run with this in its TLB.
    fn judge(&self, n: usize, cached: &Cached, context: Context) -> Finding {
        let complain = |what: &str| Err(format!("vCPU {n}: {what}: {cached:x?}"));
        if cached.dead {
            return complain("runs with what was invalidated");
        }
        if cached.context != context {
            return complain("runs with what another root or register made");
        }
        for &(pool, page, reset) in &cached.way {
            if self.resets.get(&(pool, page)).copied().unwrap_or(0) != reset {
                return complain("runs with a way through a page that was reset");
            }
        }
        let Some(leaf) = cached.leaf else {
            return Ok(());
        };
        let base = leaf & pte::ADDRESS;
        let write = leaf & pte::RW != 0;
        let may = if cached.way.is_empty() {
            let backing = guest_space::backing(self.space(), Gpa::new(cached.address).frame());
            backing.is_some_and(|now| now.hpa == base && (now.writable || !write))
        } else {
            granted(self.space())
                .iter()
                .any(|frame| frame.grants(base, cached.bytes, write))
        };
        if may {
            Ok(())
        } else {
            complain("runs with a frame or a right that the guest no longer has")
        }
    }

    /// All that the vCPU's tables grant now.
    fn reachable(&self, n: usize, tag: u32, context: Context) -> Vec<Cached> {
        let vcpu = self.vcpu(n);
        let mut all = Vec::new();
        let pool = self.vcpus[n].1;
        let top = match (pool, vcpu.root.get()) {
            (Some(pool), Some(root)) => self.pool(pool).page(root),
            _ => self.space(),
        };
        self.descend(pool, top, 4, 0, &[], &mut |way, address, bytes, leaf| {
            all.push(Cached {
                tag,
                context,
                way: way.to_vec(),
                address,
                bytes,
                leaf,
                dead: false,
            });
        });
        all
    }

    fn descend(
        &self,
        pool: Option<usize>,
        table: Ref<Page>,
        level: u32,
        base: u64,
        way: &[(usize, u64, u64)],
        found: &mut impl FnMut(&[(usize, u64, u64)], u64, u64, Option<u64>),
    ) {
        let mut way = way.to_vec();
        if let Some(pool) = pool {
            let page = self.pool(pool).index_of(table.bits());
            let reset = self.resets.get(&(pool, page)).copied().unwrap_or(0);
            way.push((pool, page, reset));
        }
        let bytes = 1 << (12 + 9 * (level - 1));
        for (slot, entry) in table.0.iter().enumerate().take(256) {
            let entry = entry.get();
            if entry & pte::P == 0 {
                continue;
            }
            let address = base | (slot as u64 * bytes);
            let leaf = level == 1 || entry & pte::PS != 0;
            if !leaf {
                found(&way, address, bytes, None);
                let below = Ref::at(entry & pte::ADDRESS);
                self.descend(pool, below, level - 1, address, &way, found);
            } else if pool.is_some() || entry & pte::US != 0 {
                found(&way, address, bytes, Some(entry));
            }
        }
    }
}

fn context(vcpu: Ref<Vcpu>) -> Context {
    let root = if vcpu.nested.get() {
        vmcb::N_CR3
    } else {
        vmcb::CR3
    };
    [root, vmcb::CR0, vmcb::CR4, vmcb::EFER, vmcb::CR3].map(|field| vcpu.read(field))
}

/// Runs a seed; the step and the finding at which the model objects.
fn run(seed: u64, steps: u32) -> Result<Model, (u32, String)> {
    let mut model = Model::new(seed);
    for step in 0..steps {
        model.step().map_err(|what| (step, what))?;
    }
    Ok(model)
}

#[test]
fn no_vcpu_ever_runs_with_a_tlb_entry_that_its_tables_or_its_space_took_back() {
    const STEPS: u32 = 6000;
    for seed in 0..6 {
        let model = run(seed, STEPS)
            .unwrap_or_else(|(step, what)| panic!("seed {seed}, step {step}: {what}"));
        assert!(
            model.runs > STEPS / 10,
            "seed {seed}: only {} runs",
            model.runs
        );
        model.guest.world.check();
    }
}

#[test]
fn the_model_sees_every_flush_that_is_left_out() {
    const MOST_SEEDS: u64 = 12;
    let mut missed = Vec::new();
    for mutant in Mutant::ALL {
        mutant::set(Some(mutant));
        let caught =
            (0..MOST_SEEDS).find_map(|seed| run(seed, 4000).err().map(|found| (seed, found)));
        mutant::set(None);
        match caught {
            Some((seed, (step, what))) => {
                let end = what.find(": Cached").unwrap_or(what.len());
                println!(
                    "{mutant:?}: caught, seed {seed}, step {step}: {}",
                    &what[..end]
                );
            }
            None => {
                println!("{mutant:?}: MISSED");
                missed.push(mutant);
            }
        }
    }
    assert!(missed.is_empty(), "missed: {missed:?}");
}
