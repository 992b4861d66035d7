//! `umbra bench`: what operations of the kernel cost, in instructions, beside seL4, and how long interrupts wait in the
//! longest of them.
//!
//! A root task of its own measures under `-icount`, where the time stamp counter counts instructions; this puts its rows
//! into a table.

mod latency;

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::{Bench, BenchArgs, Build, RunArgs};
use crate::compose;
use crate::error::Failure;
use crate::guests;
use crate::run;
use crate::verdict::Row;

/// The root task that measures.
const PROGRAM: &str = "bench-root";
/// Machine memory.
const MEMORY: u64 = 512 << 20;
/// How it ends when all is measured: 0 to the exit port.
const MEASURED: u8 = 1;

/// A row: its name in the log, what it is, and what seL4 needs for it.
///
/// seL4: x86_64, not MCS, release, fast path on, no page-table switch at entries; measured in the same way, most rows by
/// the same loop (docs/performance.md).
struct Known {
    name: &'static str,
    title: &'static str,
    sel4: Option<u64>,
}

const fn known(name: &'static str, title: &'static str, sel4: Option<u64>) -> Known {
    Known { name, title, sel4 }
}

const IPC: &[Known] = &[
    known(
        "call-same-space",
        "Call and ReplyRecv, one address space",
        Some(440),
    ),
    known("call", "Call and ReplyRecv, two address spaces", Some(444)),
    known("call-4-words", "the same with 4 words", None),
    known("call-10-words", "the same with 10 words", Some(1621)),
    known(
        "call-one-way-same-space",
        "Call, one way, one address space",
        Some(182),
    ),
    known(
        "reply-one-way-same-space",
        "ReplyRecv, one way, one address space",
        Some(209),
    ),
    known(
        "call-one-way",
        "Call, one way, two address spaces",
        Some(184),
    ),
    known(
        "reply-one-way",
        "ReplyRecv, one way, two address spaces",
        Some(211),
    ),
    known(
        "call-one-way-10-words",
        "Call with 10 words, one way",
        Some(802),
    ),
    known(
        "reply-one-way-10-words",
        "ReplyRecv with 10 words, one way",
        Some(770),
    ),
    known(
        "call-one-way-fpu-kept",
        "Call, one way, the caller uses the FPU",
        None,
    ),
    known(
        "reply-one-way-fpu-kept",
        "ReplyRecv, one way, the caller uses the FPU",
        None,
    ),
    known(
        "call-one-way-fpu",
        "Call, one way, both use the FPU",
        Some(198),
    ),
    known(
        "reply-one-way-fpu",
        "ReplyRecv, one way, both use the FPU",
        Some(225),
    ),
    known(
        "send-higher",
        "Send to a waiting thread of higher priority, one way",
        Some(700),
    ),
    known("nb-send", "NBSend, nobody waits", Some(383)),
    known("signal", "Signal, nobody waits", Some(359)),
    known(
        "signal-higher",
        "Signal to a thread of higher priority, one way",
        Some(509),
    ),
    known(
        "signal-lower",
        "Signal to a thread of lower priority",
        Some(353),
    ),
    known("signal-wait", "Signal and Wait, there and back", Some(1966)),
    known("poll", "NBWait, no signal", Some(239)),
    known("yield", "Yield, nobody else", Some(281)),
    known("yield-peer", "Yield to a peer and back", Some(532)),
    known(
        "vm-fault-same-space",
        "VM fault to a passive handler and back",
        Some(1236),
    ),
    known("vm-fault", "the fault in two address spaces", None),
    known(
        "vm-fault-active",
        "VM fault to a handler with time of its own",
        Some(1236),
    ),
    known(
        "undefined",
        "undefined instruction to a handler and back",
        Some(1301),
    ),
    known(
        "undefined-one-way",
        "undefined instruction to a handler, one way",
        Some(606),
    ),
    known(
        "undefined-reply-one-way",
        "the handler's ReplyRecv to the thread, one way",
        Some(704),
    ),
    known(
        "unknown-syscall",
        "unknown system call to a handler and back",
        Some(1370),
    ),
    known(
        "cpuid-exit-same-space",
        "a guest's CPUID to its handler and back",
        None,
    ),
    known("cpuid-exit", "the exit in two address spaces", None),
    known("copy-delete", "CNode_Copy and CNode_Delete", Some(1517)),
    known("mint", "CNode_Mint", Some(836)),
    known("delete", "CNode_Delete of a copy", Some(715)),
    known("delete-endpoint", "CNode_Delete of an endpoint", Some(738)),
    known(
        "retype-endpoint",
        "Untyped_Retype of an endpoint",
        Some(829),
    ),
    known("retype-tcb", "Untyped_Retype of a TCB", Some(5029)),
    known("delete-tcb", "CNode_Delete of a TCB", Some(2029)),
    known("retype-frame", "Untyped_Retype of a 4K frame", None),
    known("retype-63-frames", "Untyped_Retype of 63 4K frames", None),
    // seL4's memory is clean whenever it is retyped.
    known(
        "retype-clean-frame",
        "Untyped_Retype of a 4K frame, clean memory",
        Some(821),
    ),
    known(
        "retype-63-clean-frames",
        "Untyped_Retype of 63 4K frames, clean memory",
        Some(3755),
    ),
    known(
        "retype-reset-16m",
        "Untyped_Retype that cleans 16 MiB first",
        Some(11_960_000),
    ),
    known("map", "X86_Page_Map of a 4K frame", Some(720)),
    known("remap", "X86_Page_Map again with other rights", Some(720)),
    known("unmap", "X86_Page_Unmap", Some(570)),
    known("get-address", "X86_Page_GetAddress", Some(456)),
    known("set-priority", "TCB_SetPriority", Some(468)),
    known("suspend", "TCB_Suspend of a stopped thread", Some(443)),
    known("read-registers", "TCB_ReadRegisters, 20 words", Some(632)),
    known("write-registers", "TCB_WriteRegisters, 20 words", Some(800)),
];

