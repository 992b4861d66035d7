//! Address spaces: tables, frames, ASIDs.
#![allow(unsafe_code)] // looks at mapped frames

use super::kit::{
    Answer, CNODE, GUARD, Kit, LOW, VSPACE, delete, endpoint, invoke, kind, received, reply, rest,
    revoke,
};
use super::report::{Check, done, ensure, equal, marks, refused};
use super::thread::{BUFFERS, mark};
use sel4_abi::{fault, label, object};

/// Where the runner's tables exist and nothing is mapped.
const FREE: u64 = BUFFERS + 0x10_0000;
/// Where not even the second level exists.
const FAR: u64 = 0x4000_0000_0000;
const TOP: u64 = 0x7fff_ffff_f000;

fn map(frame: u64, space: u64, address: u64, rights: u64) -> Answer {
    invoke(frame, label::X86_PAGE_MAP, &[address, rights, 0], &[space])
}

fn unmap(frame: u64) -> Answer {
    invoke(frame, label::X86_PAGE_UNMAP, &[], &[])
}

fn read(address: u64) -> u64 {
    // SAFETY: the caller mapped a frame there.
    unsafe { (address as *const u64).read_volatile() }
}

fn write(address: u64, value: u64) {
    // SAFETY: the caller mapped a frame there that nothing else uses.
    unsafe { (address as *mut u64).write_volatile(value) }
}

/// An address space with a number, and its capability.
fn space(t: &mut Kit) -> Check<u64> {
    let space = t.make(object::X64_PML4, 0)?;
    let pool = sel4::init_thread::slot::ASID_POOL.cptr_bits();
    done!(invoke(pool, label::X86_ASID_POOL_ASSIGN, &[], &[space]));
    Ok(space)
}

/// Tables of all levels for an address of a space.
fn tables(t: &mut Kit, space: u64, address: u64) -> Check<[u64; 3]> {
    let mut made = [0; 3];
    let levels = [
        (object::X86_PDPT, label::X86_PDPT_MAP),
        (object::X86_PAGE_DIRECTORY, label::X86_PAGE_DIRECTORY_MAP),
        (object::X86_PAGE_TABLE, label::X86_PAGE_TABLE_MAP),
    ];
    for (slot, (ty, map)) in made.iter_mut().zip(levels) {
        *slot = t.make(ty, 0)?;
        done!(invoke(*slot, map, &[address, 0], &[space]));
    }
    Ok(made)
}

pub(crate) fn a_mapped_frame_is_there_and_an_unmapped_one_is_not(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    done!(map(frame, VSPACE, FREE, 3));
    write(FREE, 0x55);
    equal!(read(FREE), 0x55);
    done!(unmap(frame));
    done!(unmap(frame));
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.active(LOW, [FREE, 0, 0, 0, 0, 0], |args| mark(read(args[0])))?;
    t.set_handler(thread, ep)?;
    t.resume(thread)?;
    let message = received(endpoint(ep).recv(reply(object)).0);
    equal!(message.label, fault::VM_FAULT);
    equal!(message.words[1], FREE);
    done!(map(frame, VSPACE, FREE, 3));
    reply(object).reply_with_mrs(super::kit::info(0, 0), []);
    rest();
    marks!(0x55);
    Ok(())
}

pub(crate) fn a_missing_level_is_named_by_the_bits_it_leaves(t: &mut Kit) -> Check {
    let (space, frame) = (space(t)?, t.make(object::X86_4K, 0)?);
    for (ty, label, bits) in [
        (object::X86_PDPT, label::X86_PDPT_MAP, 39),
        (
            object::X86_PAGE_DIRECTORY,
            label::X86_PAGE_DIRECTORY_MAP,
            30,
        ),
        (object::X86_PAGE_TABLE, label::X86_PAGE_TABLE_MAP, 21),
    ] {
        refused!(map(frame, space, FREE, 3), FailedLookup, 0, 2, bits);
        let table = t.make(ty, 0)?;
        done!(invoke(table, label, &[FREE, 0], &[space]));
    }
    done!(map(frame, space, FREE, 3));
    Ok(())
}

