//! The HPET against its specification, 1.0a.

use super::*;
use proptest::prelude::*;

const CONFIGURATION: u16 = 0x10;
const STATUS: u16 = 0x20;
const COUNTER: u16 = 0xf0;
const ONCE: u64 = 1 << 2;
const LEVEL: u64 = 1 << 1;
const PERIODIC: u64 = 1 << 3;
const SET_VALUE: u64 = 1 << 6;
const NARROW: u64 = 1 << 8;

const fn timer(index: u16) -> u16 {
    0x100 + 0x20 * index
}

const fn comparator(index: u16) -> u16 {
    timer(index) + 8
}

const fn route(pin: u64) -> u64 {
    pin << 9
}

fn on() -> Hpet {
    let mut hpet = Hpet::new();
    hpet.write(CONFIGURATION, 8, ENABLE, 0);
    hpet
}

fn pulses(hpet: &mut Hpet, now: u64) -> u32 {
    hpet.outputs(now).pulses
}

#[test]
fn the_capabilities_of_2_3_4_are_100_mhz_three_timers_and_legacy_routing() {
    let mut hpet = Hpet::new();
    assert_eq!(hpet.read(0, 8, 0), 0x0098_9680_8086_a201);
    assert_eq!(hpet.read(4, 4, 0), 10_000_000);
    assert_eq!(hpet.read(0, 4, 0), 0x8086_a201);
    hpet.write(0, 8, 0, 0);
    assert_eq!(hpet.read(0, 8, 0), CAPABILITIES);
}

#[test]
fn the_counter_stands_until_it_is_enabled_and_can_be_set_meanwhile() {
    let mut hpet = Hpet::new();
    assert_eq!(hpet.read(COUNTER, 8, 1000), 0);
    hpet.write(COUNTER, 8, 0xffff_fff0, 1000);
    hpet.write(CONFIGURATION, 4, ENABLE, 2000);
    assert_eq!(hpet.read(COUNTER, 8, 2020), 0x1_0000_0004);
    assert_eq!(hpet.read(COUNTER, 4, 2020), 4);
    assert_eq!(hpet.read(COUNTER + 4, 4, 2020), 1);
    hpet.write(CONFIGURATION, 4, 0, 2030);
    assert_eq!(hpet.read(COUNTER, 8, 5000), 0x1_0000_000e);
    hpet.write(COUNTER + 4, 4, 7, 5000);
    assert_eq!(hpet.read(COUNTER, 8, 5000), 0x7_0000_000e);
}

#[test]
fn a_timer_configuration_shows_what_2_3_8_lets_it() {
    let mut hpet = Hpet::new();
    for (index, routes) in [(0, 0x00f0_0000), (1, 0x00f0_0000), (2, 0x00f0_0800)] {
        assert_eq!(hpet.read(timer(index), 8, 0), routes << 32 | 0x30);
        hpet.write(timer(index), 8, !route(0x1f) | route(21), 0);
        let written = LEVEL | ONCE | PERIODIC | NARROW | route(21);
        assert_eq!(hpet.read(timer(index), 8, 0), routes << 32 | 0x30 | written);
        // A route it does not offer is not taken.
        hpet.write(timer(index), 4, route(3), 0);
        assert_eq!(hpet.read(timer(index), 4, 0), 0x30 | route(21));
    }
    assert_eq!(hpet.read(timer(3), 8, 0), 0);
}

#[test]
fn a_timer_matches_once_and_tells_when() {
    let mut hpet = on();
    hpet.write(timer(2), 8, ONCE | route(11), 0);
    hpet.write(comparator(2), 8, 500, 100);
    assert_eq!(hpet.next_event(100), Some(500));
    assert_eq!(pulses(&mut hpet, 499), 0);
    assert_eq!(pulses(&mut hpet, 500), 1 << 11);
    assert_eq!(pulses(&mut hpet, 1 << 40), 0);
}

#[test]
fn a_narrow_timer_matches_each_time_the_low_half_comes_by() {
    let mut hpet = on();
    hpet.write(timer(2), 8, ONCE | NARROW | route(20), 0);
    hpet.write(comparator(2), 4, 500, 0);
    assert_eq!(hpet.read(comparator(2), 8, 0), 500);
    assert_eq!(pulses(&mut hpet, 500), 1 << 20);
    assert_eq!(hpet.next_event(500), Some((1 << 32) + 500));
    // A comparator already passed is reached after the turn.
    hpet.write(comparator(2), 4, 400, 600);
    assert_eq!(hpet.next_event(600), Some((1 << 32) + 400));
}

