//! What the initial thread finds: its slots, its memory, the boot information and the pieces behind it.

use super::kit::{CNODE, Kit, TCB, cnode, invoke, is_empty, kind};
use super::report::{Check, done, ensure, equal, refused};
use sel4::BootInfoExtraId;
use sel4_abi::boot_info::{RSDP_BYTES, extra, slot};
use sel4_abi::{label, object};

/// Numbers of kinds, by the debug call.
mod number {
    pub(super) const FRAME: u64 = 1;
    pub(super) const UNTYPED: u64 = 2;
    pub(super) const TABLES: [u64; 3] = [3, 5, 7];
    pub(super) const SCHED_CONTROL: u64 = 24;
}

pub(crate) fn the_initial_slots_hold_what_they_are_named_for(_: &mut Kit) -> Check {
    let kinds = [
        (slot::NULL, 0),
        (slot::TCB, 12),
        (slot::CNODE, 10),
        (slot::VSPACE, 9),
        (slot::IRQ_CONTROL, 14),
        (slot::ASID_CONTROL, 11),
        (slot::ASID_POOL, 13),
        (slot::IO_PORT_CONTROL, 31),
        (slot::IO_SPACE, 0),
        (slot::BOOT_INFO_FRAME, number::FRAME),
        (slot::IPC_BUFFER, number::FRAME),
        (slot::DOMAIN_SET, 20),
        (12, 0),
        (13, 0),
        (slot::SC, 22),
        (15, 0),
        (slot::FIRST_FREE, number::SCHED_CONTROL),
    ];
    for (at, wanted) in kinds {
        equal!(kind(at), wanted);
    }
    Ok(())
}

pub(crate) fn slots_are_handed_out_in_the_stated_order(t: &mut Kit) -> Check {
    let info = t.boot.inner();
    equal!(info.sched_control.start, slot::FIRST_FREE);
    equal!(info.sched_control.end, slot::FIRST_FREE + 1);
    let regions = [
        info.sched_control,
        info.user_image_paging,
        info.extra_bi_pages,
        info.user_image_frames,
        info.untyped,
        info.empty,
    ];
    for pair in regions.windows(2) {
        equal!(pair[0].end, pair[1].start);
    }
    equal!(info.empty.end, 1 << info.init_thread_cnode_size_bits);
    for at in info.user_image_paging.start..info.user_image_paging.end {
        ensure!(number::TABLES.contains(&kind(at)));
    }
    for at in info.extra_bi_pages.start..info.user_image_frames.end {
        equal!(kind(at), number::FRAME);
    }
    for at in info.untyped.start..info.untyped.end {
        equal!(kind(at), number::UNTYPED);
    }
    ensure!(is_empty(info.empty.end - 2));
    Ok(())
}

pub(crate) fn there_is_one_node_and_no_iommu(t: &mut Kit) -> Check {
    let info = t.boot.inner();
    equal!(info.node_id, 0);
    equal!(info.num_nodes, 1);
    equal!(info.num_io_pt_levels, u64::MAX);
    equal!(info.shared_frames.end, info.shared_frames.start);
    equal!(info.io_space_caps.end, info.io_space_caps.start);
    equal!(
        info.init_thread_cnode_size_bits,
        sel4::init_thread::CNODE_SIZE_BITS
    );
    equal!(info.init_thread_domain, 0);
    Ok(())
}

pub(crate) fn the_boot_information_lies_behind_the_buffer(t: &mut Kit) -> Check {
    let info = t.boot.inner();
    let at = t.boot.ptr().addr() as u64;
    equal!(info.ipc_buffer % 4096, 0);
    equal!(at, info.ipc_buffer + 4096);
    let pages = info.extra_bi_pages.end - info.extra_bi_pages.start;
    equal!(pages, info.extra_len.div_ceil(4096));
    // Each capability is mapped where it is said to be: it can be mapped again there and nowhere else.
    let map = |frame, address| {
        invoke(
            frame,
            label::X86_PAGE_MAP,
            &[address, 3, 0],
            &[slot::VSPACE],
        )
    };
    done!(map(slot::BOOT_INFO_FRAME, at));
    refused!(map(slot::BOOT_INFO_FRAME, at - 4096), InvalidArgument, 0);
    done!(map(slot::IPC_BUFFER, info.ipc_buffer));
    for n in 0..pages {
        done!(map(info.extra_bi_pages.start + n, at + 4096 * (n + 1)));
    }
    Ok(())
}

pub(crate) fn untyped_memory_is_listed_devices_first_and_nothing_twice(t: &mut Kit) -> Check {
    let all = t.boot.untyped_list();
    let first = t.boot.kernel_untyped_range().start;
    ensure!(first > 0 && first < all.len());
    for (n, one) in all.iter().enumerate() {
        equal!(u64::from(one.is_device()), u64::from(n < first));
        ensure!((4..=47).contains(&one.size_bits()));
        equal!(one.paddr() % (1 << one.size_bits()), 0);
        // What lies below 1 MiB is nobody's RAM.
        ensure!(one.is_device() || one.paddr() >= 1 << 20);
        // The interrupt controllers' registers are the kernel's.
        let holds = |address: usize| address >> one.size_bits() == one.paddr() >> one.size_bits();
        ensure!(!holds(0xfee0_0000) && !holds(0xfec0_0000));
        for other in &all[..n] {
            let bits = one.size_bits().max(other.size_bits());
            ensure!(one.paddr() >> bits != other.paddr() >> bits);
        }
    }
    Ok(())
}

