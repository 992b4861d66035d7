//! The board's devices together, as a guest programs them.

use super::*;

const MHZ: u32 = 1000;
const MILLISECOND: u64 = 1_000_000;
const APIC: u64 = 0xfee0_0000;
const IO: u64 = 0xfec0_0000;
const HPET: u64 = 0xfed0_0000;

fn plain() -> Board {
    Board::new(MHZ, 64 << 20, 0)
}

impl Board {
    fn out(&mut self, port: u16, value: u8, now: u64) {
        self.write(port, 1, value.into(), now);
    }

    fn apic(&mut self, offset: u64, value: u64) {
        assert!(self.write_memory(APIC + offset, 4, value, 0));
    }

    fn redirect(&mut self, pin: u64, low: u64) {
        for (register, value) in [(0x11 + 2 * pin, 0), (0x10 + 2 * pin, low)] {
            self.write_memory(IO, 4, register, 0);
            self.write_memory(IO + 0x10, 4, value, 0);
        }
    }

    fn take(&mut self) -> Option<u8> {
        match self.waiting(|| 0) {
            Waiting::External | Waiting::Ready(_) => Some(self.acknowledge()),
            Waiting::Nothing | Waiting::Held(_) => None,
        }
    }
}

/// A board whose interval timer waits for a count.
fn without_ticks() -> Board {
    let mut board = plain();
    board.out(0x43, 0x34, 0);
    assert!(board.take_timer_written());
    board
}

/// A board whose PICs stand at vectors 0x30 and 0x38 with every input open.
fn with_pics() -> Board {
    let mut board = without_ticks();
    for (command, base, cascade) in [(0x20, 0x30, 4), (0xa0, 0x38, 2)] {
        board.out(command, 0x11, 0);
        for value in [base, cascade, 1, 0] {
            board.out(command + 1, value, 0);
        }
    }
    board
}

/// A board with masked PICs, as a kernel that uses the APICs leaves them.
fn with_apics() -> Board {
    let mut board = without_ticks();
    board.out(0x21, 0xff, 0);
    board.out(0xa1, 0xff, 0);
    board
}

/// Channel 0 in mode 2 with 1193 ticks: a millisecond.
fn start_timer(board: &mut Board, now: u64) {
    for (port, value) in [(0x43, 0x34), (0x40, 0xa9), (0x40, 0x04)] {
        board.out(port, value, now);
    }
}

mod pics {
    use super::*;

    #[test]
    fn nothing_but_the_timer_interrupts_before_the_guest_opens_a_line() {
        let mut board = without_ticks();
        board.set_lines(!0);
        board.advance(1000 * MILLISECOND);
        assert!(!board.waits());
    }

    #[test]
    fn firmware_leaves_the_timer_ticking_at_its_vector() {
        let mut board = plain();
        assert!(board.take_timer_written());
        let deadline = board.next_event(0).unwrap();
        assert!(deadline.abs_diff(54_925_000) < 10_000, "{deadline}");
        board.advance(deadline - 2000);
        assert!(!board.waits());
        board.advance(deadline);
        assert_eq!(board.take(), Some(8));
        board.out(0x20, 0x20, deadline);
        assert_eq!(board.take(), None);
        assert!(
            board
                .next_event(deadline)
                .is_some_and(|next| next.abs_diff(2 * deadline) < 2000)
        );
    }

    #[test]
    fn the_timer_interrupts_when_its_deadline_comes() {
        let mut board = with_pics();
        start_timer(&mut board, 0);
        let deadline = board.next_event(0).unwrap();
        assert!(deadline.abs_diff(MILLISECOND) < 2000, "{deadline}");
        board.advance(deadline - 2000);
        assert!(!board.waits());
        board.advance(deadline);
        assert_eq!(board.take(), Some(0x30));
        assert!(board.next_event(deadline).unwrap() > deadline);
    }

    #[test]
    fn ticks_nobody_watched_are_one_interrupt() {
        let mut board = with_pics();
        start_timer(&mut board, 0);
        let now = 100 * MILLISECOND + 500_000;
        board.advance(now);
        assert_eq!(board.take(), Some(0x30));
        board.out(0x20, 0x20, now);
        assert!(board.take_interrupt_ended());
        assert_eq!(board.take(), None);
    }

