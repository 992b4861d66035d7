//! Making the first thread: its objects, its capabilities to all the machine's memory, its boot information.

use crate::cap::{Cap, Mapping, SpaceKind};
use crate::cspace::slot_at;
use crate::elf::{Elf, ElfError};
use crate::kernel::{Action, FpuOwner, IRQS, Irq, Kernel};
use crate::machine::{BootParams, Machine, Region};
use crate::mem::{self, Page, Ref};
use crate::object::table::Entry;
use crate::object::tcb::{State, slots};
use crate::object::{SchedContext, Tcb};
use crate::slot;
use core::cell::Cell;
use core::fmt;
use sel4_abi::USER_TOP;
use sel4_abi::boot_info::{
    BootInfo, MAX_IMAGE_PAGES, MAX_UNTYPED, ROOT_CNODE_BITS, RSDP_BYTES, SlotRegion, UntypedDesc,
    extra, slot as fixed,
};
use words::x86::pte;

/// Why the system cannot start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The first boot module is no program.
    Module(ElfError),
    /// No range of RAM holds the initial program and the kernel's objects.
    NoMemory {
        /// Bytes wanted in one piece.
        wanted: u64,
    },
    /// More pages than the initial CNode has slots.
    TooManyPages,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(error) => {
                write!(f, "the first boot module cannot be the root task: {error}")
            }
            Self::NoMemory { wanted } => write!(
                f,
                "the machine has no {} MiB of free memory in one piece for the root task: give it more memory",
                wanted.div_ceil(1 << 20)
            ),
            Self::TooManyPages => {
                f.write_str("the root task's image has more pages than the initial CNode has slots")
            }
        }
    }
}

/// Ticks of the first thread's round-robin slice.
const SLICE_US: u64 = 5000;
const FIRST_ASID: u16 = 1;
const CNODE_BYTES: u64 = 1 << (ROOT_CNODE_BITS + 5);
/// Most blocks a memory map can fall into while it is cut up.
const MAX_BLOCKS: usize = MAX_UNTYPED;

/// Memory for the kernel's first objects: one piece, used from the bottom up.
struct Arena {
    next: u64,
    end: u64,
}

impl Arena {
    /// `bytes` zeroed bytes, aligned to `align` (a power of two).
    fn take(&mut self, bytes: u64, align: u64) -> u64 {
        let start = (self.next + align - 1) & !(align - 1);
        assert!(
            start + bytes <= self.end,
            "the arena was sized for all of it"
        );
        self.next = start + bytes;
        mem::zero(start, bytes);
        start
    }
    fn page(&mut self) -> u64 {
        self.take(4096, 4096)
    }
}

/// A list of ranges, cut and split.
struct Blocks {
    list: [UntypedDesc; MAX_BLOCKS],
    count: usize,
}

impl Blocks {
    /// Cuts `[start, end)` into naturally aligned powers of two of at least `min_bits`.
    fn add(&mut self, start: u64, end: u64, device: bool, min_bits: u32) {
        let mut at = start;
        while at < end && self.count < MAX_BLOCKS {
            let align = if at == 0 { 47 } else { at.trailing_zeros() };
            let bits = align.min((end - at).ilog2()).min(47);
            if bits >= min_bits {
                self.list[self.count] = UntypedDesc {
                    paddr: at,
                    size_bits: bits as u8,
                    is_device: u8::from(device),
                    padding: [0; 6],
                };
                self.count += 1;
            }
            at += 1 << bits;
        }
    }
}

/// Calls `each` with the parts of `[0, top)` that no region of the ascending `holes` covers.
fn complement(holes: impl Iterator<Item = Region>, top: u64, mut each: impl FnMut(u64, u64)) {
    let mut at = 0;
    for hole in holes {
        if hole.start > at {
            each(at, hole.start.min(top));
        }
        at = at.max(hole.end);
    }
    if at < top {
        each(at, top);
    }
}