/// The content of the one piece of this kind.
fn piece(t: &Kit, id: BootInfoExtraId) -> Check<&[u8]> {
    let mut found = t.boot.extra().filter(|extra| extra.id == id);
    let content = found.next().map_or(&[][..], |extra| extra.content());
    ensure!(found.next().is_none());
    Ok(content)
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .rev()
        .fold(0, |value, &byte| value << 8 | u64::from(byte))
}

pub(crate) fn extra_pieces_follow_one_another_to_the_end(t: &mut Kit) -> Check {
    let order = [
        BootInfoExtraId::X86AcpiRsdp,
        BootInfoExtraId::X86MbMMap,
        BootInfoExtraId::X86TscFreq,
        COMMAND_LINE,
    ];
    let mut length = 0;
    let mut count = 0;
    for extra in t.boot.extra() {
        ensure!(order.get(count) == Some(&extra.id));
        length += extra.content_with_header().len();
        count += 1;
    }
    equal!(count, order.len());
    equal!(length, t.boot.inner().extra_len);
    Ok(())
}

/// Ours, behind seL4's.
const COMMAND_LINE: BootInfoExtraId = BootInfoExtraId::Other(extra::COMMAND_LINE);

pub(crate) fn the_kernels_command_line_is_told(t: &mut Kit) -> Check {
    // QEMU begins it with the kernel's file name.
    let line = piece(t, COMMAND_LINE)?;
    ensure!(core::str::from_utf8(line).is_ok_and(|line| line.contains("kernel")));
    Ok(())
}

pub(crate) fn the_firmwares_root_pointer_is_copied(t: &mut Kit) -> Check {
    let rsdp = piece(t, BootInfoExtraId::X86AcpiRsdp)?;
    equal!(rsdp.len(), RSDP_BYTES);
    ensure!(rsdp.starts_with(b"RSD PTR "));
    let sum = rsdp[..20]
        .iter()
        .fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    equal!(u64::from(sum), 0);
    Ok(())
}

pub(crate) fn the_loaders_memory_map_holds_all_ram_that_is_given_out(t: &mut Kit) -> Check {
    let map = piece(t, BootInfoExtraId::X86MbMMap)?;
    equal!(map.len(), 4 + 50 * 24);
    let bytes = little_endian(&map[..4]) as usize;
    ensure!(bytes > 0 && bytes.is_multiple_of(24) && bytes <= 50 * 24);
    let entries = || map[4..4 + bytes].chunks_exact(24);
    for entry in entries() {
        equal!(little_endian(&entry[..4]), 20);
    }
    ensure!(map[4 + bytes..].iter().all(|&byte| byte == 0));
    for ram in t.boot.untyped_list().iter().filter(|one| !one.is_device()) {
        let (start, end) = (
            ram.paddr() as u64,
            (ram.paddr() + (1 << ram.size_bits())) as u64,
        );
        ensure!(entries().any(|entry| {
            let base = little_endian(&entry[4..12]);
            let top = base + little_endian(&entry[12..20]);
            little_endian(&entry[20..24]) == 1 && base <= start && end <= top
        }));
    }
    Ok(())
}

pub(crate) fn the_rate_of_the_time_stamp_counter_is_told(t: &mut Kit) -> Check {
    let rate = piece(t, BootInfoExtraId::X86TscFreq)?;
    equal!(rate.len(), 4);
    ensure!(little_endian(rate) > 0);
    Ok(())
}

pub(crate) fn the_initial_context_is_of_the_smallest_size(t: &mut Kit) -> Check {
    let words = [5000, 5000, 1, 0, 0];
    let configure = label::SCHED_CONTROL_CONFIGURE_FLAGS;
    refused!(
        invoke(t.sched_control, configure, &words, &[slot::SC]),
        RangeError,
        0,
        0
    );
    // The initial thread may give the highest priority, and no higher one.
    let other = t.make(object::TCB, 0)?;
    done!(invoke(other, label::TCB_SET_PRIORITY, &[255], &[TCB]));
    done!(invoke(other, label::TCB_SET_MC_PRIORITY, &[255], &[TCB]));
    Ok(())
}

pub(crate) fn the_initial_cnodes_guard_fills_an_address(t: &mut Kit) -> Check {
    let bits = sel4::init_thread::CNODE_SIZE_BITS;
    let to = t.slot();
    // An address of as many bits as the radix has no guard to meet; one more bit of it is looked at.
    refused!(
        invoke(CNODE, label::CNODE_DELETE, &[to, bits], &[]),
        FailedLookup,
        0,
        4,
        bits,
        0,
        64 - bits
    );
    done!(cnode(label::CNODE_DELETE, to, &[], &[]));
    Ok(())
}
