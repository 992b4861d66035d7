//! Frames and tables of an address space.

use crate::{
    Cap, CapRights, CapTypeForFrameObject, InvocationContext, Result, TranslationTableObjectType,
    VmAttributes, Word, cap, sys::label,
};

impl<T: CapTypeForFrameObject, C: InvocationContext> Cap<T, C> {
    /// Maps the frame. libsel4: `seL4_X86_Page_Map`.
    pub fn frame_map(
        self,
        vspace: cap::VSpace,
        vaddr: usize,
        rights: CapRights,
        attrs: VmAttributes,
    ) -> Result<()> {
        let words = [
            vaddr as Word,
            rights.into_inner().bits(),
            attrs.into_inner(),
        ];
        self.invoke(label::X86_PAGE_MAP, &[vspace.bits()], &words)
            .map(drop)
    }
    /// Unmaps the frame from wherever this capability mapped it. libsel4: `seL4_X86_Page_Unmap`.
    pub fn frame_unmap(self) -> Result<()> {
        self.invoke(label::X86_PAGE_UNMAP, &[], &[]).map(drop)
    }
    /// The frame's physical address. libsel4: `seL4_X86_Page_GetAddress`.
    pub fn frame_get_address(self) -> Result<usize> {
        self.invoke(label::X86_PAGE_GET_ADDRESS, &[], &[])
            .map(|words| words[0] as usize)
    }
}

macro_rules! tables {
    ($($ty:ident: $map:ident = $map_label:ident, $unmap:ident = $unmap_label:ident;)*) => { $(
        impl<C: InvocationContext> cap::$ty<C> {
            #[doc = concat!("Maps the table. libsel4: `seL4_X86_", stringify!($ty), "_Map`.")]
            pub fn $map(self, vspace: cap::VSpace, vaddr: usize, attr: VmAttributes) -> Result<()> {
                self.invoke(label::$map_label, &[vspace.bits()], &[vaddr as Word, attr.into_inner()]).map(drop)
            }
            #[doc = concat!("Unmaps the table. libsel4: `seL4_X86_", stringify!($ty), "_Unmap`.")]
            pub fn $unmap(self) -> Result<()> {
                self.invoke(label::$unmap_label, &[], &[]).map(drop)
            }
        }
    )* };
}

tables! {
    PDPT: pdpt_map = X86_PDPT_MAP, pdpt_unmap = X86_PDPT_UNMAP;
    PageDirectory: page_directory_map = X86_PAGE_DIRECTORY_MAP, page_directory_unmap = X86_PAGE_DIRECTORY_UNMAP;
    PageTable: page_table_map = X86_PAGE_TABLE_MAP, page_table_unmap = X86_PAGE_TABLE_UNMAP;
}

impl<C: InvocationContext> cap::UnspecifiedIntermediateTranslationTable<C> {
    /// Maps the table, which is of type `ty`.
    ///
    /// # Panics
    ///
    /// For a PML4, which is the root and not mapped anywhere.
    pub fn generic_intermediate_translation_table_map(
        self,
        ty: TranslationTableObjectType,
        vspace: cap::VSpace,
        vaddr: usize,
        attr: VmAttributes,
    ) -> Result<()> {
        match ty {
            TranslationTableObjectType::PML4 => panic!("a PML4 is not an intermediate table"),
            TranslationTableObjectType::PDPT => self
                .cast::<crate::cap_type::PDPT>()
                .pdpt_map(vspace, vaddr, attr),
            TranslationTableObjectType::PageDirectory => self
                .cast::<crate::cap_type::PageDirectory>()
                .page_directory_map(vspace, vaddr, attr),
            TranslationTableObjectType::PageTable => self
                .cast::<crate::cap_type::PageTable>()
                .page_table_map(vspace, vaddr, attr),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{CapRights, VmAttributes, cap, invocations::recorder::record};

    #[test]
    fn frames_and_tables_name_address_rights_attributes_and_space() {
        let calls = record(0, &[], || {
            let space = cap::VSpace::from_bits(3);
            cap::LargePage::from_bits(8)
                .frame_map(
                    space,
                    0x20_0000,
                    CapRights::read_only(),
                    VmAttributes::CACHE_DISABLED,
                )
                .unwrap();
            cap::PageTable::from_bits(9)
                .page_table_map(space, 0x1000, VmAttributes::DEFAULT)
                .unwrap();
        });
        assert_eq!(
            calls,
            [
                (8, 45, vec![3], vec![0x20_0000, 2, 2]),
                (9, 43, vec![3], vec![0x1000, 0])
            ]
        );
    }
}