    #[test]
    fn device_lines_reach_both_controllers_and_no_line_is_the_timers() {
        let mut board = with_pics();
        board.set_lines(1 << 4 | 1 << 8 | 1 << 0 | 1 << 2);
        assert_eq!(board.take(), Some(0x38));
        board.out(0xa0, 0x20, 0);
        board.out(0x20, 0x20, 0);
        assert_eq!(board.take(), Some(0x34));
        board.out(0x20, 0x20, 0);
        assert_eq!(board.take(), None);
    }

    #[test]
    fn their_interrupts_pass_by_virtual_wire_or_with_the_local_apic_off_and_not_else() {
        let mut board = with_pics();
        board.set_lines(1 << 4);
        assert_eq!(board.waiting(|| 15), Waiting::External);
        // LINT0 masked: the wire is cut.
        board.apic(0x350, 1 << 16);
        assert_eq!(board.waiting(|| 0), Waiting::Nothing);
        board.write_apic_base(0xfee0_0000, 40).unwrap();
        assert!(!board.has_local_apic());
        assert_eq!(board.waiting(|| 15), Waiting::External);
        assert_eq!(board.acknowledge(), 0x34);
    }
}

mod apics {
    use super::*;

    #[test]
    fn a_pin_of_the_ioapic_interrupts_by_its_entry() {
        let mut board = with_apics();
        board.redirect(4, 0x71);
        board.set_lines(1 << 4);
        assert_eq!(board.waiting(|| 0), Waiting::Ready(7));
        assert_eq!(board.take(), Some(0x71));
        assert_eq!(board.take(), None);
        board.apic(0xb0, 0);
        assert!(board.take_interrupt_ended());
        assert_eq!(board.take(), None);
    }

    #[test]
    fn a_level_that_stays_interrupts_again_after_its_end() {
        let mut board = with_apics();
        board.redirect(9, 0x8071);
        board.out(0x2009, 1, 0);
        assert_eq!(board.take(), Some(0x71));
        board.apic(0xb0, 0);
        assert_eq!(board.take(), Some(0x71));
        board.out(0x2009, 0, 0);
        board.apic(0xb0, 0);
        assert_eq!(board.take(), None);
    }

    #[test]
    fn the_interval_timer_leads_to_pin_2() {
        let mut board = with_apics();
        board.redirect(2, 0x40);
        start_timer(&mut board, 0);
        let deadline = board.next_event(0).unwrap();
        board.advance(deadline);
        assert_eq!(board.take(), Some(0x40));
        assert_eq!(board.take(), None);
    }

    #[test]
    fn the_task_priority_holds_back_its_class_and_those_below() {
        let mut board = with_apics();
        board.redirect(4, 0x71);
        board.set_lines(1 << 4);
        assert_eq!(board.waiting(|| 7), Waiting::Held(7));
        assert!(board.waits());
        assert_eq!(board.waiting(|| 6), Waiting::Ready(7));
        // By its register, too.
        board.apic(0x80, 0x90);
        assert_eq!(board.task_priority(), 9);
        assert_eq!(board.read_memory(APIC + 0xa0, 4, 0), Some(0x90));
    }

    #[test]
    fn the_local_timer_has_a_deadline_in_nanoseconds() {
        let mut board = with_apics();
        board.apic(0x320, 0x20);
        board.apic(0x3e0, 0xb);
        assert!(board.take_timer_written());
        board.apic(0x380, 1_000_000);
        assert!(board.take_timer_written());
        assert_eq!(board.next_event(0), Some(MILLISECOND));
        board.advance(MILLISECOND - 1);
        assert_eq!(board.take(), None);
        board.advance(MILLISECOND);
        assert_eq!(board.take(), Some(0x20));
        assert_eq!(board.next_event(MILLISECOND), None);
        // Its end is the end of a tick, and no timer's business.
        board.apic(0xb0, 0);
        assert!(board.take_interrupt_ended() && !board.take_timer_written());
    }