#[test]
fn a_periodic_timer_is_set_as_2_3_9_2_2_has_it() {
    let mut hpet = on();
    hpet.write(timer(0), 4, ONCE | PERIODIC | SET_VALUE | route(20), 0);
    hpet.write(comparator(0), 8, 1000, 0);
    hpet.write(comparator(0), 8, 300, 0);
    assert_eq!(hpet.next_event(0), Some(1000));
    assert_eq!(pulses(&mut hpet, 1000), 1 << 20);
    assert_eq!(hpet.read(comparator(0), 8, 1000), 1300);
    assert_eq!(hpet.next_event(1000), Some(1300));
    // Periods nobody watched are one pulse, and the beat stays.
    assert_eq!(pulses(&mut hpet, 1000 + 300 * 1_000_000 + 7), 1 << 20);
    assert_eq!(
        hpet.next_event(1000 + 300 * 1_000_000 + 7),
        Some(1000 + 300 * 1_000_001)
    );
}

#[test]
fn a_narrow_periodic_timer_turns_with_the_low_half() {
    let mut hpet = Hpet::new();
    hpet.write(COUNTER, 8, 0xffff_ff00, 0);
    hpet.write(CONFIGURATION, 4, ENABLE, 0);
    hpet.write(
        timer(0),
        4,
        ONCE | PERIODIC | SET_VALUE | NARROW | route(20),
        0,
    );
    hpet.write(comparator(0), 4, 0xffff_ff80, 0);
    hpet.write(comparator(0), 4, 0x100, 0);
    assert_eq!(pulses(&mut hpet, 0x80), 1 << 20);
    assert_eq!(hpet.read(comparator(0), 8, 0x80), 0x80);
    assert_eq!(hpet.next_event(0x80), Some(0x180));
}

#[test]
fn a_level_stays_until_its_status_is_cleared() {
    let mut hpet = on();
    hpet.write(timer(1), 4, ONCE | LEVEL | route(22), 0);
    hpet.write(comparator(1), 8, 50, 0);
    for now in [50, 60] {
        let outputs = hpet.outputs(now);
        assert_eq!((outputs.pulses, outputs.levels), (0, 1 << 22));
    }
    assert_eq!(hpet.read(STATUS, 8, 60), 1 << 1);
    assert_eq!(hpet.next_event(60), None);
    hpet.write(STATUS, 4, 1 << 0, 60);
    assert_eq!(hpet.outputs(60).levels, 1 << 22);
    hpet.write(STATUS, 4, 1 << 1, 60);
    assert_eq!(hpet.outputs(60).levels, 0);
    assert_eq!(hpet.read(STATUS, 8, 60), 0);
}

#[test]
fn two_levels_are_two_lines_and_the_status_shows_a_match_at_once() {
    let mut hpet = on();
    for (index, pin) in [(0, 20), (1, 22)] {
        hpet.write(timer(index), 4, ONCE | LEVEL | route(pin), 0);
        hpet.write(comparator(index), 8, 50 + u64::from(index), 0);
    }
    assert_eq!(hpet.read(STATUS, 8, 50), 0b01);
    assert_eq!(hpet.read(STATUS, 8, 51), 0b11);
    assert_eq!(hpet.outputs(51).levels, 1 << 20 | 1 << 22);
    // As an edge, a match has no status.
    hpet.write(timer(0), 4, ONCE | route(20), 51);
    assert_eq!(hpet.read(STATUS, 8, 51), 0b10);
}

#[test]
fn a_match_without_a_route_is_nobodys() {
    let mut hpet = on();
    hpet.write(timer(0), 4, ONCE, 0);
    hpet.write(comparator(0), 8, 50, 0);
    assert_eq!(hpet.outputs(50), Outputs::default());
}

#[test]
fn nothing_matches_while_the_counter_stands() {
    let mut hpet = Hpet::new();
    hpet.write(timer(0), 4, ONCE | route(20), 0);
    hpet.write(comparator(0), 8, 50, 0);
    assert_eq!(hpet.next_event(0), None);
    assert_eq!(pulses(&mut hpet, 1000), 0);
    hpet.write(CONFIGURATION, 4, ENABLE, 1000);
    assert_eq!(hpet.next_event(1000), Some(1050));
}

#[test]
fn a_timer_made_narrow_keeps_its_low_half() {
    let mut hpet = on();
    hpet.write(timer(0), 4, ONCE | PERIODIC | SET_VALUE | route(20), 0);
    hpet.write(comparator(0), 8, 0x7_0000_0100, 0);
    hpet.write(comparator(0), 8, 0x5_0000_0010, 0);
    hpet.write(timer(0), 4, ONCE | PERIODIC | NARROW | route(20), 0);
    assert_eq!(hpet.read(comparator(0), 8, 0), 0x100);
    assert_eq!(pulses(&mut hpet, 0x100), 1 << 20);
    assert_eq!(hpet.read(comparator(0), 8, 0x100), 0x110);
    // Wide again, it goes on by the period that is left.
    hpet.write(timer(0), 4, ONCE | PERIODIC | route(20), 0x100);
    assert_eq!(pulses(&mut hpet, 0x110), 1 << 20);
    assert_eq!(hpet.next_event(0x110), Some(0x120));
}

