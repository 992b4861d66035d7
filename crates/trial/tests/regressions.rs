//! Programs that once failed, each named for what was wrong.

use trial::{Config, Op, Setup, replay};

fn assert_runs(setup: Setup, ops: &[Op]) {
    if let Err((step, complaint)) = replay(&setup, &Config::default(), ops) {
        panic!("step {step}: {complaint}");
    }
}

/// An evicted page kept its branches in the search tree of its former parent, and with them lost its new parent's other
/// children.
#[test]
fn an_evicted_table_takes_nothing_of_its_old_place_along() {
    let setup = Setup {
        pages: 8,
        width: 52,
        gigabyte_pages: true,
    };
    assert_runs(
        setup,
        &[
            Op::Store {
                at: 0x408800,
                value: 0x408167,
            },
            Op::Store {
                at: 0x411008,
                value: 0x127,
            },
            Op::Store32 {
                at: 0x407804,
                value: 0xa7,
            },
            Op::Cr0 { pg: true, wp: true },
            Op::Store32 {
                at: 0x411800,
                value: 0x6001a7,
            },
            Op::Store32 {
                at: 0x408804,
                value: 0x411067,
            },
            Op::Cr3 { value: 0x408020 },
            Op::Touch {
                gva: 0x80201000,
                code: 0x6,
                ac: true,
                implicit: false,
                luck: 0x4fca5306,
            },
            Op::Store32 {
                at: 0x408004,
                value: 0x407067,
            },
            Op::Touch {
                gva: 0x80600008,
                code: 0x6,
                ac: false,
                implicit: false,
                luck: 0x625c7761,
            },
            Op::Touch {
                gva: 0x80402ff8,
                code: 0x14,
                ac: false,
                implicit: false,
                luck: 0x46808e0e,
            },
            Op::Store32 {
                at: 0x407004,
                value: 0x408063,
            },
            Op::Touch {
                gva: 0x401008,
                code: 0x0,
                ac: false,
                implicit: false,
                luck: 0xf58478ef,
            },
            Op::Touch {
                gva: 0x601ff8,
                code: 0x6,
                ac: true,
                implicit: false,
                luck: 0xa3268ccb,
            },
        ],
    );
}

/// Without CR0.WP a large user page that is read-only went from user to supervisor and back as a whole, so that an
/// instruction which used one part of it and had the processor write another never ended.
#[test]
fn two_parts_of_a_large_read_only_page_serve_one_instruction() {
    let setup = Setup {
        pages: 40,
        width: 40,
        gigabyte_pages: true,
    };
    assert_runs(
        setup,
        &[
            Op::Cr3 { value: 0x400000 },
            Op::Cr0 {
                pg: true,
                wp: false,
            },
            Op::Cr4 { bits: 0x38 },
            Op::Store32 {
                at: 0x400000,
                value: 0x4000e5,
            },
            Op::Gate {
                gva: 0x100000,
                implicit: 0x22000,
                luck: 0x3f06f09a,
            },
        ],
    );
}
