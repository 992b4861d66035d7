//! The local APIC against chapter 16 of APM vol. 2.

use super::*;
use proptest::prelude::*;

const ID: u16 = 0x020;
const TPR: u16 = 0x080;
const APR: u16 = 0x090;
const PPR: u16 = 0x0a0;
const EOI: u16 = 0x0b0;
const LDR: u16 = 0x0d0;
const DFR: u16 = 0x0e0;
const SVR: u16 = 0x0f0;
const ISR: u16 = 0x100;
const TMR: u16 = 0x180;
const IRR: u16 = 0x200;
const ESR: u16 = 0x280;
const ICR: u16 = 0x300;
const ICR_HIGH: u16 = 0x310;
const LVT_TIMER: u16 = 0x320;
const LINT0: u16 = 0x350;
const LINT1: u16 = 0x360;
const LVT_ERROR: u16 = 0x370;
const INITIAL: u16 = 0x380;
const CURRENT: u16 = 0x390;
const DIVIDE: u16 = 0x3e0;

fn apic() -> LocalApic {
    LocalApic::after_firmware(0)
}

fn get(apic: &mut LocalApic, offset: u16, now: u64) -> u32 {
    apic.read(offset, 4, now) as u32
}

fn set(apic: &mut LocalApic, offset: u16, value: u32) {
    assert_eq!(apic.write(offset, 4, u64::from(value), 0), Effect::None);
}

fn end(apic: &mut LocalApic) -> Option<u8> {
    match apic.write(EOI, 4, 0, 0) {
        Effect::Ended(broadcast) => broadcast,
        other => panic!("{other:?}"),
    }
}

fn message(vector: u8, delivery: Delivery, trigger: Trigger, destination: Destination) -> Message {
    Message {
        vector,
        delivery,
        trigger,
        destination,
    }
}

fn edge(apic: &mut LocalApic, vector: u8) -> bool {
    let to_it = Destination::Physical(0);
    apic.receive(message(vector, Delivery::Fixed, Trigger::Edge, to_it))
}

fn level(apic: &mut LocalApic, vector: u8) -> bool {
    let to_it = Destination::Physical(0);
    apic.receive(message(vector, Delivery::Fixed, Trigger::Level, to_it))
}

fn bit(apic: &mut LocalApic, base: u16, vector: u8) -> bool {
    let register = base + u16::from(vector >> 5) * 16;
    get(apic, register, 0) >> (vector & 31) & 1 != 0
}

/// Errors so far, by the write that shows them.
fn errors(apic: &mut LocalApic) -> u32 {
    set(apic, ESR, 0);
    get(apic, ESR, 0)
}

#[test]
fn registers_after_reset_are_those_of_table_16_2() {
    let mut apic = LocalApic::new(3);
    for (offset, value) in [
        (ID, 0x0300_0000),
        (0x030, 0x0005_0014),
        (TPR, 0),
        (PPR, 0),
        (LDR, 0),
        (DFR, 0xffff_ffff),
        (SVR, 0xff),
        (ISR, 0),
        (TMR, 0),
        (IRR, 0),
        (ESR, 0),
        (ICR, 0),
        (ICR_HIGH, 0),
        (LVT_TIMER, 0x1_0000),
        (0x330, 0x1_0000),
        (0x340, 0x1_0000),
        (LINT0, 0x1_0000),
        (LINT1, 0x1_0000),
        (LVT_ERROR, 0x1_0000),
        (INITIAL, 0),
        (CURRENT, 0),
        (DIVIDE, 0),
    ] {
        assert_eq!(get(&mut apic, offset, 0), value, "{offset:#x}");
    }
    assert_eq!(errors(&mut apic), 0);
    assert_eq!(apic.read_base(), 0xfee0_0900);
}

#[test]
fn written_registers_keep_the_bits_they_have() {
    let mut apic = apic();
    for (offset, value) in [
        (ID, 0xff00_0000),
        (0x030, 0x0005_0014),
        (TPR, 0xff),
        (LDR, 0xff00_0000),
        (DFR, 0xffff_ffff),
        (SVR, 0x3ff),
        (ICR_HIGH, 0xff00_0000),
        (LVT_TIMER, 0x3_00ff),
        (0x330, 0x1_07ff),
        (0x340, 0x1_07ff),
        (LINT0, 0x1_87ff),
        (LINT1, 0x1_87ff),
        (LVT_ERROR, 0x1_07ff),
        (INITIAL, 0xffff_ffff),
        (DIVIDE, 0xb),
        (ISR, 0),
        (TMR, 0),
        (IRR, 0),
    ] {
        set(&mut apic, offset, u32::MAX);
        assert_eq!(get(&mut apic, offset, 0), value, "{offset:#x}");
    }
}

