//! The kernel's own page tables: the window on all RAM and the image, writable or executable, never both.
//!
//! Always: the low half is empty; the image's text and constants are read-only in the window too; guard pages are mapped
//! nowhere; device pages are uncached. The tables never change after boot, so address spaces may share them for ever.
#![allow(unsafe_code)] // Writes page tables through the boot window.

use kernel::machine::Region;
use words::Hpa;
use words::x86::pte;

use super::layout::{self, HardwarePage, PAGE};
use super::regions::{Full, Regions};
use super::{cpu, stacks};

const LARGE: u64 = 2 << 20;

/// The table whose upper half every address space shares.
static KERNEL_PML4: HardwarePage = HardwarePage::new();

/// Why tables could not be built.
#[derive(Debug)]
pub enum Error {
    /// No RAM below 4 GiB is left for tables.
    NoMemory,
    /// A device page lies where the window does not reach.
    DeviceOutOfReach,
    /// The memory map is too fragmented.
    Fragmented,
}

impl From<Full> for Error {
    fn from(_: Full) -> Self {
        Self::Fragmented
    }
}

/// Physical address of the shared table.
pub fn kernel_pml4() -> Hpa {
    KERNEL_PML4.hpa()
}

/// Hands out zeroed pages from the top of a range that the boot tables reach.
struct TablePages {
    /// What may still be taken.
    free: Region,
    /// The top it started from.
    top: u64,
}

impl TablePages {
    /// Takes the highest range of `ram` that is below 4 GiB and at least 64 KiB long.
    fn new(ram: &Regions) -> Result<Self, Error> {
        let free = ram
            .as_slice()
            .iter()
            .rev()
            .map(|region| Region {
                start: region.start,
                end: region.end.min(layout::BOOT_REACH),
            })
            .find(|region| region.start + 0x1_0000 <= region.end)
            .ok_or(Error::NoMemory)?;
        Ok(Self {
            free,
            top: free.end,
        })
    }

    fn take(&mut self) -> Result<Hpa, Error> {
        if self.free.end - self.free.start < PAGE {
            return Err(Error::NoMemory);
        }
        self.free.end -= PAGE;
        let page = Hpa::new(self.free.end);
        // SAFETY: RAM below 4 GiB that the memory map calls usable and nothing else lies in; the boot tables map it.
        unsafe { layout::window::<u8>(page).write_bytes(0, PAGE as usize) };
        Ok(page)
    }

    /// What has been handed out.
    fn taken(&self) -> Region {
        Region {
            start: self.free.end,
            end: self.top,
        }
    }
}

/// Builds the tables, loads them, and returns the range they occupy. `free` is RAM with nothing in it.
pub fn build_and_load(ram: &Regions, free: &Regions, devices: &[Region]) -> Result<Region, Error> {
    let mut builder = Builder {
        pages: TablePages::new(free)?,
    };
    for &region in ram.as_slice() {
        builder.map_ram(region)?;
    }
    for device in devices {
        builder.map_device(device.start)?;
    }
    builder.map_image()?;
    // SAFETY: the image and the stack in use are mapped where they were; nothing refers to the identity mapping.
    unsafe { cpu::write_cr3(kernel_pml4().bits()) };
    Ok(builder.pages.taken())
}

struct Builder {
    pages: TablePages,
}

impl Builder {
    /// RAM in the window: large pages where the range fills them and the image is not in them.
    fn map_ram(&mut self, region: Region) -> Result<(), Error> {
        let image_start = layout::image_start();
        let image_end = layout::image().end - layout::IMAGE;
        let mut at = region.start;
        while at < region.end {
            let fits = at.is_multiple_of(LARGE) && region.end - at >= LARGE;
            let image_inside = at < image_end && image_start < at + LARGE;
            if fits && !image_inside {
                let slot = self.slot(layout::WINDOW + at, 2)?;
                write(slot, at | pte::P | pte::RW | pte::PS | pte::G | pte::NX);
                at += LARGE;
            } else {
                self.map_ram_page(at)?;
                at += PAGE;
            }
        }
        Ok(())
    }

    /// One page of RAM in the window, with the image's rights if it belongs to it.
    fn map_ram_page(&mut self, at: u64) -> Result<(), Error> {
        let image = layout::image();
        // Compared as physical addresses: the image's link addresses would wrap for RAM from 2 GiB on.
        let read_only = layout::image_start()..image.data - layout::IMAGE;
        let rights = if read_only.contains(&at) {
            pte::P | pte::NX
        } else {
            pte::P | pte::RW | pte::NX
        };
        if at < image.end - layout::IMAGE && stacks::is_guard(layout::IMAGE + at) {
            return Ok(());
        }
        let slot = self.slot(layout::WINDOW + at, 1)?;
        write(slot, at | rights | pte::G);
        Ok(())
    }

    /// A page of device registers in the window. PCD and PWT select "uncacheable" of the power-up PAT.
    fn map_device(&mut self, device: u64) -> Result<(), Error> {
        let page = device / PAGE * PAGE;
        if page >= layout::WINDOW_SIZE {
            return Err(Error::DeviceOutOfReach);
        }
        let slot = self.slot(layout::WINDOW + page, 1)?;
        write(
            slot,
            page | pte::P | pte::RW | pte::PCD | pte::PWT | pte::G | pte::NX,
        );
        Ok(())
    }

    /// The image where it is linked.
    fn map_image(&mut self) -> Result<(), Error> {
        let image = layout::image();
        for page in (image.text..image.end).step_by(PAGE as usize) {
            let rights = if page < image.rodata {
                pte::P
            } else if page < image.data {
                pte::P | pte::NX
            } else if stacks::is_guard(page) {
                continue;
            } else {
                pte::P | pte::RW | pte::NX
            };
            let slot = self.slot(page, 1)?;
            write(slot, (page - layout::IMAGE) | rights | pte::G);
        }
        Ok(())
    }

    /// The entry of `level` (1 or 2) that translates `address`, tables above it made as needed.
    fn slot(&mut self, address: u64, level: u32) -> Result<*mut u64, Error> {
        let index = |level: u32| (address >> (12 + 9 * (level - 1)) & 511) as usize;
        // The PML4 is used where it is linked; the other tables through the boot window.
        let mut table = KERNEL_PML4.words();
        for above in (level + 1..=4).rev() {
            let entry = table.wrapping_add(index(above));
            // SAFETY: an entry of a table made here.
            let value = unsafe { entry.read_volatile() };
            let next = if value & pte::P != 0 {
                Hpa::new(value & pte::ADDRESS)
            } else {
                let page = self.pages.take()?;
                write(entry, page.bits() | pte::P | pte::RW);
                page
            };
            table = layout::window(next);
        }
        Ok(table.wrapping_add(index(level)))
    }
}

/// Writes an entry of a table made here.
fn write(slot: *mut u64, value: u64) {
    // SAFETY: `slot` points into a page of `TablePages` or into `KERNEL_PML4`; no other reference to it exists.
    unsafe { slot.write_volatile(value) };
}
