//! `loc`: lines by package, `unsafe`, and what is trusted for what.
//!
//! The last table follows from the manifests: a program is trusted with everything it is linked from.

mod count;
mod manifest;

use std::path::Path;

use crate::error::Failure;
use count::Count;
use manifest::Workspace;

/// What goes wrong for whom when a program of the image is wrong.
const TRUST: &[(&str, &str)] = &[
    ("kernel", "the whole machine"),
    (
        "root-task",
        "the whole machine until the VMs run; then their servers' lives, not their memory",
    ),
    (
        "mmu-server",
        "the memory of its own VM; another VM's or the machine's: no",
    ),
    (
        "vmm-server",
        "the virtual CPU of its own VM, and through its answers that VM's behaviour",
    ),
    (
        "drivers",
        "the devices: console and time of every VM; memory of none",
    ),
];

/// Prints the tables.
pub fn print() -> Result<u8, Failure> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = Workspace::read(root)?;
    let mut counts = Vec::new();
    for package in &workspace.packages {
        counts.push((
            package,
            count::folder(
                &root.join(&package.folder),
                &workspace.folders_inside(package),
            )?,
        ));
    }
    println!(
        "{:<18} {:>7} {:>8} {:>7} {:>7}  folder",
        "package", "code", "comment", "test", "unsafe"
    );
    let mut total = Count::default();
    for (package, count) in &counts {
        row(&package.name, *count, &package.folder);
        total += *count;
    }
    row("together", total, "");
    println!(
        "\nWhat is trusted for what (lines of code that the program is linked from, with what others wrote beside):"
    );
    for (program, what) in TRUST {
        let Some(closure) = workspace.closure(program) else {
            continue;
        };
        let count: Count = counts
            .iter()
            .filter(|(p, _)| closure.ours.contains(&p.name))
            .map(|(_, c)| *c)
            .sum();
        println!(
            "  {program:<12} {:>6} lines, {:>3} unsafe: {what}",
            count.code, count.unsafe_uses
        );
        println!("               ours: {}", closure.ours.join(", "));
        if !closure.others.is_empty() {
            println!("               others': {}", closure.others.join(", "));
        }
    }
    println!(
        "  guests, the launcher and the host's tools are trusted with nothing in the booted system."
    );
    Ok(0)
}

fn row(name: &str, count: Count, folder: &str) {
    let Count {
        code,
        comment,
        test,
        unsafe_uses,
    } = count;
    let line = format!("{name:<18} {code:>7} {comment:>8} {test:>7} {unsafe_uses:>7}  {folder}");
    println!("{}", line.trim_end());
}