pub(crate) fn tables_refuse_in_the_stated_order(t: &mut Kit) -> Check {
    let (space, table) = (space(t)?, t.make(object::X86_PDPT, 0)?);
    let (bare, frame) = (t.make(object::X64_PML4, 0)?, t.make(object::X86_4K, 0)?);
    let ask = |table, words: &[u64], caps: &[u64]| invoke(table, label::X86_PDPT_MAP, words, caps);
    refused!(ask(table, &[0], &[space]), TruncatedMessage);
    refused!(ask(table, &[0, 0], &[]), TruncatedMessage);
    refused!(ask(table, &[0, 0], &[bare]), InvalidCapability, 1);
    refused!(ask(table, &[0, 0], &[frame]), InvalidCapability, 1);
    refused!(ask(table, &[1 << 47, 0], &[space]), InvalidArgument, 0);
    let lower = t.make(object::X86_PAGE_TABLE, 0)?;
    let missing = invoke(lower, label::X86_PAGE_TABLE_MAP, &[0, 0], &[space]);
    refused!(missing, FailedLookup, 0, 2, 39);
    done!(ask(table, &[0x1234, 0], &[space]));
    refused!(ask(table, &[1 << 40, 0], &[space]), InvalidCapability, 0);
    let second = t.make(object::X86_PDPT, 0)?;
    refused!(ask(second, &[0, 0], &[space]), DeleteFirst);
    let copy = t.copy(table, 15)?;
    refused!(invoke(table, label::X86_PDPT_UNMAP, &[], &[]), RevokeFirst);
    delete(copy)?;
    done!(invoke(table, label::X86_PDPT_UNMAP, &[], &[]));
    done!(ask(second, &[0, 0], &[space]));
    refused!(
        invoke(second, label::X86_PAGE_TABLE_UNMAP, &[], &[]),
        IllegalOperation
    );
    refused!(
        invoke(space, label::X86_PDPT_MAP, &[0, 0], &[space]),
        IllegalOperation
    );
    Ok(())
}

pub(crate) fn frames_refuse_in_the_stated_order(t: &mut Kit) -> Check {
    let (space, frame) = (space(t)?, t.make(object::X86_4K, 0)?);
    let bare = t.make(object::X64_PML4, 0)?;
    let ask = |words: &[u64], caps: &[u64]| invoke(frame, label::X86_PAGE_MAP, words, caps);
    refused!(ask(&[FREE, 3], &[VSPACE]), TruncatedMessage);
    refused!(ask(&[FREE, 3, 0], &[]), TruncatedMessage);
    refused!(map(frame, frame, FREE, 3), InvalidCapability, 1);
    refused!(map(frame, bare, FREE, 3), InvalidCapability, 1);
    refused!(map(frame, VSPACE, TOP, 3), InvalidArgument, 0);
    refused!(map(frame, VSPACE, u64::MAX - 4095, 3), InvalidArgument, 0);
    refused!(map(frame, VSPACE, FREE + 8, 3), AlignmentError);
    refused!(map(frame, space, FAR, 3), FailedLookup, 0, 2, 39);
    done!(map(frame, VSPACE, FREE, 3));
    refused!(map(frame, space, FREE, 3), InvalidCapability, 1);
    refused!(map(frame, VSPACE, FREE + 4096, 3), InvalidArgument, 0);
    done!(map(frame, VSPACE, FREE, 2));
    refused!(
        invoke(frame, label::X86_PDPT_MAP, &[0, 0], &[VSPACE]),
        IllegalOperation
    );
    Ok(())
}

pub(crate) fn mapping_again_in_place_changes_the_rights(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    done!(map(frame, VSPACE, FREE, 2));
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.active(LOW, [FREE, 0, 0, 0, 0, 0], |args| {
        write(args[0], 7);
        mark(read(args[0]));
    })?;
    t.set_handler(thread, ep)?;
    t.resume(thread)?;
    let message = received(endpoint(ep).recv(reply(object)).0);
    equal!(message.words[3], 7);
    done!(map(frame, VSPACE, FREE, 3));
    reply(object).reply_with_mrs(super::kit::info(0, 0), []);
    rest();
    marks!(7);
    Ok(())
}

pub(crate) fn a_frame_cap_without_write_maps_read_only_whatever_is_asked(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    let weak = t.copy(frame, 2)?;
    done!(map(weak, VSPACE, FREE, 3));
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.active(LOW, [FREE, 0, 0, 0, 0, 0], |args| write(args[0], 7))?;
    t.set_handler(thread, ep)?;
    t.resume(thread)?;
    equal!(received(endpoint(ep).recv(reply(object)).0).words[3], 7);
    Ok(())
}

