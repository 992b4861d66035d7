//! A slot's two words, for the kinds that every system call looks at: nothing is decoded that is not asked for.

use super::layout::{ADDRESS, CNODE_ADDRESS, DETAIL, GUEST, WHOLE, tag};
use super::{Mapping, SpaceKind, ZombieKind};
use crate::mem::{Page, Ref};
use crate::object::{Endpoint, Reply};
use sel4_abi::Rights;

/// A slot's two words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Words(pub u64, pub u64);

/// Untyped memory, as [`super::Cap::Untyped`] has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Untyped {
    pub base: u64,
    pub bits: u8,
    pub device: bool,
    pub dirty: bool,
    pub free: u64,
}

/// A destroyed container: what is left of it to take apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Zombie {
    pub object: u64,
    pub kind: ZombieKind,
    pub count: u64,
}

/// A CNode, as [`super::Cap::CNode`] has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct CNode {
    pub object: u64,
    pub radix: u32,
    pub guard_size: u32,
    pub guard: u64,
}

/// A frame: the two words of a [`super::Cap::Frame`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Frame(Words);

impl Frame {
    #[inline(always)]
    pub(crate) const fn base(self) -> u64 {
        self.0.address()
    }
    #[inline(always)]
    pub(crate) const fn size(self) -> u8 {
        self.0.kind() as u8 & 3
    }
    #[inline(always)]
    pub(crate) const fn is_device(self) -> bool {
        self.0.kind() & 4 != 0
    }
    #[inline(always)]
    pub(crate) const fn rights(self) -> u8 {
        (self.0.kind() >> 3) as u8 & 3
    }
    #[inline(always)]
    pub(crate) fn mapping(self) -> Option<Mapping> {
        self.0.mapping()
    }
    /// The same memory, mapped so.
    #[inline(always)]
    pub(crate) fn with_mapping(self, mapping: Option<Mapping>) -> Words {
        let (guest, word) = Mapping::words(mapping);
        let first = self.0.0 & !(GUEST << 48) | guest << 48;
        Words(first, word)
    }
}

impl Untyped {
    /// Its two words in a slot.
    #[inline(always)]
    pub(crate) const fn words(self) -> Words {
        let detail = self.bits as u64 | (self.device as u64) << 6 | (self.dirty as u64) << 7;
        Words::new(tag::UNTYPED, detail, self.base, self.free)
    }
}

impl Zombie {
    /// Its two words in a slot.
    #[inline(always)]
    pub(crate) const fn words(self) -> Words {
        Words::new(tag::ZOMBIE, self.kind.detail(), self.object, self.count)
    }
}