/// Measures, prints the table, and answers the exit status.
pub fn bench(args: &BenchArgs) -> Result<u8, Failure> {
    let run = RunArgs {
        root_task: Some(guests::image_folder()?.join(PROGRAM)),
        build: match args.what {
            Bench::Ipc => Build::Debug,
            Bench::Latency => Build::Latency,
        },
        icount: true,
        memory: Some(MEMORY),
        quiet: true,
        timeout: Some(args.timeout),
        ..RunArgs::default()
    };
    let image = compose::compose(&run)?;
    let (status, rows) = run::measure(&run, &image)?;
    if status != MEASURED {
        return Ok(status);
    }
    let (table, values) = match args.what {
        Bench::Ipc => (table(&rows), values(&rows)),
        Bench::Latency => (latency::table(&rows), latency::values(&rows)),
    };
    print!("{table}");
    if let Some(path) = &args.json {
        write(path, values)?;
    }
    Ok(0)
}

fn find<'a>(rows: &'a [Row], known: &Known) -> Option<&'a Row> {
    rows.iter().find(|row| row.name == known.name)
}

/// The rows that were measured, as Markdown.
fn table(rows: &[Row]) -> String {
    let mut text =
        String::from("| operation | Umbra | min | max | seL4 |\n| --- | --: | --: | --: | --: |\n");
    for known in IPC {
        if let Some(row) = find(rows, known) {
            let sel4 = known.sel4.map_or(String::new(), |count| count.to_string());
            let Row { mean, min, max, .. } = row;
            text += &format!("| {} | {mean} | {min} | {max} | {sel4} |\n", known.title);
        }
    }
    text
}

fn values(rows: &[Row]) -> Map<String, Value> {
    rows.iter()
        .map(|row| {
            let sel4 = IPC
                .iter()
                .find(|known| known.name == row.name)
                .and_then(|known| known.sel4);
            let value =
                json!({ "mean": row.mean, "min": row.min, "max": row.max, "count": row.count, "sel4": sel4 });
            (row.name.clone(), value)
        })
        .collect()
}

fn write(path: &PathBuf, values: Map<String, Value>) -> Result<(), Failure> {
    let text = format!("{:#}\n", Value::from(values));
    fs::write(path, text).map_err(|error| Failure::Machine(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_what_was_measured_beside_what_is_known() {
        let row = |name: &str, mean| Row {
            name: name.into(),
            count: 64,
            mean,
            min: 1,
            max: 9,
        };
        let text = table(&[
            row("poll", 327.5),
            row("call-4-words", 2.0),
            row("nobody", 3.0),
        ]);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(
            lines,
            [
                "| the same with 4 words | 2 | 1 | 9 |  |",
                "| NBWait, no signal | 327.5 | 1 | 9 | 239 |"
            ]
        );
    }

    #[test]
    fn no_row_is_there_twice() {
        for (n, one) in IPC.iter().enumerate() {
            assert!(
                IPC[n + 1..]
                    .iter()
                    .all(|other| other.name != one.name && other.title != one.title)
            );
        }
    }
}
