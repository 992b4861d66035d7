//! From the command line and `system.toml` to the one module that QEMU loads behind the kernel.

use std::fs;
use std::path::{Path, PathBuf};

use image::archive::{self, Plan, VmPlan};
use image::config::{self, System, Vm};
use image::guest::{self, File, Request};
use image::module;
use image::program::Program;
use protocol::system::Paging;

use crate::cli::{Build, RunArgs};
use crate::error::Failure;
use crate::guests::{self, Files};

/// The description that comes with the sources.
const SYSTEM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/system.toml");

/// mmu-server with the oracle in it.
const ORACLE: &str = "mmu-server-oracle";

/// The kernel with every debug system call, also the one that stops the machine.
const KERNEL_DEBUG: &str = "kernel-debug";
/// The kernel without debug system calls.
const KERNEL_RELEASE: &str = "kernel-release";
/// The kernel that measures how long it does not look for interrupts.
const KERNEL_LATENCY: &str = "kernel-latency";
/// Machine memory of a root task of somebody's own: less does not hold a frame of 1 GiB, at a multiple of its size, beside
/// what is the kernel's.
const ROOT_TASK_MEMORY: u64 = 3 << 30;

/// What QEMU is started with.
pub struct Image {
    /// The kernel's file.
    pub kernel: PathBuf,
    /// root-task with all it needs.
    pub module: Vec<u8>,
    /// Bytes of machine memory.
    pub memory: u64,
    /// The processor model.
    pub cpu: String,
    /// Names of the VMs.
    pub vms: Vec<String>,
    /// Which of them has the console.
    pub console: usize,
}

/// Composes everything in memory; nothing is written.
pub fn compose(args: &RunArgs) -> Result<Image, Failure> {
    if let Some(root_task) = &args.root_task {
        return alone(args, root_task);
    }
    let path = args.system.clone().unwrap_or_else(|| SYSTEM.into());
    let mut system = read_system(&path)?;
    let base = path.parent().unwrap_or(Path::new("."));
    let console = system.console_vm();
    apply(args, &mut system.vms[console])?;
    let cpu = cpu(args, &system)?;
    let memory = system
        .machine
        .memory
        .max(system.needed_memory().next_multiple_of(1 << 20));
    let image = Image {
        kernel: guests::image_folder()?.join("kernel"),
        module: pack(args, &system, base, &path)?,
        memory,
        cpu,
        vms: system.vms.into_iter().map(|vm| vm.name).collect(),
        console,
    };
    Ok(image)
}

/// A root task of somebody's own: it ends the run as if it were a VM, by saying so or by writing to the exit port.
fn alone(args: &RunArgs, root_task: &Path) -> Result<Image, Failure> {
    let system = read_system(Path::new(SYSTEM))?;
    let file = guests::read(root_task)?;
    let needed = image::root_task::check(&file.name, &file.bytes)?.next_multiple_of(1 << 20);
    let memory = match args.memory {
        Some(memory) => check_memory(memory)?,
        None => ROOT_TASK_MEMORY,
    };
    let kernel = match args.build {
        Build::Debug => KERNEL_DEBUG,
        Build::Release => KERNEL_RELEASE,
        Build::Latency => KERNEL_LATENCY,
    };
    Ok(Image {
        kernel: built(kernel)?,
        module: file.bytes,
        memory: memory.max(needed),
        cpu: args.cpu.clone().unwrap_or(system.machine.cpu),
        vms: vec!["root-task".into()],
        console: 0,
    })
}

/// Writes the module where it stays, for a command that is printed and not run.
pub fn keep(image: &Image) -> Result<PathBuf, Failure> {
    let path = guests::image_folder()?.join("module.elf");
    write(&path, image)?;
    Ok(path)
}

/// Writes the module.
pub fn write(path: &Path, image: &Image) -> Result<(), Failure> {
    fs::write(path, &image.module)
        .map_err(|error| Failure::Machine(format!("{}: {error}", path.display())))
}

fn read_system(path: &Path) -> Result<System, Failure> {
    let file = guests::read(path)?;
    let name = path.file_name().map_or(file.name.clone(), |name| {
        name.to_string_lossy().into_owned()
    });
    let text = String::from_utf8(file.bytes).map_err(|_| {
        image::Error::new(&name, "is no text in UTF-8", "write it again as plain text")
    })?;
    Ok(System::parse(&name, &text)?)
}

/// What `--memory` asks for, if it can be given.
fn check_memory(memory: u64) -> Result<u64, Failure> {
    config::check_memory(memory)
        .map_err(|(what, remedy)| Failure::Input(format!("--memory: {what}: {remedy}")))
}

/// The command line's word goes before the file's, for the VM with the console.
fn apply(args: &RunArgs, vm: &mut Vm) -> Result<(), Failure> {
    if let Some(memory) = args.memory {
        vm.memory = check_memory(memory)?;
    }
    if let Some(pages) = args.shadow {
        vm.shadow_pages = pages;
    }
    if let Some(paging) = args.paging.as_deref().and_then(config::paging) {
        vm.paging = paging;
    }
    if args.oracle && vm.paging == Paging::Nested {
        return Err(Failure::Input(
            "--oracle: it watches a shadow, and nested paging has none: use --paging shadow".into(),
        ));
    }
    if let Some(policy) = args.policy.as_deref().and_then(config::policy) {
        vm.policy = policy;
    }
    Ok(())
}

