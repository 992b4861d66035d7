//! Invocations that make, copy, map and read objects.

use super::{
    kit::{Kit, WINDOW, at, none, path, retype},
    priority,
    report::{self, repeat, repeat_with, row},
};
use bench_root::Summary;
use sel4::{
    CapRights, CapTypeForObjectOfFixedSize, ObjectBlueprint, Result, VmAttributes, cap, cap_type,
    init_thread::slot,
};

const BADGE: u64 = 5;
/// Frames that are mapped one after another.
const FRAMES: usize = 64;
/// log2 of the bytes that a reset cleans: 16 MiB.
const RESET_BITS: usize = 24;
/// log2 of the bytes of a 2 MiB frame.
const LARGE_BITS: usize = 21;
/// Frames of 2 MiB in what a reset cleans.
const LARGE_FRAMES: usize = 1 << (RESET_BITS - LARGE_BITS);

pub(crate) fn measure(kit: &mut Kit) -> Result<()> {
    capabilities(kit)?;
    objects(kit)?;
    reset(kit)?;
    frames(kit)?;
    threads(kit)
}

fn nothing() -> Result<()> {
    Ok(())
}

fn capabilities(kit: &mut Kit) -> Result<()> {
    let endpoint = path(kit.make::<cap_type::Endpoint>()?);
    let copy = path(at::<cap_type::Endpoint>(kit.slots(1)));
    let all = CapRights::all();
    let pair = repeat_with(
        || {
            copy.copy(&endpoint, all)?;
            copy.delete()
        },
        nothing,
    )?;
    row("copy-delete", pair);
    let mint = repeat_with(|| copy.mint(&endpoint, all, BADGE), || copy.delete())?;
    row("mint", mint);
    copy.copy(&endpoint, all)?;
    row(
        "delete",
        repeat_with(|| copy.delete(), || copy.copy(&endpoint, all))?,
    );
    copy.delete()
}

/// Rows of retypes: name, what, how many.
type Retypes<'a> = &'a [(&'a str, ObjectBlueprint, usize)];

fn objects(kit: &mut Kit) -> Result<()> {
    let arena = kit.make_sized::<cap_type::Untyped>(LARGE_BITS)?;
    let (keep, first) = (kit.slots(1), kit.slots(FRAMES));
    // Something that stays, so that the untyped's memory is not given back and cleaned each time.
    let begin = || retype(arena, &cap_type::Endpoint::object_blueprint(), keep, 1);
    let retypes = |rows: Retypes| {
        for (name, blueprint, count) in rows {
            begin()?;
            let summary = repeat_with(
                || retype(arena, blueprint, first, *count),
                || {
                    for slot in first..first + count {
                        path(at::<cap_type::Unspecified>(slot)).delete()?;
                    }
                    if *count > 1 {
                        // The memory is used up before the rounds are over.
                        path(arena).revoke()?;
                        begin()?;
                    }
                    Ok(())
                },
            )?;
            row(name, summary);
            path(arena).revoke()?;
        }
        Ok::<_, sel4::Error>(())
    };
    let frame = cap_type::_4k::object_blueprint();
    retypes(&[
        ("retype-endpoint", cap_type::Endpoint::object_blueprint(), 1),
        ("retype-tcb", cap_type::Tcb::object_blueprint(), 1),
        ("retype-frame", frame, 1),
        ("retype-63-frames", frame, 63),
    ])?;
    let last_ones = [
        ("delete-endpoint", cap_type::Endpoint::object_blueprint()),
        ("delete-tcb", cap_type::Tcb::object_blueprint()),
    ];
    for (name, blueprint) in last_ones {
        begin()?;
        retype(arena, &blueprint, first, 1)?;
        let summary = repeat_with(
            || path(at::<cap_type::Unspecified>(first)).delete(),
            || retype(arena, &blueprint, first, 1),
        )?;
        row(name, summary);
        path(arena).revoke()?;
    }
    // Memory that was used up is clean after a reset.
    retype(arena, &cap_type::LargePage::object_blueprint(), first, 1)?;
    path(arena).revoke()?;
    retypes(&[
        ("retype-clean-frame", frame, 1),
        ("retype-63-clean-frames", frame, 63),
    ])
}

/// A retype that finds the untyped's children gone and cleans what they used first: all of it.
fn reset(kit: &mut Kit) -> Result<()> {
    let arena = kit.make_sized::<cap_type::Untyped>(RESET_BITS)?;
    let first = kit.slots(LARGE_FRAMES);
    let large = cap_type::LargePage::object_blueprint();
    let clear = || path(arena).revoke();
    let use_up = || {
        clear()?;
        retype(arena, &large, first, LARGE_FRAMES)?;
        clear()
    };
    use_up()?;
    let endpoint = cap_type::Endpoint::object_blueprint();
    row(
        "retype-reset-16m",
        repeat_with(|| retype(arena, &endpoint, first, 1), use_up)?,
    );
    clear()
}

fn frames(kit: &mut Kit) -> Result<()> {
    let arena = kit.make_sized::<cap_type::Untyped>(12 + 6)?;
    let first = kit.slots(FRAMES);
    retype(arena, &cap_type::_4k::object_blueprint(), first, FRAMES)?;
    let space = slot::VSPACE.cap();
    let all = |operation: &dyn Fn(cap::Granule, usize) -> Result<()>| {
        let overhead = report::overhead();
        let mut summary = Summary::new();
        for n in 0..FRAMES {
            let (frame, address) = (at(first + n), WINDOW + 4096 * n);
            let before = report::clock();
            let done = operation(frame, address);
            let after = report::clock();
            done?;
            summary.add(before, after, overhead);
        }
        Ok::<_, sel4::Error>(summary)
    };
    let attributes = VmAttributes::DEFAULT;
    let map = |rights: CapRights| {
        move |frame: cap::Granule, address| frame.frame_map(space, address, rights, attributes)
    };
    row("map", all(&map(CapRights::read_write()))?);
    row("remap", all(&map(CapRights::read_only()))?);
    row(
        "get-address",
        all(&|frame, _| frame.frame_get_address().map(|_| ()))?,
    );
    row("unmap", all(&|frame, _| frame.frame_unmap())?);
    path(arena).revoke()
}

extern "C" fn never() -> ! {
    loop {
        core::hint::spin_loop();
    }
}

fn threads(kit: &mut Kit) -> Result<()> {
    let time = kit.time()?;
    let tcb = kit.thread(slot::VSPACE.cap(), priority::BELOW, time, none(), never)?;
    let authority = slot::TCB.cap();
    row(
        "set-priority",
        repeat_with(|| tcb.tcb_set_priority(authority, priority::BELOW), nothing)?,
    );
    row("suspend", repeat_with(|| tcb.tcb_suspend(), nothing)?);
    row(
        "read-registers",
        repeat(|| _ = core::hint::black_box(tcb.tcb_read_all_registers(false))),
    );
    let mut registers = tcb.tcb_read_all_registers(false)?;
    row(
        "write-registers",
        repeat_with(
            || tcb.tcb_write_all_registers(false, &mut registers),
            nothing,
        )?,
    );
    Ok(())
}