/// RAM entries of a multiboot memory map, whatever their order.
fn ram(map: &[u8]) -> impl Iterator<Item = Region> + Clone + '_ {
    let mut rest = map;
    core::iter::from_fn(move || {
        loop {
            let field = |at: usize, size: usize| {
                rest.get(at..at + size).map(|bytes| {
                    bytes
                        .iter()
                        .rev()
                        .fold(0u64, |value, &byte| value << 8 | u64::from(byte))
                })
            };
            let (size, base, length, kind) =
                (field(0, 4)?, field(4, 8)?, field(12, 8)?, field(20, 4)?);
            rest = rest.get(size as usize + 4..)?;
            if kind == 1 {
                return Some(Region {
                    start: base & !4095,
                    end: base.saturating_add(length).div_ceil(4096) * 4096,
                });
            }
        }
    })
}

/// Everything that must not appear as device memory, ascending: RAM and the kernel's own devices. RAM below 1 MiB, which
/// is given to nobody as RAM, belongs to the firmware's area and counts as device memory, as in seL4.
fn reserved<'a>(params: &BootParams<'a>) -> impl Iterator<Item = Region> + 'a {
    let (map, devices) = (params.memory_map, params.kernel_devices);
    let mut after = None;
    core::iter::from_fn(move || {
        let later = |region: &Region| after.is_none_or(|start| region.start > start);
        let next = ram(map)
            .map(|region| Region {
                start: region.start.max(1 << 20),
                ..region
            })
            .filter(|region| region.start < region.end)
            .chain(devices.iter().copied())
            .filter(later)
            .min_by_key(|region| region.start)?;
        after = Some(next.start);
        Some(next)
    })
}

/// The initial thread's address space while it is built.
struct Space<'a> {
    root: Ref<Page>,
    arena: &'a mut Arena,
    tables: TableList,
}

/// Paging structures made, for their capabilities.
struct TableList {
    list: [(u64, u8, u64); 256],
    count: usize,
    /// Most that the arena has pages for.
    limit: u64,
}

impl Space<'_> {
    fn map<M: Machine>(&mut self, vaddr: u64, frame: u64, write: bool) -> Result<(), BootError> {
        for level in (1..=3).rev() {
            let Entry::Found(entry) = Kernel::<M>::table_entry(self.root, vaddr, level + 1) else {
                continue;
            };
            if entry.get() & pte::P == 0 {
                if self.tables.count as u64 >= self.tables.limit {
                    return Err(BootError::TooManyPages);
                }
                let table = self.arena.page();
                entry.set(table | pte::P | pte::RW | pte::US);
                let list = &mut self.tables;
                *list
                    .list
                    .get_mut(list.count)
                    .ok_or(BootError::TooManyPages)? = (
                    table,
                    level as u8,
                    vaddr & !((1u64 << (12 + 9 * level)) - 1),
                );
                list.count += 1;
            }
        }
        if let Entry::Found(entry) = Kernel::<M>::table_entry(self.root, vaddr, 1) {
            entry.set(frame | pte::P | pte::US | if write { pte::RW } else { 0 });
        }
        Ok(())
    }
}

/// The largest part of RAM without the module that holds `bytes`, from its top.
fn find_arena(params: &BootParams<'_>, bytes: u64) -> Result<Arena, BootError> {
    let module = Region {
        start: params.module.start & !4095,
        end: (params.module.end + 4095) & !4095,
    };
    let mut best: Option<Region> = None;
    for region in params.memory {
        let pieces = [
            Region {
                start: region.start,
                end: region.end.min(module.start),
            },
            Region {
                start: region.start.max(module.end),
                end: region.end,
            },
        ];
        for piece in pieces {
            let room = piece.end.saturating_sub(piece.start);
            if room >= bytes && best.is_none_or(|best| best.end - best.start < room) {
                best = Some(piece);
            }
        }
    }
    let piece = best.ok_or(BootError::NoMemory { wanted: bytes })?;
    let start = (piece.end - bytes) & !(CNODE_BYTES - 1);
    let start = if start < piece.start {
        piece.start
    } else {
        start
    };
    Ok(Arena {
        next: start,
        end: piece.end,
    })
}

/// Bytes of extra boot information, chunks as seL4 orders them and then ours.
fn extra_length(params: &BootParams<'_>) -> u64 {
    let rsdp = params.rsdp.map_or(0, |_| 16 + RSDP_BYTES);
    let command_line = match params.command_line.len() as u64 {
        0 => 0,
        length => 16 + length,
    };
    rsdp + 16 + 4 + 50 * 24 + 16 + 4 + command_line
}

struct ExtraWriter {
    at: u64,
}