#[test]
fn registers_that_do_not_exist_are_an_error_of_16_4_6() {
    let mut apic = apic();
    for offset in (0..0x1000).step_by(16) {
        errors(&mut apic);
        get(&mut apic, offset, 0);
        let read = errors(&mut apic);
        let exists = Register::at(offset).is_some();
        assert_eq!(read, if exists { 0 } else { 1 << 7 }, "{offset:#x}");
        if !exists {
            set(&mut apic, offset, 0);
            assert_eq!(errors(&mut apic), 1 << 7);
        }
    }
}

#[test]
fn the_error_status_shows_what_was_latched_by_a_write() {
    let mut apic = apic();
    get(&mut apic, 0x040, 0);
    assert_eq!(get(&mut apic, ESR, 0), 0);
    set(&mut apic, ESR, 0);
    assert_eq!(get(&mut apic, ESR, 0), 1 << 7);
    assert_eq!(get(&mut apic, ESR, 0), 1 << 7);
    set(&mut apic, ESR, u32::MAX);
    assert_eq!(get(&mut apic, ESR, 0), 0);
}

#[test]
fn an_error_interrupts_once_until_it_is_read() {
    let mut apic = apic();
    set(&mut apic, LVT_ERROR, 0xfe);
    get(&mut apic, 0x040, 0);
    assert_eq!(apic.acknowledge(), 0xfe);
    end(&mut apic);
    get(&mut apic, 0x040, 0);
    assert_eq!(apic.pending(), None);
    errors(&mut apic);
    get(&mut apic, 0x040, 0);
    assert_eq!(apic.pending(), Some(0xfe));
}

#[test]
fn an_error_interrupt_with_an_illegal_vector_ends_in_the_status() {
    let mut apic = apic();
    set(&mut apic, LVT_ERROR, 0x0f);
    get(&mut apic, 0x040, 0);
    assert_eq!(apic.pending(), None);
    assert_eq!(errors(&mut apic), 1 << 7 | 1 << 6);
}

#[test]
fn narrow_accesses_show_bytes_and_write_nothing() {
    let mut apic = apic();
    set(&mut apic, LDR, 0xda00_0000);
    assert_eq!(apic.read(LDR + 3, 1, 0), 0xda);
    assert_eq!(apic.read(LDR + 2, 2, 0), 0xda00);
    assert_eq!(apic.read(LDR, 8, 0), 0xda00_0000);
    assert_eq!(apic.read(LDR + 4, 4, 0), 0);
    for (offset, size) in [(LDR + 3, 1), (LDR, 2), (LDR, 8), (LDR + 4, 4)] {
        assert_eq!(apic.write(offset, size, 0, 0), Effect::None);
        assert_eq!(get(&mut apic, LDR, 0), 0xda00_0000);
    }
}

#[test]
fn the_highest_vector_comes_first_and_holds_its_class_back() {
    let mut apic = apic();
    for vector in [0x31, 0x52, 0x5f, 0x61] {
        assert!(edge(&mut apic, vector));
    }
    assert_eq!(apic.acknowledge(), 0x61);
    assert_eq!(get(&mut apic, PPR, 0), 0x60);
    assert_eq!(apic.pending(), None);
    assert!(edge(&mut apic, 0x6f));
    assert_eq!(apic.pending(), None);
    assert!(edge(&mut apic, 0x70));
    assert_eq!(apic.acknowledge(), 0x70);
    assert!(bit(&mut apic, ISR, 0x70) && bit(&mut apic, ISR, 0x61));
    assert_eq!(end(&mut apic), None);
    assert_eq!(get(&mut apic, PPR, 0), 0x60);
    assert_eq!(end(&mut apic), None);
    for vector in [0x6f, 0x5f, 0x52, 0x31] {
        assert!(bit(&mut apic, IRR, vector));
        assert_eq!(apic.acknowledge(), vector);
        assert!(!bit(&mut apic, IRR, vector));
        end(&mut apic);
    }
    assert_eq!(apic.write(EOI, 4, 0, 0), Effect::None);
}