pub(crate) fn a_frame_mapped_without_read_is_not_the_users(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    done!(map(frame, VSPACE, FREE, 1));
    let (ep, object) = (t.ep()?, t.reply()?);
    let thread = t.active(LOW, [FREE, 0, 0, 0, 0, 0], |args| mark(read(args[0])))?;
    t.set_handler(thread, ep)?;
    t.resume(thread)?;
    // Present, not writable by this access, by the user.
    equal!(received(endpoint(ep).recv(reply(object)).0).words[3], 5);
    marks!();
    Ok(())
}

pub(crate) fn a_copied_frame_is_unmapped_and_maps_elsewhere(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    done!(map(frame, VSPACE, FREE, 3));
    let copy = t.copy(frame, 15)?;
    done!(map(copy, VSPACE, FREE + 4096, 3));
    write(FREE, 9);
    equal!(read(FREE + 4096), 9);
    delete(copy)?;
    equal!(read(FREE), 9);
    Ok(())
}

pub(crate) fn a_frame_takes_anothers_place(t: &mut Kit) -> Check {
    let (one, two) = (t.make(object::X86_4K, 0)?, t.make(object::X86_4K, 0)?);
    done!(map(one, VSPACE, FREE, 3));
    write(FREE, 1);
    done!(map(two, VSPACE, FREE, 3));
    equal!(read(FREE), 0);
    // What is not there any more is not unmapped.
    done!(unmap(one));
    equal!(read(FREE), 0);
    Ok(())
}

pub(crate) fn a_frame_tells_its_address_and_large_ones_are_aligned(t: &mut Kit) -> Check {
    let large = t.make(object::X86_LARGE_PAGE, 0)?;
    let answer = done!(invoke(large, label::X86_PAGE_GET_ADDRESS, &[], &[]));
    equal!(answer.length, 1);
    equal!(answer.words[0] % (2 << 20), 0);
    Ok(())
}

pub(crate) fn a_large_frame_is_mapped_and_not_over_a_table(t: &mut Kit) -> Check {
    let large = t.make(object::X86_LARGE_PAGE, 0)?;
    // A page table is there.
    refused!(map(large, VSPACE, BUFFERS, 3), DeleteFirst);
    refused!(map(large, VSPACE, BUFFERS + 4096, 3), AlignmentError);
    let place = BUFFERS + (2 << 20);
    done!(map(large, VSPACE, place, 3));
    write(place + 0x1f_fff8, 5);
    equal!(read(place + 0x1f_fff8), 5);
    // A small frame finds no table there.
    let small = t.make(object::X86_4K, 0)?;
    refused!(map(small, VSPACE, place, 3), FailedLookup, 0, 2, 21);
    let table = t.make(object::X86_PAGE_TABLE, 0)?;
    let over = invoke(table, label::X86_PAGE_TABLE_MAP, &[place, 0], &[VSPACE]);
    refused!(over, DeleteFirst);
    Ok(())
}

pub(crate) fn an_unmapped_table_takes_what_was_mapped_by_it(t: &mut Kit) -> Check {
    let space = space(t)?;
    let [_, _, table] = tables(t, space, FREE)?;
    let frame = t.make(object::X86_4K, 0)?;
    done!(map(frame, space, FREE, 3));
    done!(invoke(table, label::X86_PAGE_TABLE_UNMAP, &[], &[]));
    done!(invoke(
        table,
        label::X86_PAGE_TABLE_MAP,
        &[FREE, 0],
        &[space]
    ));
    let other = t.make(object::X86_4K, 0)?;
    done!(map(other, space, FREE, 3));
    Ok(())
}

pub(crate) fn a_thread_runs_in_an_address_space_of_its_own(t: &mut Kit) -> Check {
    let space = space(t)?;
    tables(t, space, FREE)?;
    let (code, ep, object) = (t.make(object::X86_4K, 0)?, t.ep()?, t.reply()?);
    let copy = t.copy(code, 15)?;
    done!(map(code, VSPACE, FREE, 3));
    // ud2
    write(FREE, 0x0b0f);
    done!(map(copy, space, FREE, 2));
    let thread = t.active(LOW, [0; 6], |_| {})?;
    let set = [ep, CNODE, space];
    done!(invoke(thread.tcb, label::TCB_SET_SPACE, &[GUARD, 0], &set));
    done!(invoke(
        thread.tcb,
        label::TCB_WRITE_REGISTERS,
        &[1, 1, FREE],
        &[]
    ));
    let message = received(endpoint(ep).recv(reply(object)).0);
    equal!(message.label, fault::USER_EXCEPTION);
    equal!(message.words[0], FREE);
    // Without the space the thread cannot fetch its instruction. It holds a capability of it, too.
    revoke(space)?;
    delete(space)?;
    reply(object).reply_with_mrs(super::kit::info(0, 0), []);
    let message = received(endpoint(ep).recv(reply(object)).0);
    equal!(message.label, fault::VM_FAULT);
    Ok(())
}

