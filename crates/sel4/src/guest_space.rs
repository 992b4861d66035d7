//! The guest-physical space: Umbra's own tree of which frame stands where in a VM's memory.

use crate::{
    Cap, CapRights, CapTypeForFrameObject, InvocationContext, Result, VmAttributes, cap, sys::label,
};
use words::Gpa;

macro_rules! tables {
    ($($ty:ident: $map:ident = $map_label:ident, $unmap:ident = $unmap_label:ident;)*) => { $(
        impl<C: InvocationContext> cap::$ty<C> {
            /// Puts the table into a guest-physical space.
            pub fn $map(self, space: cap::GuestPml4, gpa: Gpa, attr: VmAttributes) -> Result<()> {
                self.invoke(label::$map_label, &[space.bits()], &[gpa.bits(), attr.into_inner()]).map(drop)
            }
            /// Takes the table out.
            pub fn $unmap(self) -> Result<()> {
                self.invoke(label::$unmap_label, &[], &[]).map(drop)
            }
        }
    )* };
}

tables! {
    GuestPdpt: guest_pdpt_map = GUEST_PDPT_MAP, guest_pdpt_unmap = GUEST_PDPT_UNMAP;
    GuestPageDirectory: guest_page_directory_map = GUEST_PAGE_DIRECTORY_MAP,
        guest_page_directory_unmap = GUEST_PAGE_DIRECTORY_UNMAP;
    GuestPageTable: guest_page_table_map = GUEST_PAGE_TABLE_MAP, guest_page_table_unmap = GUEST_PAGE_TABLE_UNMAP;
}

impl<T: CapTypeForFrameObject, C: InvocationContext> Cap<T, C> {
    /// Puts the frame into a guest-physical space. A frame capability is mapped in one place: memory that a domain maps
    /// too needs a second capability. [`frame_unmap`](Self::frame_unmap) takes it out.
    pub fn frame_map_guest(
        self,
        space: cap::GuestPml4,
        gpa: Gpa,
        rights: CapRights,
        attrs: VmAttributes,
    ) -> Result<()> {
        let words = [gpa.bits(), rights.into_inner().bits(), attrs.into_inner()];
        self.invoke(label::PAGE_MAP_GUEST, &[space.bits()], &words)
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invocations::recorder::record;

    #[test]
    fn guest_mappings_name_their_space_as_the_extra_capability() {
        let calls = record(0, &[], || {
            let space = cap::GuestPml4::from_bits(6);
            cap::GuestPdpt::from_bits(7)
                .guest_pdpt_map(space, Gpa::new(0), VmAttributes::DEFAULT)
                .unwrap();
            cap::LargePage::from_bits(8)
                .frame_map_guest(
                    space,
                    Gpa::new(0x20_0000),
                    CapRights::read_write(),
                    VmAttributes::DEFAULT,
                )
                .unwrap();
        });
        assert_eq!(
            calls,
            [
                (7, 0x110, vec![6], vec![0, 0]),
                (8, 0x116, vec![6], vec![0x20_0000, 3, 0])
            ]
        );
    }
}