#[test]
fn a_vector_in_service_can_be_requested_once_more() {
    let mut apic = apic();
    edge(&mut apic, 0x40);
    assert_eq!(apic.acknowledge(), 0x40);
    edge(&mut apic, 0x40);
    edge(&mut apic, 0x40);
    assert_eq!(apic.pending(), None);
    end(&mut apic);
    assert_eq!(apic.acknowledge(), 0x40);
    end(&mut apic);
    assert_eq!(apic.pending(), None);
}

#[test]
fn the_task_priority_is_cr8_and_holds_its_class_back() {
    let mut apic = apic();
    edge(&mut apic, 0x5a);
    set(&mut apic, TPR, 0x53);
    assert_eq!(apic.task_priority(), 5);
    assert_eq!(get(&mut apic, PPR, 0), 0x53);
    assert_eq!((apic.pending(), apic.requested()), (None, Some(0x5a)));
    apic.set_task_priority(4);
    assert_eq!(get(&mut apic, TPR, 0), 0x40);
    assert_eq!(apic.pending(), Some(0x5a));
    assert_eq!(apic.acknowledge(), 0x5a);
    assert_eq!(get(&mut apic, PPR, 0), 0x50);
    set(&mut apic, TPR, 0x57);
    assert_eq!(get(&mut apic, PPR, 0), 0x57);
    edge(&mut apic, 0x5b);
    assert_eq!(apic.requested(), None);
}

#[test]
fn the_arbitration_priority_is_that_of_16_6_2() {
    let mut apic = apic();
    set(&mut apic, TPR, 0x47);
    assert_eq!(get(&mut apic, APR, 0), 0x47);
    edge(&mut apic, 0x45);
    assert_eq!(get(&mut apic, APR, 0), 0x47);
    edge(&mut apic, 0x62);
    assert_eq!(get(&mut apic, APR, 0), 0x60);
    assert_eq!(apic.acknowledge(), 0x62);
    assert_eq!(get(&mut apic, APR, 0), 0x60);
    set(&mut apic, TPR, 0x81);
    assert_eq!(get(&mut apic, APR, 0), 0x81);
    set(&mut apic, TPR, 0x67);
    assert_eq!(get(&mut apic, APR, 0), 0x60);
}

#[test]
fn nothing_pending_is_the_spurious_vector_and_not_in_service() {
    let mut apic = apic();
    set(&mut apic, SVR, 0x1ef);
    assert_eq!(apic.acknowledge(), 0xef);
    assert!(!bit(&mut apic, ISR, 0xef));
    edge(&mut apic, 0x40);
    set(&mut apic, TPR, 0x40);
    assert_eq!(apic.acknowledge(), 0xef);
    assert!(bit(&mut apic, IRR, 0x40));
}

#[test]
fn disabled_by_software_it_keeps_what_it_has_and_takes_only_nmis() {
    let mut apic = apic();
    edge(&mut apic, 0x40);
    set(&mut apic, SVR, 0xff);
    assert_eq!(apic.pending(), None);
    assert!(!edge(&mut apic, 0x41));
    let to_it = Destination::Physical(0);
    assert!(!apic.receive(message(0, Delivery::External, Trigger::Edge, to_it)));
    assert!(apic.receive(message(0, Delivery::Nmi, Trigger::Edge, to_it)));
    assert!(apic.take_nmi() && !apic.take_nmi());
    for offset in [LVT_TIMER, 0x330, 0x340, LINT0, LINT1, LVT_ERROR] {
        set(&mut apic, offset, 0x40);
        assert_eq!(get(&mut apic, offset, 0), 0x1_0040, "{offset:#x}");
    }
    assert!(!apic.passes_external());
    set(&mut apic, SVR, 0x1ff);
    assert_eq!(get(&mut apic, LVT_TIMER, 0), 0x1_0040);
    assert_eq!(apic.pending(), Some(0x40));
    assert!(!bit(&mut apic, IRR, 0x41));
}

#[test]
fn disabling_masks_what_is_open_and_enabling_opens_nothing() {
    let mut apic = apic();
    set(&mut apic, LVT_TIMER, 0x2_00ee);
    set(&mut apic, SVR, 0x1ff);
    assert_eq!(get(&mut apic, LVT_TIMER, 0), 0x2_00ee);
    set(&mut apic, SVR, 0xff);
    for (offset, value) in [(LVT_TIMER, 0x3_00ee), (LINT0, 0x1_8700), (LINT1, 0x1_8400)] {
        assert_eq!(get(&mut apic, offset, 0), value);
        set(&mut apic, SVR, 0x1ff);
        assert_eq!(get(&mut apic, offset, 0), value);
    }
}