    #[test]
    fn the_pics_output_falls_with_their_acknowledge_and_rises_for_the_next_request() {
        let mut board = with_apics();
        // Automatic end of interrupt; line 5 is the IOAPIC's, which passes it on as an external interrupt.
        for (port, value) in [
            (0x20, 0x11),
            (0x21, 0x30),
            (0x21, 4),
            (0x21, 3),
            (0x21, 0x20),
        ] {
            board.out(port, value, 0);
        }
        board.redirect(5, 7 << 8);
        // LINT0: fixed, by edges.
        board.apic(0x350, 0x71);
        board.set_lines(1 << 3 | 1 << 4);
        assert_eq!(board.take(), Some(0x71));
        board.set_lines(1 << 3 | 1 << 4 | 1 << 5);
        assert_eq!(board.take(), Some(0x33));
        board.apic(0xb0, 0);
        assert_eq!(board.take(), Some(0x71));
    }

    #[test]
    fn a_message_to_oneself_can_be_an_nmi_or_an_init() {
        let mut board = with_apics();
        board.apic(0x300, 0x4400);
        assert!(board.nmi_waits());
        board.take_nmi();
        assert!(!board.nmi_waits());
        assert_eq!(board.ending(), None);
        board.apic(0x300, 0x4500);
        assert_eq!(board.ending(), Some(Ending::Reset));
    }

    #[test]
    fn the_local_apic_moves_and_hides_what_is_there() {
        let mut board = with_apics();
        let version = board.read_memory(APIC + 0x30, 4, 0);
        assert!(version.is_some());
        board.write_apic_base(0xfed0_0900, 40).unwrap();
        assert_eq!(board.read_memory(APIC + 0x30, 4, 0), None);
        assert_eq!(board.read_memory(HPET + 0x30, 4, 0), version);
        board.write_apic_base(0xfed0_0000, 40).unwrap();
        assert_ne!(board.read_memory(HPET, 4, 0), None);
        assert!(!board.write_memory(APIC, 4, 0, 0));
        assert_eq!(board.apic_base(), 0xfed0_0100);
        for wrong in [1, 1 << 10, 1 << 40] {
            assert!(board.write_apic_base(wrong, 40).is_err());
        }
    }
}

mod others {
    use super::*;

    #[test]
    fn a_guest_that_reads_the_status_does_not_make_the_interrupt_of_power_management_vanish() {
        const PERIOD: u64 = 3_000 * MILLISECOND;
        let mut board = with_pics();
        board.write(0x602, 2, 1, 0);
        assert!(board.next_event(0).is_some_and(|at| at < PERIOD));
        assert_eq!(board.read(0x600, 2, PERIOD), 1);
        assert_eq!(board.next_event(PERIOD), Some(PERIOD));
        board.advance(PERIOD);
        assert_eq!(board.take(), Some(0x39));
        assert_eq!(board.next_event(PERIOD), None);
    }

    /// Timer 0 of the HPET, periodic, once a millisecond.
    fn start_hpet(board: &mut Board, configuration: u64) {
        for (offset, value) in [
            (0x100, 1 << 2 | 1 << 3 | 1 << 6),
            (0x108, 100_000),
            (0x108, 100_000),
            (0x10, configuration),
        ] {
            board.write_memory(HPET + offset, 8, value, 0);
        }
    }

    #[test]
    fn the_hpet_takes_the_interval_timers_line_in_legacy_replacement() {
        let mut board = with_pics();
        start_timer(&mut board, 0);
        start_hpet(&mut board, 3);
        assert_eq!(board.next_event(0), Some(MILLISECOND));
        board.advance(MILLISECOND);
        assert_eq!(board.take(), Some(0x30));
        board.out(0x20, 0x20, MILLISECOND);
        // The interval timer's own tick a little later is nobody's.
        board.advance(MILLISECOND + 10_000);
        assert_eq!(board.take(), None);
        board.advance(2 * MILLISECOND);
        assert_eq!(board.take(), Some(0x30));
    }

    #[test]
    fn the_clock_has_no_line_in_legacy_replacement() {
        let mut board = with_pics();
        // The interval timer's output is high from the start.
        board.out(0x21, 1, 0);
        start_hpet(&mut board, 2);
        board.set_lines(1 << 8);
        assert_eq!(board.take(), None);
        board.write_memory(HPET + 0x10, 8, 0, 0);
        assert_eq!(board.take(), Some(0x38));
    }