impl ExtraWriter {
    fn chunk(&mut self, id: u64, length: u64, parts: &[&[u8]]) {
        mem::write_bytes(self.at, &id.to_le_bytes());
        mem::write_bytes(self.at + 8, &(16 + length).to_le_bytes());
        let mut at = self.at + 16;
        for part in parts {
            mem::write_bytes(at, part);
            at += part.len() as u64;
        }
        self.at += 16 + length;
    }
}

/// Slots of the initial CNode, handed out in order.
struct Slots {
    base: u64,
    next: u64,
}

impl Slots {
    fn put(&mut self, cap: Cap) {
        slot::insert_root(cap, slot_at(self.base, self.next));
        self.next += 1;
    }
    fn region(&mut self, caps: impl Iterator<Item = Cap>) -> SlotRegion {
        let start = self.next;
        caps.for_each(|cap| self.put(cap));
        SlotRegion {
            start,
            end: self.next,
        }
    }
}

impl<M: Machine> Kernel<M> {
    /// Starts the system: the root task is ready to run, with capabilities to everything that is not the kernel's.
    pub fn boot(machine: M, params: &BootParams<'_>) -> Result<Self, BootError> {
        let file = mem::bytes(params.module.start, params.module.end - params.module.start);
        let elf = Elf::new(file).map_err(BootError::Module)?;
        let image_pages = elf.pages().count() as u64;
        let extra_pages = extra_length(params).div_ceil(4096);
        if image_pages > MAX_IMAGE_PAGES {
            return Err(BootError::TooManyPages);
        }
        // Tables: one per 2 MiB of a segment and its ends, at three levels.
        let table_pages = image_pages / 512 + 3 * 64;
        let bytes = 2 * CNODE_BYTES + 4096 * (image_pages + extra_pages + table_pages + 16);
        let mut arena = find_arena(params, bytes)?;
        let arena_start = arena.next;
        let cnode = arena.take(CNODE_BYTES, CNODE_BYTES);
        let mut kernel = Self::bare(machine, params, &mut arena);

        let root: Ref<Page> = Ref::at(arena.page());
        for n in 256..512 {
            root.0[n].set(kernel.kernel_pml4.0[n].get());
        }
        let first_frame = arena.take(4096 * image_pages, 4096);
        let ipc_frame = arena.page();
        let info_frame = arena.take(4096 * (1 + extra_pages), 4096);
        let tables = TableList {
            list: [(0, 0, 0); 256],
            count: 0,
            limit: table_pages,
        };
        let mut space = Space {
            root,
            arena: &mut arena,
            tables,
        };
        let mut end = 0;
        for (n, page) in elf.pages().enumerate() {
            let write = elf
                .segments()
                .any(|s| s.write && s.vaddr < page + 4096 && s.vaddr + s.memory_size > page);
            space.map::<M>(page, first_frame + 4096 * n as u64, write)?;
            end = page + 4096;
        }
        let (ipc_vaddr, info_vaddr) = (end, end + 4096);
        debug_assert!(info_vaddr + 4096 * (1 + extra_pages) <= USER_TOP);
        space.map::<M>(ipc_vaddr, ipc_frame, true)?;
        for n in 0..=extra_pages {
            space.map::<M>(info_vaddr + 4096 * n, info_frame + 4096 * n, true)?;
        }
        let tables = space.tables;
        load_image(&elf, file, params.module.start, first_frame);

        let pool: Ref<crate::object::AsidPool> = Ref::at(arena.page());
        pool.0[usize::from(FIRST_ASID)].set(root.bits());
        kernel.asid_pools[0].set(Some(pool));
        let tcb: Ref<Tcb> = Ref::at(arena.take(2048, 2048));
        let sc: Ref<SchedContext> = Ref::at(arena.take(128, 128));

        let mut slots = Slots {
            base: cnode,
            next: 0,
        };
        let at = |address| {
            Some(Mapping {
                asid: FIRST_ASID,
                address,
                kind: SpaceKind::Host,
            })
        };
        let frame = |base, address| Cap::Frame {
            base,
            size: 0,
            device: false,
            rights: 3,
            mapping: at(address),
        };
        let root_cnode = Cap::CNode {
            object: cnode,
            radix: ROOT_CNODE_BITS as u8,
            guard_size: 64 - ROOT_CNODE_BITS as u8,
            guard: 0,
        };
        let vspace = Cap::Table {
            object: root,
            level: 4,
            kind: SpaceKind::Host,
            mapping: at(0),
        };
        let ipc = frame(ipc_frame, ipc_vaddr);
        for (index, cap) in [
            (fixed::TCB, Cap::Tcb { object: tcb }),
            (fixed::CNODE, root_cnode),
            (fixed::VSPACE, vspace),
            (fixed::IRQ_CONTROL, Cap::IrqControl),
            (fixed::ASID_CONTROL, Cap::AsidControl),
            (
                fixed::ASID_POOL,
                Cap::AsidPool {
                    object: pool,
                    base: 0,
                },
            ),
            (fixed::IO_PORT_CONTROL, Cap::IoPortControl),
            (fixed::BOOT_INFO_FRAME, frame(info_frame, info_vaddr)),
            (fixed::IPC_BUFFER, ipc),
            (fixed::DOMAIN_SET, Cap::DomainSet),
            (
                fixed::SC,
                Cap::SchedContext {
                    object: sc,
                    bits: 7,
                },
            ),
        ] {
            slot::insert_root(cap, slot_at(cnode, index));
        }
        slots.next = fixed::FIRST_FREE;
        let sched_control = slots.region(core::iter::once(Cap::SchedControl));
        let user_image_paging = slots.region(tables.list[..tables.count].iter().map(
            |&(table, level, address)| Cap::Table {
                object: Ref::at(table),
                level,
                kind: SpaceKind::Host,
                mapping: at(address),
            },
        ));
        let extra_bi_pages = slots
            .region((1..=extra_pages).map(|n| frame(info_frame + 4096 * n, info_vaddr + 4096 * n)));
        let user_image_frames = slots.region(
            elf.pages()
                .enumerate()
                .map(|(n, page)| frame(first_frame + 4096 * n as u64, page)),
        );
        let blocks = untyped_blocks(params, arena_start, arena.next);
        let untyped = slots.region(
            blocks.list[..blocks.count]
                .iter()
                .map(|block| Cap::Untyped {
                    base: block.paddr,
                    bits: block.size_bits,
                    device: block.is_device != 0,
                    dirty: block.is_device == 0,
                    free: 0,
                }),
        );
        let info = BootInfo {
            extra_len: extra_length(params),
            node_id: 0,
            num_nodes: 1,
            num_io_pt_levels: u64::MAX,
            ipc_buffer: ipc_vaddr,
            empty: SlotRegion {
                start: slots.next,
                end: 1 << ROOT_CNODE_BITS,
            },
            shared_frames: SlotRegion::default(),
            user_image_frames,
            user_image_paging,
            io_space_caps: SlotRegion::default(),
            extra_bi_pages,
            init_thread_cnode_size_bits: ROOT_CNODE_BITS,
            init_thread_domain: 0,
            sched_control,
            untyped,
            untyped_list: blocks.list,
        };
        write_boot_info(info_frame, &info);
        kernel.write_extra(info_frame + 4096, params);
        kernel.start_root(tcb, sc, cnode, (ipc_vaddr, info_vaddr, elf.entry));
        Ok(kernel)
    }