#[test]
fn vectors_below_16_are_errors_of_sender_and_receiver() {
    let mut apic = apic();
    assert!(!edge(&mut apic, 15));
    assert_eq!(errors(&mut apic), 1 << 6);
    set(&mut apic, ICR, 0x0004_000f);
    assert_eq!(errors(&mut apic), 1 << 5);
    assert_eq!(apic.pending(), None);
    assert!(edge(&mut apic, 16));
    assert_eq!(apic.acknowledge(), 16);
    end(&mut apic);
    set(&mut apic, ICR, 0x0004_0010);
    assert_eq!((apic.pending(), errors(&mut apic)), (Some(16), 0));
}

#[test]
fn the_trigger_mode_follows_each_request_and_decides_about_the_broadcast() {
    let mut apic = apic();
    level(&mut apic, 0x79);
    assert!(bit(&mut apic, TMR, 0x79));
    assert_eq!(apic.acknowledge(), 0x79);
    assert_eq!(end(&mut apic), Some(0x79));
    assert!(bit(&mut apic, TMR, 0x79));
    edge(&mut apic, 0x79);
    assert!(!bit(&mut apic, TMR, 0x79));
    assert_eq!(apic.acknowledge(), 0x79);
    assert_eq!(end(&mut apic), None);
}

#[test]
fn destinations_match_by_16_6_1() {
    let mut apic = LocalApic::after_firmware(2);
    let takes = |apic: &mut LocalApic, destination| {
        apic.receive(message(0x40, Delivery::Lowest, Trigger::Edge, destination))
    };
    for (id, mine) in [(2, true), (0, false), (3, false), (0xff, true)] {
        assert_eq!(takes(&mut apic, Destination::Physical(id)), mine, "{id}");
    }
    assert!(!takes(&mut apic, Destination::Logical(0x0f)));
    assert!(takes(&mut apic, Destination::Logical(0xff)));
    set(&mut apic, LDR, 0x2400_0000);
    for (set, mine) in [(0x04, true), (0x20, true), (0x0b, false), (0xff, true)] {
        assert_eq!(takes(&mut apic, Destination::Logical(set)), mine, "{set}");
    }
    // Clusters: the same high half and a common bit of the low one.
    set(&mut apic, DFR, 0x0fff_ffff);
    for (set, mine) in [(0x24, true), (0x2c, true), (0x14, false), (0x2b, false)] {
        assert_eq!(takes(&mut apic, Destination::Logical(set)), mine, "{set}");
    }
}

#[test]
fn messages_that_are_nothing_to_it_are_taken_and_reserved_ones_refused() {
    let mut apic = apic();
    let fresh = apic.clone();
    let to_it = Destination::Physical(0);
    for delivery in [Delivery::Smi, Delivery::Init, Delivery::Startup] {
        assert!(apic.receive(message(0x40, delivery, Trigger::Edge, to_it)));
    }
    assert!(!apic.receive(message(0x40, Delivery::Reserved, Trigger::Edge, to_it)));
    assert_eq!(apic, fresh);
}

#[test]
fn a_changed_identifier_is_the_one_that_matches() {
    let mut apic = apic();
    set(&mut apic, ID, 0x0500_0000);
    assert!(!edge(&mut apic, 0x40));
    assert!(apic.receive(message(
        0x40,
        Delivery::Fixed,
        Trigger::Edge,
        Destination::Physical(5)
    )));
}