#[test]
fn a_disabled_interrupt_sets_its_status_alone() {
    let mut hpet = on();
    hpet.write(timer(1), 4, LEVEL | route(22), 0);
    hpet.write(comparator(1), 8, 50, 0);
    assert_eq!(hpet.next_event(0), None);
    assert_eq!(hpet.outputs(50), Outputs::default());
    assert_eq!(hpet.read(STATUS, 8, 50), 1 << 1);
    hpet.write(timer(1), 4, LEVEL | ONCE | route(22), 50);
    assert_eq!(hpet.outputs(50).levels, 1 << 22);
    hpet.write(CONFIGURATION, 4, 0, 50);
    assert_eq!(hpet.outputs(50).levels, 0);
}

#[test]
fn legacy_routing_replaces_the_routes_of_the_first_two() {
    let mut hpet = Hpet::new();
    assert!(!hpet.replaces_legacy());
    hpet.write(CONFIGURATION, 4, ENABLE | LEGACY, 0);
    assert!(hpet.replaces_legacy());
    for index in 0..3 {
        hpet.write(timer(index), 4, ONCE | route(20), 0);
        hpet.write(comparator(index), 8, 10, 0);
    }
    assert_eq!(pulses(&mut hpet, 10), 1 << 2 | 1 << 8 | 1 << 20);
}

#[test]
fn narrow_accesses_show_bytes_and_write_nothing() {
    let mut hpet = Hpet::new();
    assert_eq!(hpet.read(2, 2, 0), 0x8086);
    assert_eq!(hpet.read(7, 1, 0), 0);
    for (offset, size) in [
        (CONFIGURATION, 1),
        (CONFIGURATION, 2),
        (CONFIGURATION + 2, 4),
        (CONFIGURATION + 4, 8),
    ] {
        hpet.write(offset, size, u64::MAX, 0);
    }
    assert_eq!(hpet.read(CONFIGURATION, 8, 0), 0);
}

proptest! {
    #[test]
    fn watched_seldom_it_pulses_as_often_as_it_was_asked_and_stands_where_one_watched_always_does(
        first in 1u64..100, period in 0u64..40, periodic in any::<bool>(),
        watched in proptest::collection::btree_set(0u64..500, 0..10),
    ) {
        let mut seldom = on();
        seldom.write(timer(0), 4, ONCE | route(20) | if periodic { PERIODIC | SET_VALUE } else { 0 }, 0);
        seldom.write(comparator(0), 8, first, 0);
        if periodic {
            seldom.write(comparator(0), 8, period, 0);
        }
        let mut always = seldom.clone();
        let mut owed = false;
        for now in 0..500 {
            let due = always.next_event(now.max(1) - 1) == Some(now);
            let pulsed = pulses(&mut always, now) != 0;
            prop_assert_eq!(pulsed, due && now != 0);
            owed |= pulsed;
            if watched.contains(&now) {
                prop_assert_eq!(pulses(&mut seldom, now) != 0, owed);
                owed = false;
                prop_assert_eq!(seldom.next_event(now), always.next_event(now));
            }
        }
    }

    #[test]
    fn any_accesses_are_answered(
        steps in proptest::collection::vec((any::<bool>(), 0u16..0x180, 0u8..4, prop_oneof![any::<u64>(), 0u64..0x4000], any::<u32>()), 0..200),
    ) {
        let (mut hpet, mut now) = (Hpet::new(), 0u64);
        for (write, offset, log_size, value, step) in steps {
            now += u64::from(step) << (value & 15);
            if write {
                hpet.write(offset & !3, 1 << log_size, value, now);
            } else {
                hpet.read(offset, 1 << log_size, now);
            }
            hpet.outputs(now);
            if let Some(next) = hpet.next_event(now) {
                prop_assert!(next > now);
            }
        }
    }
}

#[test]
fn a_match_that_nobody_has_taken_yet_is_the_next_event() {
    let mut hpet = on();
    hpet.write(
        timer(0),
        8,
        ONCE | PERIODIC | SET_VALUE | NARROW | route(20),
        0,
    );
    hpet.write(comparator(0), 8, 1000, 0);
    hpet.write(comparator(0), 8, 300, 0);
    assert_eq!(hpet.next_event(1250), Some(1250));
    // Reading the counter lets the timers see it, and takes nothing.
    assert_eq!(hpet.read(COUNTER, 8, 1260), 1260);
    assert_eq!(hpet.next_event(1270), Some(1270));
    assert_eq!(pulses(&mut hpet, 1280), 1 << 20);
    assert_eq!(hpet.next_event(1280), Some(1300));
}
