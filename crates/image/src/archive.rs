//! The archive: what root-task reads in the booted system ([`protocol::system`] has the layout).

use protocol::system::{self, Archive, Blob, MAGIC, Name};

use crate::Error;
use crate::config::{PAGE, Vm};
use crate::guest::Loaded;
use crate::program::Program;

/// Bytes of the magic and of the length of the coded part.
const HEAD: u64 = 16;

/// All that goes into an archive.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// Programs, by index.
    pub programs: &'a [Program],
    /// The device server's.
    pub drivers: u32,
    /// The VMs.
    pub vms: &'a [VmPlan<'a>],
}

/// One VM of it.
#[derive(Clone, Debug)]
pub struct VmPlan<'a> {
    /// Its description.
    pub vm: &'a Vm,
    /// Its guest.
    pub guest: Loaded,
    /// Program of its vmm-server.
    pub vmm: u32,
    /// Program of its mmu-server.
    pub mmu: u32,
}

/// Writes the archive.
///
/// # Errors
/// There is more of something than the archive has room for.
pub fn write(place: &str, plan: &Plan) -> Result<Vec<u8>, Error> {
    let full = |what: &str| {
        Error::new(
            place,
            format!("too many {what} for one image"),
            "leave some out",
        )
    };
    // Once with the widest offsets to learn where the data can begin, then for good.
    let widest = code(&describe(plan, &mut Data::new(u64::MAX / 2), &full)?);
    let start = (HEAD + widest.len() as u64).next_multiple_of(PAGE);
    let mut data = Data::new(start);
    let coded = code(&describe(plan, &mut data, &full)?);
    let mut archive = MAGIC.to_vec();
    archive.extend((coded.len() as u64).to_le_bytes());
    archive.extend(coded);
    for (offset, bytes) in data.blobs {
        archive.resize(offset as usize, 0);
        archive.extend_from_slice(bytes);
    }
    archive.resize(archive.len().next_multiple_of(PAGE as usize), 0);
    Ok(archive)
}

fn code(archive: &Archive) -> Vec<u8> {
    postcard::to_stdvec(archive).expect("a vector has room, and plain data can be coded")
}

/// The data behind the coded part: bytes at page-aligned offsets.
struct Data<'a> {
    next: u64,
    blobs: Vec<(u64, &'a [u8])>,
}

impl<'a> Data<'a> {
    fn new(start: u64) -> Self {
        Self {
            next: start,
            blobs: Vec::new(),
        }
    }

    fn add(&mut self, bytes: &'a [u8]) -> Blob {
        let blob = Blob {
            offset: self.next,
            length: bytes.len() as u64,
        };
        self.blobs.push((self.next, bytes));
        self.next = (self.next + blob.length).next_multiple_of(PAGE);
        blob
    }
}

type Full<'f> = dyn Fn(&str) -> Error + 'f;

fn describe<'a>(plan: &'a Plan, data: &mut Data<'a>, full: &Full) -> Result<Archive, Error> {
    let mut archive = Archive {
        programs: heapless::Vec::new(),
        drivers: plan.drivers,
        vms: heapless::Vec::new(),
    };
    for program in plan.programs {
        let program = describe_program(program, data, full)?;
        archive
            .programs
            .push(program)
            .map_err(|_| full("programs"))?;
    }
    for vm in plan.vms {
        let vm = describe_vm(vm, data, full)?;
        archive.vms.push(vm).map_err(|_| full("VMs"))?;
    }
    Ok(archive)
}

fn describe_program<'a>(
    program: &'a Program,
    data: &mut Data<'a>,
    full: &Full,
) -> Result<system::Program, Error> {
    let mut segments = heapless::Vec::new();
    for segment in &program.segments {
        let described = system::Segment {
            vaddr: segment.vaddr,
            memory_size: segment.memory_size,
            data: data.add(&segment.data),
            write: segment.is_writable(),
        };
        segments
            .push(described)
            .map_err(|_| full("program segments"))?;
    }
    Ok(system::Program {
        name: program.name.clone(),
        entry: program.entry,
        segments,
    })
}

fn describe_vm<'a>(
    plan: &'a VmPlan,
    data: &mut Data<'a>,
    full: &Full,
) -> Result<system::Vm, Error> {
    let mut pieces = heapless::Vec::new();
    for piece in &plan.guest.pieces {
        let described = system::Piece {
            gpa: piece.gpa,
            data: data.add(&piece.bytes),
        };
        pieces.push(described).map_err(|_| full("guest pieces"))?;
    }
    Ok(system::Vm {
        name: Name::try_from(plan.vm.name.as_str()).map_err(|_| full("letters in a VM's name"))?,
        memory: plan.vm.memory,
        shadow_bits: plan.vm.shadow_bits(),
        shadow_pages: plan.vm.shadow_pages,
        paging: plan.vm.paging,
        policy: plan.vm.policy,
        flush: plan.vm.flush,
        priority: plan.vm.priority,
        console: plan.vm.console,
        pieces,
        entry: plan.guest.entry,
        vmm: plan.vmm,
        mmu: plan.mmu,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::System;
    use crate::guest::Piece;
    use crate::program::tests::elf64;
    use protocol::system::Entry;

    #[test]
    fn root_task_reads_back_what_was_written() {
        let system = System::parse(
            "s",
            "[machine]\nmemory = \"512M\"\n[[vm]]\nname = \"main\"\nmemory = \"64M\"\n",
        )
        .expect("good");
        let file = elf64(0x20_1010, &[(0x20_1010, b"code", 4, 5)]);
        let programs = [Program::read("drivers", "drivers", &file).expect("good")];
        let guest = Loaded {
            entry: Entry::Real { cs: 0, ip: 0x7c00 },
            pieces: vec![Piece {
                gpa: 0x7c00,
                bytes: b"boot".to_vec(),
            }],
            occupied: Vec::new(),
        };
        let vms = [VmPlan {
            vm: &system.vms[0],
            guest,
            vmm: 0,
            mmu: 0,
        }];
        let plan = Plan {
            programs: &programs,
            drivers: 0,
            vms: &vms,
        };
        let bytes = write("s", &plan).expect("written");

        assert_eq!(bytes[..8], MAGIC);
        assert_eq!(bytes.len() % 4096, 0);
        let length = u64::from_le_bytes(bytes[8..16].try_into().expect("eight bytes")) as usize;
        let archive: Archive = postcard::from_bytes(&bytes[16..16 + length]).expect("decodes");
        let blob = |blob: Blob| &bytes[blob.offset as usize..(blob.offset + blob.length) as usize];
        let segment = &archive.programs[0].segments[0];
        assert_eq!(segment.data.offset % 4096, segment.vaddr % 4096);
        assert_eq!(&blob(segment.data)[0x10..], b"code");
        assert_eq!(archive.vms[0].name, "main");
        assert_eq!(archive.vms[0].pieces[0].gpa, 0x7c00);
        assert_eq!(blob(archive.vms[0].pieces[0].data), b"boot");
    }
}