#[test]
fn commands_reach_this_processor_by_every_way_that_includes_it() {
    const FIXED: u32 = 0x0000_4041;
    const LOGICAL: u32 = 1 << 11;
    for (low, high, mine) in [
        (FIXED, 0, true),
        (FIXED, 1 << 24, false),
        (FIXED, 0xff << 24, true),
        (FIXED | LOGICAL, 1 << 24, true),
        (FIXED | LOGICAL, 2 << 24, false),
        (FIXED | 1 << 18, 7 << 24, true),
        (FIXED | 2 << 18, 7 << 24, true),
        (FIXED | 3 << 18, 0, false),
        // Lowest priority; an edge without the assert bit.
        (FIXED | 1 << 8, 0, true),
        (0x41, 0, true),
        // Taken back; reserved.
        (0x8041, 0, false),
        (FIXED | 3 << 8, 0, false),
    ] {
        let mut apic = apic();
        set(&mut apic, LDR, 1 << 24);
        set(&mut apic, ICR_HIGH, high);
        set(&mut apic, ICR, low);
        assert_eq!(apic.pending(), mine.then_some(0x41), "{low:#x} {high:#x}");
        assert_eq!(errors(&mut apic), 0);
        // The delivery status, bit 12, is idle.
        assert_eq!(get(&mut apic, ICR, 0), low);
        assert_eq!(get(&mut apic, ICR_HIGH, 0), high);
    }
}

#[test]
fn commands_other_than_interrupts_do_what_16_5_says() {
    let mut apic = apic();
    // NMI, to an identifier and to itself.
    for low in [0x4400, 0x0004_4400, 0x0400] {
        set(&mut apic, ICR, low);
        assert!(apic.nmi_pending());
        assert!(apic.take_nmi());
    }
    // INIT to itself; to all others; its level taken back; to another.
    assert_eq!(apic.write(ICR, 4, 0x4500, 0), Effect::Init);
    assert_eq!(apic.write(ICR, 4, 0x000c_4500, 0), Effect::None);
    assert_eq!(apic.write(ICR, 4, 0x8500, 0), Effect::None);
    set(&mut apic, ICR_HIGH, 1 << 24);
    assert_eq!(apic.write(ICR, 4, 0x4500, 0), Effect::None);
    // Startup and system management have no effect on a processor that runs.
    for low in [0x0004_4608, 0x0004_4200] {
        set(&mut apic, ICR, low);
    }
    assert_eq!((apic.pending(), apic.take_nmi()), (None, false));
    assert_eq!(errors(&mut apic), 0);
}

#[test]
fn the_first_pin_is_a_virtual_wire_after_firmware() {
    let mut apic = apic();
    assert!(apic.passes_external());
    set(&mut apic, LINT0, 0x1_0700);
    assert!(!apic.passes_external());
    set(&mut apic, LINT0, 0x0700);
    assert!(apic.passes_external());
    set(&mut apic, LINT0, 0x0031);
    assert!(!apic.passes_external());
    assert!(!LocalApic::new(0).passes_external());
}

#[test]
fn an_external_interrupt_by_message_passes_once() {
    let mut apic = apic();
    set(&mut apic, LINT0, 0x1_0000);
    let to_it = Destination::Physical(0);
    assert!(apic.receive(message(0, Delivery::External, Trigger::Edge, to_it)));
    assert!(apic.passes_external());
    apic.external_taken();
    assert!(!apic.passes_external());
}

#[test]
fn a_fixed_edge_on_a_pin_is_one_interrupt() {
    let mut apic = apic();
    set(&mut apic, LINT0, 0x31);
    for _ in 0..2 {
        apic.set_lint0(true);
        apic.set_lint0(true);
        assert_eq!(apic.acknowledge(), 0x31);
        assert_eq!(end(&mut apic), None);
        assert_eq!(apic.pending(), None);
        apic.set_lint0(false);
    }
    // An edge while masked is lost.
    set(&mut apic, LINT0, 0x1_0031);
    apic.set_lint0(true);
    set(&mut apic, LINT0, 0x31);
    assert_eq!(apic.pending(), None);
}

#[test]
fn the_end_of_a_level_is_no_edge_of_a_pin_with_its_vector() {
    let mut apic = apic();
    set(&mut apic, LINT0, 0x31);
    apic.set_lint0(true);
    apic.acknowledge();
    end(&mut apic);
    level(&mut apic, 0x31);
    apic.acknowledge();
    assert_eq!(end(&mut apic), Some(0x31));
    assert_eq!(apic.pending(), None);
}

