//! From what is written to what is meant: each value in its range, and all of them together possible.

use protocol::system::{Flush, MAX_VMS, Paging, Policy};
use toml::Spanned;

use super::raw::{self, Lines, Shadow};
use super::{
    CPU, CPU_NESTED, Domains, Guest, Load, Machine, System, Vm, check_memory, check_shadow,
    lacks_nested_paging, pages, paging, policy, size,
};
use crate::Error;

/// Pages of a shadow pool nobody gave a size: 8 MiB.
const SHADOW_PAGES_DEFAULT: u64 = 2048;
/// Priority of a vCPU nobody gave one.
const PRIORITY_DEFAULT: u64 = 100;
/// Most: the VM's servers run one above it, the device server and root-task above those.
const PRIORITY_MAX: u64 = 200;
/// Most bytes of a name; the archive's names have room for it.
const NAME_MAX: usize = 31;

/// The checked description.
pub fn system(lines: &Lines, raw: &raw::System) -> Result<System, Error> {
    let mut vms = Vec::new();
    for vm in &raw.vm {
        vms.push(self::vm(lines, vm)?);
    }
    let machine = machine(lines, raw, &vms)?;
    count(lines, raw)?;
    names(lines, raw)?;
    console(lines, raw, &mut vms)?;
    let system = System {
        machine,
        domains: domains(&raw.domains),
        vms,
    };
    fits(lines, raw, &system)?;
    Ok(system)
}

fn machine(lines: &Lines, raw: &raw::System, vms: &[Vm]) -> Result<Machine, Error> {
    let machine = raw.machine.get_ref();
    let memory = machine.memory.get_ref().0;
    if memory == 0 || !memory.is_multiple_of(1 << 20) {
        return Err(Error::new(
            lines.at(&machine.memory.span()),
            format!(
                "machine memory of {} is no multiple of 1M",
                size::show(memory)
            ),
            "give it as 512M, for example",
        ));
    }
    Ok(Machine {
        memory,
        cpu: cpu(lines, machine.cpu.as_ref(), vms)?,
    })
}

/// The processor model: one that has what the VMs want, if nobody chose.
fn cpu(lines: &Lines, raw: Option<&Spanned<String>>, vms: &[Vm]) -> Result<String, Error> {
    let nested = vms.iter().find(|vm| vm.paging == Paging::Nested);
    match (raw, nested) {
        (Some(cpu), Some(vm)) if lacks_nested_paging(cpu.get_ref()) => Err(Error::new(
            lines.at(&cpu.span()),
            format!(
                "`{}` has no nested paging, which VM `{}` wants",
                cpu.get_ref(),
                vm.name
            ),
            format!("use `{CPU_NESTED}`, or paging = \"shadow\""),
        )),
        (Some(cpu), _) => Ok(cpu.get_ref().clone()),
        (None, Some(_)) => Ok(CPU_NESTED.into()),
        (None, None) => Ok(CPU.into()),
    }
}

fn domains(raw: &raw::Domains) -> Domains {
    Domains {
        root_task: raw.root_task.clone(),
        vmm_server: raw.vmm_server.clone(),
        mmu_server: raw.mmu_server.clone(),
        drivers: raw.drivers.clone(),
    }
}

fn vm(lines: &Lines, raw: &Spanned<raw::Vm>) -> Result<Vm, Error> {
    let line = lines.at(&raw.span());
    let raw = raw.get_ref();
    let memory = check_memory(raw.memory.get_ref().0)
        .map_err(|(what, remedy)| Error::new(lines.at(&raw.memory.span()), what, remedy))?;
    Ok(Vm {
        line,
        name: name(lines, &raw.name)?,
        memory,
        shadow_pages: shadow(lines, raw)?,
        paging: known(
            lines,
            raw.paging.as_ref(),
            "paging",
            &["shadow", "nested"],
            paging,
        )?
        .unwrap_or_default(),
        policy: known(lines, raw.policy.as_ref(), "policy", &["vtlb"], policy)?
            .unwrap_or(Policy::Vtlb),
        flush: known(
            lines,
            raw.flush.as_ref(),
            "flush",
            &["invlpga", "tag"],
            flush,
        )?
        .unwrap_or(Flush::Invlpga),
        priority: priority(lines, raw)?,
        console: raw.console.as_ref().is_some_and(|c| *c.get_ref()),
        guest: guest(lines, raw)?,
        loads: loads(lines, raw, memory)?,
        vmm_server: raw.vmm_server.clone(),
        mmu_server: raw.mmu_server.clone(),
    })
}

fn name(lines: &Lines, raw: &Spanned<String>) -> Result<String, Error> {
    let name = raw.get_ref();
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(fine) {
        return Err(Error::new(
            lines.at(&raw.span()),
            format!("`{name}` cannot be a VM's name"),
            format!("use 1 to {NAME_MAX} letters, digits, `-` and `_`"),
        ));
    }
    Ok(name.clone())
}

fn shadow(lines: &Lines, raw: &raw::Vm) -> Result<u64, Error> {
    let Some(shadow) = &raw.shadow else {
        return Ok(SHADOW_PAGES_DEFAULT);
    };
    let pages = match shadow.get_ref() {
        Shadow::Pages(pages) => Some(*pages),
        Shadow::Bytes(bytes) => pages(*bytes),
    };
    check_shadow(pages.unwrap_or(0))
        .map_err(|(what, remedy)| Error::new(lines.at(&shadow.span()), what, remedy))
}