/// The processor model: the one asked for, or one that has what was asked for.
fn cpu(args: &RunArgs, system: &System) -> Result<String, Failure> {
    let cpu = args.cpu.as_ref().unwrap_or(&system.machine.cpu);
    let nested = system.vms.iter().any(|vm| vm.paging == Paging::Nested);
    if !nested || !config::lacks_nested_paging(cpu) {
        return Ok(cpu.clone());
    }
    match &args.cpu {
        None => Ok(config::CPU_NESTED.into()),
        Some(cpu) => Err(Failure::Input(format!(
            "--cpu {cpu}: has no nested paging: use --cpu {}, or --paging shadow",
            config::CPU_NESTED
        ))),
    }
}

fn pack(args: &RunArgs, system: &System, base: &Path, path: &Path) -> Result<Vec<u8>, Failure> {
    let mut programs = Programs {
        base,
        list: Vec::new(),
    };
    let domains = &system.domains;
    let root_task = programs.read("root-task", domains.root_task.as_deref())?;
    let drivers = programs.index("drivers", domains.drivers.as_deref())?;
    let mut vms = Vec::new();
    for (n, vm) in system.vms.iter().enumerate() {
        let chosen = (n == system.console_vm()).then_some(args);
        let vmm = vm.vmm_server.as_deref().or(domains.vmm_server.as_deref());
        let mmu = vm.mmu_server.as_deref().or(domains.mmu_server.as_deref());
        vms.push(VmPlan {
            vm,
            guest: load(chosen, vm, base)?,
            vmm: programs.index("vmm-server", vmm)?,
            mmu: match mmu {
                None if args.oracle => programs.add(parse("mmu-server", &built(ORACLE)?)?),
                mmu => programs.index("mmu-server", mmu)?,
            },
        });
    }
    let plan = Plan {
        programs: &programs.list,
        drivers,
        vms: &vms,
    };
    let place = path.to_string_lossy();
    let archive = archive::write(&place, &plan)?;
    Ok(module::join(&place, root_task, archive)?)
}

/// The programs of the archive; one used twice is there once.
struct Programs<'a> {
    base: &'a Path,
    list: Vec<Program>,
}

impl Programs<'_> {
    /// The program built with the image, or the one that `system.toml` names.
    fn read(&self, name: &str, other: Option<&str>) -> Result<Program, Failure> {
        let path = match other {
            Some(other) => self.base.join(other),
            None => built(name)?,
        };
        parse(name, &path)
    }

    fn index(&mut self, name: &str, other: Option<&str>) -> Result<u32, Failure> {
        let program = self.read(name, other)?;
        Ok(self.add(program))
    }

    fn add(&mut self, program: Program) -> u32 {
        let index = self
            .list
            .iter()
            .position(|known| *known == program)
            .unwrap_or(self.list.len());
        if index == self.list.len() {
            self.list.push(program);
        }
        index as u32
    }
}

/// The file of a program built with the image.
fn built(name: &str) -> Result<PathBuf, Failure> {
    Ok(guests::image_folder()?.join(name))
}

/// A program's file under the name of the domain that it is for.
fn parse(name: &str, path: &Path) -> Result<Program, Failure> {
    let file = guests::read(path)?;
    Ok(Program::read(name, &file.name, &file.bytes)?)
}

/// A VM's guest, laid out.
fn load(args: Option<&RunArgs>, vm: &Vm, base: &Path) -> Result<guest::Loaded, Failure> {
    let mut files = choose(args, vm, base)?;
    let initrds = args.map(|args| args.initrd.as_slice()).unwrap_or_default();
    let initrds: Vec<PathBuf> = match initrds {
        [] => vm.guest.initrd.iter().map(|file| base.join(file)).collect(),
        given => given.to_vec(),
    };
    if !initrds.is_empty() {
        files.initrds = initrds
            .iter()
            .map(|path| guests::read(path))
            .collect::<Result<_, _>>()?;
    }
    let more = args
        .and_then(|args| args.append.as_deref())
        .or(vm.guest.append.as_deref());
    let append = [files.append, more.unwrap_or_default()].join(" ");
    let loads = vm
        .loads
        .iter()
        .map(|load| {
            Ok((
                load.line.clone(),
                guests::read(&base.join(&load.file))?,
                load.at,
            ))
        })
        .collect::<Result<Vec<(String, File, u64)>, Failure>>()?;
    Ok(guest::load(&Request {
        kernel: &files.kernel,
        initrds: &files.initrds,
        append: append.trim(),
        loads: &loads,
        memory: vm.memory,
    })?)
}

/// Which guest: the command line's, else the file's, else the default.
fn choose(args: Option<&RunArgs>, vm: &Vm, base: &Path) -> Result<Files, Failure> {
    let kernel = |path: &Path| {
        Ok(Files {
            kernel: guests::read(path)?,
            initrds: Vec::new(),
            append: "",
        })
    };
    if let Some(path) = args.and_then(|args| args.kernel.as_ref()) {
        return kernel(path);
    }
    if let Some(name) = args.and_then(|args| args.guest.as_ref()) {
        return guests::named(name);
    }
    match (&vm.guest.kernel, &vm.guest.name) {
        (Some(path), _) => kernel(&base.join(path)),
        (None, Some(name)) => guests::named(name),
        (None, None) => guests::default(),
    }
}