pub(crate) fn asid_pools_are_made_and_assigned_in_the_stated_order(t: &mut Kit) -> Check {
    let (memory, wrong, slot) = (
        t.make(object::UNTYPED, 12)?,
        t.make(object::UNTYPED, 13)?,
        t.slot(),
    );
    let control = sel4::init_thread::slot::ASID_CONTROL.cptr_bits();
    let ask = |words: &[u64], caps: &[u64]| {
        invoke(control, label::X86_ASID_CONTROL_MAKE_POOL, words, caps)
    };
    refused!(ask(&[slot], &[memory, CNODE]), TruncatedMessage);
    refused!(ask(&[slot, 64], &[memory]), TruncatedMessage);
    refused!(ask(&[slot, 64], &[wrong, CNODE]), InvalidCapability, 1);
    refused!(ask(&[CNODE, 64], &[memory, CNODE]), DeleteFirst);
    done!(ask(&[slot, 64], &[memory, CNODE]));
    let child = t.slot();
    refused!(ask(&[child, 64], &[memory, CNODE]), RevokeFirst);
    let assign = |caps: &[u64]| invoke(slot, label::X86_ASID_POOL_ASSIGN, &[], caps);
    refused!(assign(&[]), TruncatedMessage);
    refused!(assign(&[memory]), InvalidCapability, 1);
    let space = t.make(object::X64_PML4, 0)?;
    done!(assign(&[space]));
    refused!(assign(&[space]), InvalidCapability, 1);
    refused!(
        invoke(slot, label::X86_PAGE_MAP, &[], &[]),
        IllegalOperation
    );
    Ok(())
}

pub(crate) fn there_are_eight_asid_pools(t: &mut Kit) -> Check {
    let control = sel4::init_thread::slot::ASID_CONTROL.cptr_bits();
    let mut made = 0;
    loop {
        let (memory, slot) = (t.make(object::UNTYPED, 12)?, t.slot());
        let words = [slot, 64];
        let answer = invoke(
            control,
            label::X86_ASID_CONTROL_MAKE_POOL,
            &words,
            &[memory, CNODE],
        );
        if answer.label != 0 {
            refused!(answer, DeleteFirst);
            break;
        }
        made += 1;
    }
    equal!(made, 7);
    Ok(())
}

pub(crate) fn a_deleted_pool_takes_its_spaces_numbers(t: &mut Kit) -> Check {
    let (memory, slot) = (t.make(object::UNTYPED, 12)?, t.slot());
    let control = sel4::init_thread::slot::ASID_CONTROL.cptr_bits();
    let words = [slot, 64];
    done!(invoke(
        control,
        label::X86_ASID_CONTROL_MAKE_POOL,
        &words,
        &[memory, CNODE]
    ));
    let space = t.make(object::X64_PML4, 0)?;
    done!(invoke(slot, label::X86_ASID_POOL_ASSIGN, &[], &[space]));
    delete(slot)?;
    let table = t.make(object::X86_PDPT, 0)?;
    let answer = invoke(table, label::X86_PDPT_MAP, &[0, 0], &[space]);
    refused!(answer, FailedLookup, 0, 1);
    ensure!(kind(space) == 9);
    Ok(())
}

/// Whether a thread of its own faults when it reads there.
fn faults(t: &mut Kit, address: u64) -> Check<bool> {
    let (ep, object) = (t.ep()?, t.reply()?);
    let badged = t.mint(ep, 15, 1)?;
    let thread = t.active(super::kit::HIGH, [address, 0, 0, 0, 0, 0], |args| {
        let _ = read(args[0]);
    })?;
    t.set_handler(thread, badged)?;
    t.resume(thread)?;
    Ok(endpoint(ep).nb_recv_with_mrs(reply(object)).badge == 1)
}

