//! What the first thread is given: registers, capabilities, boot information for machines of different kinds.

use super::fake::{FakeMachine, MHZ};
use super::world::{SYSCALL_AT, World};
use crate::mem;
use core::mem::offset_of;
use sel4_abi::boot_info::{BootInfo, RSDP_BYTES, extra, slot as fixed};

/// The extra pieces: identifier and content.
fn pieces(w: &World) -> Vec<(u64, Vec<u8>)> {
    let base = w.frame(fixed::BOOT_INFO_FRAME);
    let length = w.boot_info(offset_of!(BootInfo, extra_len));
    let mut rest = mem::bytes(base + 4096, length);
    let mut all = Vec::new();
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
    while !rest.is_empty() {
        let (id, size) = (word(rest), word(&rest[8..]) as usize);
        all.push((id, rest[16..size].to_vec()));
        rest = &rest[size..];
    }
    all
}

#[test]
fn the_first_thread_begins_with_the_boot_information_in_rdi_and_zeros_elsewhere() {
    let w = World::new();
    let context = &w.current().context;
    let buffer = w.boot_info(offset_of!(BootInfo, ipc_buffer));
    assert_eq!(context.rdi.get(), buffer + 4096);
    assert_eq!(context.rip.get(), SYSCALL_AT + 2);
    for register in [
        &context.rsp,
        &context.rax,
        &context.rbx,
        &context.rcx,
        &context.rdx,
        &context.rsi,
        &context.rbp,
        &context.r8,
        &context.r15,
        &context.fs_base,
        &context.gs_base,
    ] {
        assert_eq!(register.get(), 0);
    }
    let tcb = w.current();
    assert_eq!((tcb.priority.get(), tcb.mcp.get()), (255, 255));
    let context = tcb.sc.get().expect("a context");
    assert!(context.is_round_robin());
    assert_eq!((context.total(), context.max.get()), (5000 * MHZ, 2));
    w.check();
}

#[test]
fn the_extra_pieces_are_the_machines() {
    let w = World::new();
    let all = pieces(&w);
    let ids: Vec<u64> = all.iter().map(|(id, _)| *id).collect();
    assert_eq!(
        ids,
        [
            extra::X86_ACPI_RSDP,
            extra::X86_MBMMAP,
            extra::X86_TSC_FREQ,
            extra::COMMAND_LINE
        ]
    );
    assert_eq!(all[0].1, [7; RSDP_BYTES as usize]);
    assert_eq!(all[1].1.len(), 4 + 50 * 24);
    assert_eq!(all[1].1[..4], 48u32.to_le_bytes(), "two entries");
    assert_eq!(all[2].1, (MHZ as u32).to_le_bytes());
    assert_eq!(all[3].1, b"kernel verbose");
}

#[test]
fn a_short_root_pointer_is_followed_by_zeros_and_none_has_no_piece() {
    let w = World::booted(FakeMachine::new(), Some(&[7; 20]), 2);
    let all = pieces(&w);
    assert_eq!(all[0].1[..20], [7; 20]);
    assert_eq!(all[0].1[20..], [0; 16]);
    drop(w);
    let w = World::booted(FakeMachine::new(), None, 2);
    assert_eq!(pieces(&w)[0].0, extra::X86_MBMMAP);
    w.check();
}

#[test]
fn a_memory_map_of_more_entries_than_fit_is_cut() {
    let w = World::booted(FakeMachine::new(), None, 60);
    let map = &pieces(&w)[0].1;
    assert_eq!(map.len(), 4 + 50 * 24);
    assert_eq!(map[..4], (50 * 24u32).to_le_bytes());
    assert!(map[4..].chunks_exact(24).all(|entry| entry[0] == 20));
    w.check();
}