    #[test]
    fn the_pm_timer_runs_and_asks_by_the_system_control_interrupt() {
        let mut board = with_pics();
        assert_eq!(board.read(0x608, 4, 0), 0);
        assert_eq!(board.read(0x608, 4, 1_000_000_000), 3_579_545);
        board.write(0x602, 2, 1, 0);
        let at = board.next_event(0).unwrap();
        board.advance(at);
        assert_eq!(board.take(), Some(0x39));
    }

    #[test]
    fn switching_off_and_resetting_end_the_machine() {
        let mut board = plain();
        board.write(0x604, 2, 0x2000, 0);
        assert_eq!(board.ending(), Some(Ending::Off));
        let mut board = plain();
        board.write(0x604, 2, 0x2400, 0);
        assert_eq!(board.ending(), None, "another sleep state");
        board.out(0xcf9, 0x06, 0);
        assert_eq!(board.ending(), Some(Ending::Reset));
    }

    #[test]
    fn the_firmware_configuration_tells_memory_and_processors() {
        let mut board = Board::new(MHZ, 5 << 30, 0);
        let mut item = |key: u32| {
            board.write(0x510, 2, key, 0);
            (0..8).fold(0, |value, byte| {
                value | u64::from(board.read(0x511, 1, 0)) << (8 * byte)
            })
        };
        assert_eq!(item(3), 5 << 30);
        assert_eq!(item(5), 1);
        assert_eq!(item(0), u64::from(u32::from_le_bytes(*b"QEMU")));
    }

    #[test]
    fn the_bus_has_a_bridge_and_nobody_else() {
        let mut board = plain();
        board.write(0xcf8, 4, 0x8000_0000, 0);
        assert_eq!(board.read(0xcf8, 4, 0), 0x8000_0000);
        assert_eq!(board.read(0xcfc, 2, 0), 0x8086);
        assert_eq!(board.read(0xcfe, 2, 0), 0x1237);
        board.write(0xcf8, 4, 0x8000_0800, 0);
        assert_eq!(board.read(0xcfc, 4, 0), 0xffff_ffff);
    }

    #[test]
    fn the_test_device_keeps_a_value_and_drives_lines() {
        let mut board = with_apics();
        board.write(0xe0, 4, 0x1234_5678, 0);
        assert_eq!(board.read(0xe1, 2, 0), 0x3456);
        board.write(0xe4, 4, 0x1000, 0);
        board.redirect(14, 0x77);
        board.out(0x200e, 1, 0);
        board.out(0x200e, 0, 0);
        assert_eq!(board.take(), Some(0x77));
        assert_eq!(board.take(), None);
    }

    #[test]
    fn ports_and_addresses_of_others_are_not_the_boards() {
        for port in [0x60, 0x64, 0x70, 0x92, 0x3f8, 0xf4, 0x5e0, 0x60c, 0x2018] {
            assert!(!Board::has(port), "{port:#x}");
        }
        let mut board = plain();
        assert_eq!(board.read(0x3f8, 2, 0), 0xffff);
        assert_eq!(board.read_memory(0xfec0_1000, 4, 0), None);
    }
}

proptest::proptest! {
    #[test]
    fn no_sequence_of_accesses_panics_or_deadlines_in_the_past(
        steps in proptest::collection::vec(
            (0u8..4, proptest::prelude::any::<u16>(), 0u32..4, proptest::prelude::any::<u64>(), 0u64..1 << 32),
            0..200,
        ),
    ) {
        let ports = [0x20u16, 0x40, 0x43, 0x61, 0xa1, 0xe0, 0x510, 0x511, 0x600, 0x604, 0x608, 0xcf8, 0xcfc, 0x2009];
        let (mut board, mut now) = (plain(), 0);
        for (kind, place, log_size, value, step) in steps {
            now += step;
            let size = 1u8 << log_size;
            let port = ports[usize::from(place) % ports.len()];
            let gpa = [APIC, IO, HPET][usize::from(place) % 3] + u64::from(place % 0xff8);
            match kind {
                0 => { board.read(port, size.min(4), now); }
                1 => board.write(port, size.min(4), value as u32, now),
                2 => { board.read_memory(gpa, size, now); }
                _ => { board.write_memory(gpa, size, value, now); }
            }
            board.advance(now);
            if let Some(at) = board.next_event(now) {
                assert!(at > now, "{at} {now}");
            }
            if board.waits() {
                board.waiting(|| value as u8 & 15);
                board.acknowledge();
            }
        }
    }
}