impl Words {
    #[inline(always)]
    pub(super) const fn new(tag: u64, detail: u64, address: u64, second: u64) -> Self {
        Self(tag << 59 | detail << 48 | address, second)
    }
    /// Tag and detail.
    #[inline(always)]
    const fn kind(self) -> u32 {
        (self.0 >> 48) as u32
    }
    #[inline(always)]
    pub(super) const fn address(self) -> u64 {
        self.0 & ADDRESS
    }
    /// The address, if the tag is a CNode's.
    #[inline(always)]
    pub(super) const fn cnode_address(self) -> u64 {
        self.0 & CNODE_ADDRESS
    }
    #[inline(always)]
    pub(super) const fn tag(self) -> u64 {
        self.0 >> 59
    }
    #[inline(always)]
    pub(super) const fn detail(self) -> u64 {
        self.0 >> 48 & DETAIL
    }
    /// The badge of an endpoint or a notification, 0 for none, and of what has no badges.
    pub(crate) const fn badge(self) -> u64 {
        match self.tag() {
            tag::ENDPOINT | tag::NOTIFICATION => self.1,
            _ => 0,
        }
    }
    /// The address, if tag and detail are those.
    #[inline(always)]
    const fn address_of(self, tag: u64, detail: u64) -> Option<u64> {
        match self.0 ^ (tag << 59 | detail << 48) {
            address @ ..=ADDRESS => Some(address),
            _ => None,
        }
    }
    /// What they are if the tag is untyped memory's.
    #[inline(always)]
    pub(super) const fn any_untyped(self) -> Untyped {
        let detail = self.detail();
        Untyped {
            base: self.address(),
            bits: (detail & 63) as u8,
            device: detail & 64 != 0,
            dirty: detail & 128 != 0,
            free: self.1,
        }
    }
    /// What they are if the tag is a CNode's.
    #[inline(always)]
    pub(super) const fn any_cnode(self) -> CNode {
        let radix = self.kind() & 63;
        CNode {
            object: self.cnode_address(),
            radix,
            guard_size: self.0 as u32 & 63,
            guard: self.1 >> radix,
        }
    }
    /// Where a frame or table is mapped, if the tag is one of theirs.
    #[inline(always)]
    pub(super) fn mapping(self) -> Option<Mapping> {
        let asid = (self.1 >> 48) as u16;
        (asid != 0).then_some(Mapping {
            asid,
            address: self.1 & ADDRESS,
            kind: SpaceKind::of_detail(self.detail()),
        })
    }
    /// Untyped memory.
    #[inline(always)]
    pub(crate) fn untyped(self) -> Option<Untyped> {
        (self.tag() == tag::UNTYPED).then(|| self.any_untyped())
    }
    /// A destroyed container.
    #[inline(always)]
    pub(crate) fn zombie(self) -> Option<Zombie> {
        let kind = match self.detail() {
            _ if self.tag() != tag::ZOMBIE => return None,
            detail => ZombieKind::of_detail(detail),
        };
        Some(Zombie {
            object: self.address(),
            kind,
            count: self.1,
        })
    }
    /// An endpoint one can call, and the badge.
    #[inline(always)]
    pub(crate) fn callable(self) -> Option<(Ref<Endpoint>, u64)> {
        // The tag, then `RECEIVES`, then `CALLS`.
        (self.0 >> 57 & !2 == tag::ENDPOINT << 2 | 1).then(|| (Ref::at(self.address()), self.1))
    }
    /// An endpoint one can receive from, and the rights.
    #[inline(always)]
    pub(crate) fn receivable(self) -> Option<(Ref<Endpoint>, Rights)> {
        // The tag, then `RECEIVES`.
        (self.0 >> 58 == tag::ENDPOINT << 1 | 1)
            .then(|| (Ref::at(self.address()), Rights::new(self.kind().into())))
    }
    /// A reply object.
    #[inline(always)]
    pub(crate) fn reply(self) -> Option<Ref<Reply>> {
        self.address_of(tag::REPLY, 0).map(Ref::at)
    }
    /// A CNode; one has at least two slots.
    #[inline(always)]
    pub(crate) fn cnode(self) -> Option<CNode> {
        let radix = self.kind().wrapping_sub((tag::CNODE as u32) << 11);
        (radix < 2 << 6).then(|| self.any_cnode())
    }
    /// A CNode whose radix and guard take all of an address: where it is, its radix, and what the addresses of its slots
    /// begin with.
    #[inline(always)]
    pub(crate) fn whole_cnode(self) -> Option<(u64, u32, u64)> {
        let radix = self
            .kind()
            .wrapping_sub((tag::CNODE as u32) << 11 | WHOLE as u32);
        (radix < 64).then(|| (self.cnode_address(), radix, self.1))
    }
    /// A user address space: the root table, and its number, 0 if it has none.
    #[inline(always)]
    pub(crate) fn space(self) -> Option<(Ref<Page>, u16)> {
        self.address_of(tag::TABLE, 4)
            .map(|root| (Ref::at(root), (self.1 >> 48) as u16))
    }
    /// What they are if the tag is a frame's.
    #[inline(always)]
    pub(super) const fn any_frame(self) -> Frame {
        Frame(self)
    }
    /// A frame, as [`super::Cap::Frame`] has it.
    #[inline(always)]
    pub(crate) fn frame(self) -> Option<Frame> {
        (self.tag() == tag::FRAME).then(|| self.any_frame())
    }
    /// Memory that an IPC buffer can be in: the frame's base, size and rights.
    #[inline(always)]
    pub(crate) fn buffer(self) -> Option<(u64, u8, u8)> {
        let detail = self.kind().wrapping_sub((tag::FRAME as u32) << 11);
        (detail < 1 << 11 && detail & 4 == 0)
            .then(|| (self.address(), detail as u8 & 3, (detail >> 3) as u8 & 3))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cap::Cap;

    #[test]
    fn an_endpoints_words_tell_what_its_rights_do() {
        for rights in (0..16).map(Rights::new) {
            let (object, badge) = (Ref::at(0xffff_ffff_fff0), 7);
            let words = Cap::Endpoint {
                object,
                badge,
                rights,
            }
            .words();
            let answers = rights.has(Rights::GRANT) || rights.has(Rights::GRANT_REPLY);
            let calls = rights.has(Rights::WRITE) && answers;
            assert_eq!(words.callable(), calls.then_some((object, badge)));
            let receives = rights.has(Rights::READ);
            assert_eq!(words.receivable(), receives.then_some((object, rights)));
            let other = Cap::Notification {
                object: Ref::at(0x40),
                badge,
                rights,
            }
            .words();
            assert_eq!((other.callable(), other.receivable()), (None, None));
        }
    }

    #[test]
    fn a_frames_words_are_mapped_as_its_cap_is() {
        let at = |kind| {
            Some(Mapping {
                asid: 4095,
                address: 0x7fff_ffff_f000,
                kind,
            })
        };
        let all = [None, at(SpaceKind::Host), at(SpaceKind::Guest)];
        for (size, rights, device) in [(0, 3, false), (1, 2, true), (2, 0, true)] {
            let cap = |mapping| Cap::Frame {
                base: 0xffff_c000_0000,
                size,
                device,
                rights,
                mapping,
            };
            for (before, after) in all.iter().flat_map(|a| all.iter().map(move |b| (*a, *b))) {
                let frame = cap(before).words().frame().expect("a frame");
                assert_eq!(frame.mapping(), before);
                assert_eq!(
                    (frame.size(), frame.rights(), frame.is_device()),
                    (size, rights, device)
                );
                assert_eq!(frame.with_mapping(after), cap(after).words());
            }
        }
    }
}