#[test]
fn a_fixed_level_on_a_pin_comes_again_while_it_stays() {
    let mut apic = apic();
    set(&mut apic, LINT1, 0x8032);
    apic.set_lint1(true);
    assert_eq!(get(&mut apic, LINT1, 0), 0xc032);
    // Written again, the entry keeps its status and asks for nothing more.
    assert_eq!(apic.acknowledge(), 0x32);
    set(&mut apic, LINT1, 0x8032);
    assert_eq!(get(&mut apic, LINT1, 0), 0xc032);
    assert!(!bit(&mut apic, IRR, 0x32));
    assert_eq!(end(&mut apic), Some(0x32));
    for _ in 0..3 {
        assert_eq!(apic.acknowledge(), 0x32);
        assert_eq!(apic.pending(), None);
        assert_eq!(end(&mut apic), Some(0x32));
    }
    assert_eq!(apic.acknowledge(), 0x32);
    apic.set_lint1(false);
    end(&mut apic);
    assert_eq!(apic.pending(), None);
    assert_eq!(get(&mut apic, LINT1, 0), 0x8032);
    // A level that came while masked is there when the mask goes.
    set(&mut apic, LINT1, 0x1_8032);
    apic.set_lint1(true);
    assert_eq!(apic.pending(), None);
    set(&mut apic, LINT1, 0x8032);
    assert_eq!(apic.pending(), Some(0x32));
}

#[test]
fn the_second_pin_is_the_nmi_after_firmware() {
    let mut apic = apic();
    apic.set_lint1(true);
    assert!(apic.take_nmi());
    apic.set_lint1(true);
    assert!(!apic.take_nmi());
    apic.set_lint1(false);
    set(&mut apic, LINT1, 0x1_0400);
    apic.set_lint1(true);
    assert!(!apic.take_nmi());
}

#[test]
fn a_one_shot_count_interrupts_once_when_it_is_zero() {
    let mut apic = apic();
    set(&mut apic, DIVIDE, 0xb);
    set(&mut apic, LVT_TIMER, 0xee);
    assert_eq!(apic.write(INITIAL, 4, 1000, 500), Effect::None);
    assert_eq!(apic.next_event(), Some(1500));
    assert_eq!(get(&mut apic, CURRENT, 501), 999);
    assert_eq!(get(&mut apic, CURRENT, 1499), 1);
    assert_eq!(apic.pending(), None);
    assert_eq!(get(&mut apic, CURRENT, 1500), 0);
    assert_eq!(apic.acknowledge(), 0xee);
    end(&mut apic);
    apic.advance(1_000_000);
    assert_eq!((apic.pending(), apic.next_event()), (None, None));
    assert_eq!(get(&mut apic, INITIAL, 1_000_000), 1000);
}

#[test]
fn a_periodic_count_starts_again_and_missed_periods_are_one_interrupt() {
    let mut apic = apic();
    set(&mut apic, DIVIDE, 0xb);
    set(&mut apic, LVT_TIMER, 0x2_00ee);
    set(&mut apic, INITIAL, 1000);
    apic.advance(1000);
    assert_eq!(apic.acknowledge(), 0xee);
    end(&mut apic);
    assert_eq!(apic.next_event(), Some(2000));
    apic.advance(1_000_000_000_300);
    assert_eq!(get(&mut apic, CURRENT, 1_000_000_000_300), 700);
    assert_eq!(apic.next_event(), Some(1_000_000_001_000));
    assert_eq!(apic.acknowledge(), 0xee);
    end(&mut apic);
    assert_eq!(apic.pending(), None);
}

#[test]
fn a_changed_mode_goes_on_with_the_count_there_is() {
    const PERIODIC: u64 = 0x2_00ee;
    const ONE_SHOT: u64 = 0x00ee;
    let mut apic = apic();
    let mode = |apic: &mut LocalApic, value, now| {
        assert_eq!(apic.write(LVT_TIMER, 4, value, now), Effect::None);
    };
    set(&mut apic, DIVIDE, 0xb);
    set(&mut apic, INITIAL, 1000);
    mode(&mut apic, PERIODIC, 600);
    assert_eq!(get(&mut apic, CURRENT, 600), 400);
    assert_eq!(get(&mut apic, CURRENT, 1100), 900);
    mode(&mut apic, ONE_SHOT, 1600);
    assert_eq!(get(&mut apic, CURRENT, 1600), 400);
    assert_eq!(get(&mut apic, CURRENT, 2000), 0);
    assert_eq!(get(&mut apic, CURRENT, 2500), 0);
    // A count that has ended does not begin again.
    mode(&mut apic, PERIODIC, 3000);
    assert_eq!(get(&mut apic, CURRENT, 3500), 0);
    assert_eq!(get(&mut apic, INITIAL, 3500), 1000);
}