fn flush(name: &str) -> Option<Flush> {
    match name {
        "invlpga" => Some(Flush::Invlpga),
        "tag" => Some(Flush::Tag),
        _ => None,
    }
}

/// A word out of a few.
fn known<T>(
    lines: &Lines,
    raw: Option<&Spanned<String>>,
    key: &str,
    words: &[&str],
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(raw) = raw else { return Ok(None) };
    read(raw.get_ref()).map(Some).ok_or_else(|| {
        Error::new(
            lines.at(&raw.span()),
            format!("{key} `{}` is not known", raw.get_ref()),
            format!("use {}", words.join(" or ")),
        )
    })
}

fn priority(lines: &Lines, raw: &raw::Vm) -> Result<u64, Error> {
    let Some(priority) = &raw.priority else {
        return Ok(PRIORITY_DEFAULT);
    };
    let value = *priority.get_ref();
    if (1..=PRIORITY_MAX).contains(&value) {
        return Ok(value);
    }
    Err(Error::new(
        lines.at(&priority.span()),
        format!("priority {value} is out of range"),
        format!("use 1 to {PRIORITY_MAX}"),
    ))
}

fn guest(lines: &Lines, raw: &raw::Vm) -> Result<Guest, Error> {
    if let (Some(_), Some(kernel)) = (&raw.guest, &raw.kernel) {
        return Err(Error::new(
            lines.at(&kernel.span()),
            "a VM has both `guest` and `kernel`",
            "keep one of them",
        ));
    }
    let text = |value: &Option<Spanned<String>>| value.as_ref().map(|v| v.get_ref().clone());
    Ok(Guest {
        name: text(&raw.guest),
        kernel: text(&raw.kernel),
        initrd: raw.initrd.0.clone(),
        append: text(&raw.append),
    })
}

fn loads(lines: &Lines, raw: &raw::Vm, memory: u64) -> Result<Vec<Load>, Error> {
    let mut loads: Vec<Load> = Vec::new();
    for load in &raw.load {
        let at = load.at.get_ref().0;
        let line = lines.at(&load.at.span());
        if at >= memory {
            return Err(Error::new(
                line,
                format!(
                    "`{}` would be loaded at {at:#x}, outside the guest's memory",
                    load.file.get_ref()
                ),
                "load it lower, or give the VM more memory",
            ));
        }
        if let Some(other) = loads.iter().find(|other| other.at == at) {
            return Err(Error::new(
                line,
                format!(
                    "overlapping memory: `{}` is loaded at {at:#x} too",
                    other.file
                ),
                "move one of them",
            ));
        }
        loads.push(Load {
            line,
            file: load.file.get_ref().clone(),
            at,
        });
    }
    Ok(loads)
}

fn count(lines: &Lines, raw: &raw::System) -> Result<(), Error> {
    if raw.vm.is_empty() {
        return Err(Error::new(
            lines.file,
            "no VM is described",
            "add a section [[vm]] with a name and memory",
        ));
    }
    match raw.vm.get(MAX_VMS) {
        None => Ok(()),
        Some(vm) => Err(Error::new(
            lines.at(&vm.span()),
            format!("more than {MAX_VMS} VMs"),
            "remove this one",
        )),
    }
}

fn names(lines: &Lines, raw: &raw::System) -> Result<(), Error> {
    for (n, vm) in raw.vm.iter().enumerate() {
        let name = &vm.get_ref().name;
        let earlier = raw.vm[..n].iter().map(|vm| &vm.get_ref().name);
        if let Some(other) = earlier
            .into_iter()
            .find(|other| other.get_ref() == name.get_ref())
        {
            return Err(Error::new(
                lines.at(&name.span()),
                format!("two VMs have the name `{}`", name.get_ref()),
                format!("rename this one or the one at {}", lines.at(&other.span())),
            ));
        }
    }
    Ok(())
}

/// One VM has the console: the one that says so, else the first.
fn console(lines: &Lines, raw: &raw::System, vms: &mut [Vm]) -> Result<(), Error> {
    let mut owners = raw
        .vm
        .iter()
        .filter_map(|vm| vm.get_ref().console.as_ref())
        .filter(|console| *console.get_ref());
    match (owners.next(), owners.next()) {
        (Some(_), Some(second)) => {
            return Err(Error::new(
                lines.at(&second.span()),
                "two VMs have the console",
                "leave `console = true` at one of them",
            ));
        }
        (None, _) => vms[0].console = true,
        (Some(_), None) => {}
    }
    Ok(())
}

/// All VMs and Umbra itself fit into the machine. The line is that of the VM that no longer does.
fn fits(lines: &Lines, raw: &raw::System, system: &System) -> Result<(), Error> {
    let mut left = system.machine.memory.saturating_sub(super::UMBRA_MEMORY);
    for (vm, raw) in system.vms.iter().zip(&raw.vm) {
        match left.checked_sub(vm.footprint()) {
            Some(rest) => left = rest,
            None => {
                return Err(Error::new(
                    lines.at(&raw.get_ref().memory.span()),
                    format!(
                        "more memory than the machine has: VM `{}` and those before it need a machine of {}",
                        vm.name,
                        size::show(system.needed_memory().next_multiple_of(1 << 20))
                    ),
                    "raise `memory` in [machine], or lower this one",
                ));
            }
        }
    }
    Ok(())
}