    /// A kernel with an idle thread and nothing else.
    fn bare(machine: M, params: &BootParams<'_>, arena: &mut Arena) -> Self {
        let idle: Ref<Tcb> = Ref::at(arena.take(2048, 2048));
        let idle_sc: Ref<SchedContext> = Ref::at(arena.take(128, 128));
        let now = machine.now();
        idle.state.set(State::Idle);
        idle.sc.set(Some(idle_sc));
        idle_sc.tcb.set(Some(idle));
        idle_sc.refill_new(2, u64::MAX / 4, 0, now);
        let irq_slots = arena.page();
        let kernel_pml4: Ref<crate::mem::Page> = Ref::at(params.kernel_pml4.bits());
        Self {
            machine,
            current: idle,
            idle,
            current_sc: idle_sc,
            action: Action::Choose,
            now,
            consumed: 0,
            reprogram: true,
            queues: crate::sched::Queues::new(),
            fpu_owner: FpuOwner::NONE,
            irqs: [Irq {
                route: None,
                active: false,
            }; IRQS],
            irq_slots,
            ports: [0; 1024],
            asid_pools: core::array::from_fn(|_| mem::no_link()),
            kernel_pml4,
            first_shared: (256..512)
                .find(|&n| kernel_pml4.0[n].get() != 0)
                .unwrap_or(512),
            loaded_space: 0,
            loaded_thread: 0,
            bases_of: idle,
            work_units: 0,
            cancelling: None,
            tags: crate::object::vcpu::Tags::new(),
        }
    }