#[test]
fn a_masked_timer_counts_and_its_expiry_is_lost() {
    let mut apic = apic();
    set(&mut apic, LVT_TIMER, 0x1_00ee);
    set(&mut apic, INITIAL, 10);
    assert_eq!(apic.next_event(), None);
    assert_eq!(apic.write(LVT_TIMER, 4, 0xee, 1000), Effect::None);
    assert_eq!(apic.pending(), None);
}

#[test]
fn an_initial_count_of_zero_stops_the_timer() {
    let mut apic = apic();
    set(&mut apic, LVT_TIMER, 0xee);
    set(&mut apic, INITIAL, 10);
    set(&mut apic, INITIAL, 0);
    assert_eq!(apic.next_event(), None);
    apic.advance(1000);
    assert_eq!(apic.pending(), None);
}

#[test]
fn the_base_register_refuses_reserved_bits_and_moves_the_page() {
    let mut apic = apic();
    assert_eq!(apic.address(), Some(0xfee0_0000));
    for bad in [1, 1 << 9, 1 << 10, 1 << 40, 1 << 63] {
        assert_eq!(apic.write_base(0xfee0_0900 | bad, 40), Err(ReservedBits));
        assert_eq!(apic.read_base(), 0xfee0_0900);
    }
    assert_eq!(apic.write_base(0xff_fed4_0800, 40), Ok(()));
    assert_eq!(apic.address(), Some(0xff_fed4_0000));
    assert_eq!(apic.read_base(), 0xff_fed4_0900);
    assert_eq!(get(&mut apic, SVR, 0), 0x1ff);
    assert_eq!(apic.write_base(1 << 63 | 0xfee0_0800, 64), Ok(()));
}

#[test]
fn switched_off_it_is_gone_and_comes_back_as_after_reset_but_for_cr8() {
    let mut apic = apic();
    set(&mut apic, ID, 0x0700_0000);
    set(&mut apic, LVT_TIMER, 0xee);
    set(&mut apic, INITIAL, 10);
    edge(&mut apic, 0x40);
    assert_eq!(apic.write_base(0xfee0_0000, 40), Ok(()));
    assert_eq!((apic.address(), apic.enabled()), (None, false));
    assert!(apic.passes_external());
    assert!(!edge(&mut apic, 0x41));
    apic.set_lint1(true);
    assert!(apic.take_nmi());
    apic.set_lint1(false);
    apic.set_task_priority(7);
    assert_eq!((apic.pending(), apic.next_event()), (None, None));
    assert_eq!(apic.write_base(0xfee0_0800, 40), Ok(()));
    let mut fresh = LocalApic::new(0);
    fresh.set_task_priority(7);
    assert_eq!(apic, fresh);
}

proptest! {
    #[test]
    fn any_accesses_keep_the_promises(
        steps in proptest::collection::vec(
            (0u8..8, 0u16..0x400, prop_oneof![any::<u32>(), 0u32..0x200, 0xc000u32..0xd000], 0u64..1 << 34), 0..300),
    ) {
        let (mut apic, mut now) = (apic(), 0);
        for (what, offset, value, step) in steps {
            now += step >> (value & 31);
            match what {
                0 => { apic.read(offset, 1 << (value & 3), now); }
                1..=3 => { let _ = apic.write(offset & 0xff0, 4, u64::from(value), now); }
                4 => { let _ = edge(&mut apic, value as u8); }
                5 => { let _ = level(&mut apic, value as u8); }
                6 => { apic.set_lint0(value & 1 != 0); apic.set_lint1(value & 2 != 0); }
                _ => { apic.acknowledge(); }
            }
            apic.advance(now);
            // What is pending is above both priorities, and what is requested only needs a lower CR8.
            if let Some(vector) = apic.pending() {
                prop_assert!(vector >> 4 > apic.task_priority());
                prop_assert_eq!(apic.requested(), Some(vector));
                let mut copy = apic.clone();
                prop_assert_eq!(copy.acknowledge(), vector);
                prop_assert_eq!(copy.processor_priority() >> 4, vector >> 4);
            } else if let Some(vector) = apic.requested() {
                prop_assert!(vector >> 4 <= apic.task_priority());
                let mut copy = apic.clone();
                copy.set_task_priority(0);
                prop_assert_eq!(copy.pending(), Some(vector));
            }
            if let Some(next) = apic.next_event() {
                prop_assert!(next > now);
            }
        }
    }
}