pub(crate) fn a_deleted_capability_takes_its_own_mapping(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    let copy = t.copy(frame, 15)?;
    done!(map(frame, VSPACE, FREE, 3));
    done!(map(copy, VSPACE, FREE + 4096, 3));
    ensure!(!faults(t, FREE + 4096)?);
    delete(copy)?;
    ensure!(faults(t, FREE + 4096)?);
    ensure!(!faults(t, FREE)?);
    Ok(())
}

pub(crate) fn a_frame_capability_without_read_maps_nothing_for_the_user(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    for rights in [0, 1] {
        let weak = t.copy(frame, rights)?;
        done!(map(weak, VSPACE, FREE, 3));
        ensure!(faults(t, FREE)?);
        delete(weak)?;
    }
    Ok(())
}

pub(crate) fn every_caching_attribute_can_be_mapped(t: &mut Kit) -> Check {
    let frame = t.make(object::X86_4K, 0)?;
    for attributes in 0..8 {
        let words = [FREE, 3, attributes];
        done!(invoke(frame, label::X86_PAGE_MAP, &words, &[VSPACE]));
        write(FREE, attributes);
        equal!(read(FREE), attributes);
    }
    Ok(())
}

pub(crate) fn a_huge_frame_is_mapped_and_not_over_a_directory(t: &mut Kit) -> Check {
    const GIB: u64 = 1 << 30;
    let huge = t.slot();
    done!(super::kit::retype(t.device, object::X64_HUGE_PAGE, 0, huge));
    let address = done!(invoke(huge, label::X86_PAGE_GET_ADDRESS, &[], &[])).words[0];
    equal!(address % GIB, 0);
    refused!(map(huge, VSPACE, BUFFERS, 3), DeleteFirst);
    let place = BUFFERS + GIB;
    refused!(map(huge, VSPACE, place + (2 << 20), 3), AlignmentError);
    refused!(map(huge, VSPACE, TOP & !(GIB - 1), 3), InvalidArgument, 0);
    done!(map(huge, VSPACE, place, 3));
    // Nothing of a lower level fits there.
    let small = t.make(object::X86_4K, 0)?;
    refused!(map(small, VSPACE, place, 3), FailedLookup, 0, 2, 30);
    done!(unmap(huge));
    delete(huge)
}

pub(crate) fn a_huge_frame_of_ram_begins_as_zeroes_and_keeps_what_is_written(t: &mut Kit) -> Check {
    const GIB: u64 = 1 << 30;
    let (huge, place) = (t.slot(), BUFFERS + GIB);
    ensure!(t.huge.is_some());
    let ram = t.huge.unwrap_or_default();
    done!(super::kit::retype(ram, object::X64_HUGE_PAGE, 0, huge));
    done!(map(huge, VSPACE, place, 3));
    let places = (0..GIB).step_by(1 << 26).chain([GIB - 8]);
    for address in places.clone().map(|offset| place + offset) {
        equal!(read(address), 0);
        write(address, address);
    }
    // Mapped again in place it is the same memory.
    done!(map(huge, VSPACE, place, 3));
    for address in places.map(|offset| place + offset) {
        equal!(read(address), address);
    }
    // Where it was, frames of the lower sizes fit once their tables are there.
    done!(unmap(huge));
    let large = t.make(object::X86_LARGE_PAGE, 0)?;
    refused!(map(large, VSPACE, place, 3), FailedLookup, 0, 2, 30);
    let directory = t.make(object::X86_PAGE_DIRECTORY, 0)?;
    done!(invoke(
        directory,
        label::X86_PAGE_DIRECTORY_MAP,
        &[place, 0],
        &[VSPACE]
    ));
    done!(map(large, VSPACE, place, 3));
    equal!(read(place + (1 << 21) - 8), 0);
    delete(huge)
}

pub(crate) fn a_pool_has_512_numbers(t: &mut Kit) -> Check {
    let (memory, pool) = (t.make(object::UNTYPED, 12)?, t.slot());
    let control = sel4::init_thread::slot::ASID_CONTROL.cptr_bits();
    let make = label::X86_ASID_CONTROL_MAKE_POOL;
    done!(invoke(control, make, &[pool, 64], &[memory, CNODE]));
    let assign = |space| invoke(pool, label::X86_ASID_POOL_ASSIGN, &[], &[space]);
    for _ in 0..512 {
        let space = t.make(object::X64_PML4, 0)?;
        done!(assign(space));
    }
    let last = t.make(object::X64_PML4, 0)?;
    refused!(assign(last), DeleteFirst);
    // A number is free again with its space.
    delete(last - 1)?;
    done!(assign(last));
    Ok(())
}
