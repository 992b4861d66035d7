//! A domain's address space: its tables are made as pages need them.

use super::{
    error::{Error, Result},
    objects::Objects,
};
use heapless::Vec;
use sel4::{
    Cap, CapRights, CapTypeForFrameObjectOfFixedSize, TranslationTableObjectType as Table,
    VmAttributes, cap, cap_type, init_thread, vspace_levels,
};

/// Most tables: 4 GiB in large pages and 400 MiB in small ones.
const MAX_TABLES: usize = 256;

/// A table: the number of the region that it spans, and its level in the two lowest bits. A number, because all domains'
/// tables lie on the stack while the system is built.
const fn name(level: usize, vaddr: usize) -> u64 {
    ((vaddr >> vspace_levels::span_bits(level)) << 2 | level) as u64
}

const _: () = assert!(vspace_levels::NUM_LEVELS <= 4);

/// An address space under construction.
pub(crate) struct Space {
    root: cap::VSpace,
    /// Tables made, each as [`name`] has it.
    tables: Vec<u64, MAX_TABLES>,
}

impl Space {
    /// An empty one.
    pub(crate) fn new(objects: &mut Objects) -> Result<Self> {
        let root = objects.make::<cap_type::VSpace>()?;
        init_thread::slot::ASID_POOL.cap().asid_pool_assign(root)?;
        Ok(Self {
            root,
            tables: Vec::new(),
        })
    }

    /// Its root.
    pub(crate) const fn root(&self) -> cap::VSpace {
        self.root
    }

    /// Maps a frame of any size.
    pub(crate) fn map<T: CapTypeForFrameObjectOfFixedSize>(
        &mut self,
        objects: &mut Objects,
        frame: Cap<T>,
        vaddr: u64,
        rights: CapRights,
        attributes: VmAttributes,
    ) -> Result<()> {
        let page_bits = T::FRAME_OBJECT_TYPE.bits();
        for level in 1..vspace_levels::NUM_LEVELS {
            if vspace_levels::span_bits(level) > page_bits {
                self.table(objects, level, vaddr as usize)?;
            }
        }
        Ok(frame.frame_map(self.root, vaddr as usize, rights, attributes)?)
    }

    fn table(&mut self, objects: &mut Objects, level: usize, vaddr: usize) -> Result<()> {
        let key = name(level, vaddr);
        // Pages come in rising order: the table wanted is nearly always among the last made.
        if self.tables.iter().rev().any(|made| *made == key) {
            return Ok(());
        }
        self.tables
            .push(key)
            .map_err(|_| Error::Full("tables of an address space"))?;
        let attributes = VmAttributes::DEFAULT;
        match Table::from_level(level) {
            Some(Table::PDPT) => objects
                .make::<cap_type::PDPT>()?
                .pdpt_map(self.root, vaddr, attributes)?,
            Some(Table::PageDirectory) => {
                objects
                    .make::<cap_type::PageDirectory>()?
                    .page_directory_map(self.root, vaddr, attributes)?;
            }
            Some(Table::PageTable) => {
                objects
                    .make::<cap_type::PageTable>()?
                    .page_table_map(self.root, vaddr, attributes)?;
            }
            Some(Table::PML4) | None => {}
        }
        Ok(())
    }
}