    fn write_extra(&mut self, at: u64, params: &BootParams<'_>) {
        let mut writer = ExtraWriter { at };
        if let Some(rsdp) = params.rsdp {
            // The frame is zeroed: a short one of ACPI 1 has zeros behind it.
            let rsdp = &rsdp[..rsdp.len().min(RSDP_BYTES as usize)];
            writer.chunk(extra::X86_ACPI_RSDP, RSDP_BYTES, &[rsdp]);
        }
        let map = &params.memory_map[..params.memory_map.len().min(50 * 24)];
        writer.chunk(
            extra::X86_MBMMAP,
            4 + 50 * 24,
            &[&(map.len() as u32).to_le_bytes(), map],
        );
        let mhz = self.machine.tsc_mhz() as u32;
        writer.chunk(extra::X86_TSC_FREQ, 4, &[&mhz.to_le_bytes()]);
        let line = params.command_line.as_bytes();
        if !line.is_empty() {
            writer.chunk(extra::COMMAND_LINE, line.len() as u64, &[line]);
        }
    }

    fn start_root(
        &mut self,
        tcb: Ref<Tcb>,
        sc: Ref<SchedContext>,
        cnode: u64,
        at: (u64, u64, u64),
    ) {
        let (ipc_vaddr, info_vaddr, entry) = at;
        tcb.init();
        for (index, source) in [
            (slots::CSPACE, fixed::CNODE),
            (slots::VSPACE, fixed::VSPACE),
            (slots::BUFFER, fixed::IPC_BUFFER),
        ] {
            let source = slot_at(cnode, source);
            slot::insert(source.cap(), source, tcb.slot(index));
        }
        tcb.buffer.set(ipc_vaddr);
        tcb.priority.set(255);
        tcb.mcp.set(255);
        tcb.context.rip.set(entry);
        tcb.context.rdi.set(info_vaddr);
        let mut name = [0; 32];
        name[..9].copy_from_slice(b"root task");
        tcb.name.set(name);
        let slice = SLICE_US * self.machine.tsc_mhz();
        sc.refill_new(2, slice, 0, self.now);
        tcb.sc.set(Some(sc));
        sc.tcb.set(Some(tcb));
        tcb.state.set(State::Running);
        self.action = Action::Candidate(tcb);
    }
}

/// Copies the segments' bytes into the image's frames, which hold the pages in ascending order.
fn load_image(elf: &Elf<'_>, file: &[u8], module: u64, first_frame: u64) {
    debug_assert!(!file.is_empty());
    for (n, page) in elf.pages().enumerate() {
        let frame = first_frame + 4096 * n as u64;
        for s in elf.segments() {
            let start = page.max(s.vaddr);
            let end = (page + 4096).min(s.vaddr + s.file_size);
            if start < end {
                mem::copy(
                    frame + (start - page),
                    module + s.offset + (start - s.vaddr),
                    end - start,
                );
            }
        }
    }
}

fn write_boot_info(frame: u64, info: &BootInfo) {
    let cells: Ref<Cell<BootInfo>> = Ref::at(frame);
    cells.set(info.clone());
}

/// Untyped memory: devices first, then RAM; the arena's used part is the kernel's.
fn untyped_blocks(params: &BootParams<'_>, arena_start: u64, arena_end: u64) -> Blocks {
    let mut blocks = Blocks {
        list: [UntypedDesc::default(); MAX_BLOCKS],
        count: 0,
    };
    let arena_end = (arena_end + 4095) & !4095;
    complement(reserved(params), 1 << 47, |start, end| {
        blocks.add(start, end, true, 12)
    });
    for region in params.memory {
        blocks.add(region.start, region.end.min(arena_start), false, 12);
        blocks.add(region.start.max(arena_end), region.end, false, 12);
    }
    blocks
}
