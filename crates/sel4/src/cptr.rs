//! Names of capabilities: addresses in the calling thread's CSpace, bare, typed, with a depth, or relative to a CNode.

use crate::{
    CapType, InvocationContext, NoExplicitInvocationContext, NoInvocationContext, WORD_SIZE, Word,
    cap, cap_type,
};
use core::{fmt, marker::PhantomData};

/// The word of an address.
pub type CPtrBits = Word;

/// An address in the calling thread's CSpace, resolved with all its 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct CPtr(CPtrBits);

impl CPtr {
    /// From its word.
    #[must_use]
    pub const fn from_bits(bits: CPtrBits) -> Self {
        Self(bits)
    }
    /// The word.
    #[must_use]
    pub const fn bits(self) -> CPtrBits {
        self.0
    }
    /// The capability there, taken for one of type `T`.
    #[must_use]
    pub const fn cast<T: CapType>(self) -> Cap<T> {
        Cap::from_cptr(self)
    }
}

/// An address and how many of its bits are resolved.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct CPtrWithDepth {
    bits: CPtrBits,
    depth: usize,
}

impl CPtrWithDepth {
    /// From its parts.
    #[must_use]
    pub const fn from_bits_with_depth(bits: CPtrBits, depth: usize) -> Self {
        Self { bits, depth }
    }
    /// The word.
    #[must_use]
    pub const fn bits(&self) -> CPtrBits {
        self.bits
    }
    /// The bits resolved.
    #[must_use]
    pub const fn depth(&self) -> usize {
        self.depth
    }
    /// No bits at all: the CNode itself.
    #[must_use]
    pub const fn empty() -> Self {
        Self::from_bits_with_depth(0, 0)
    }
}

impl From<CPtr> for CPtrWithDepth {
    fn from(cptr: CPtr) -> Self {
        Self::from_bits_with_depth(cptr.bits(), WORD_SIZE)
    }
}

/// What names a slot below a CNode.
pub trait HasCPtrWithDepth {
    /// The address and its depth.
    fn cptr_with_depth(self) -> CPtrWithDepth;
}

impl HasCPtrWithDepth for CPtrWithDepth {
    fn cptr_with_depth(self) -> CPtrWithDepth {
        self
    }
}

impl HasCPtrWithDepth for CPtr {
    fn cptr_with_depth(self) -> CPtrWithDepth {
        self.into()
    }
}

impl<T: CapType, C> HasCPtrWithDepth for Cap<T, C> {
    fn cptr_with_depth(self) -> CPtrWithDepth {
        self.cptr().into()
    }
}

/// A capability of type `T` in the calling thread's CSpace, invoked with the IPC buffer `C` finds.
#[derive(PartialEq, Eq, Hash)]
pub struct Cap<T: CapType, C = NoExplicitInvocationContext> {
    cptr: CPtr,
    context: C,
    phantom: PhantomData<T>,
}

// Written out: copying an address asks nothing of the capability's type.
impl<T: CapType, C: Clone> Clone for Cap<T, C> {
    fn clone(&self) -> Self {
        Self {
            cptr: self.cptr,
            context: self.context.clone(),
            phantom: PhantomData,
        }
    }
}

impl<T: CapType, C: Copy> Copy for Cap<T, C> {}

impl<T: CapType> Cap<T> {
    /// The capability at an address, taken for one of type `T`.
    #[must_use]
    pub const fn from_cptr(cptr: CPtr) -> Self {
        Self {
            cptr,
            context: crate::ImplicitInvocationContext,
            phantom: PhantomData,
        }
    }
    /// The capability at an address, taken for one of type `T`.
    #[must_use]
    pub const fn from_bits(bits: CPtrBits) -> Self {
        Self::from_cptr(CPtr::from_bits(bits))
    }
}

impl<T: CapType, C> Cap<T, C> {
    /// Its address.
    #[must_use]
    pub const fn cptr(&self) -> CPtr {
        self.cptr
    }
    /// Its address as a word.
    #[must_use]
    pub const fn bits(&self) -> CPtrBits {
        self.cptr.bits()
    }
    /// The same capability taken for another type.
    #[must_use]
    pub fn cast<T1: CapType>(self) -> Cap<T1, C> {
        Cap {
            cptr: self.cptr,
            context: self.context,
            phantom: PhantomData,
        }
    }
    /// The same capability, its type forgotten.
    #[must_use]
    pub fn upcast(self) -> Cap<cap_type::Unspecified, C> {
        self.cast()
    }
    /// The same capability with another IPC buffer.
    #[must_use]
    pub fn with<C1>(self, context: C1) -> Cap<T, C1> {
        Cap {
            cptr: self.cptr,
            context,
            phantom: PhantomData,
        }
    }
    /// The same capability without an IPC buffer.
    #[must_use]
    pub fn without_context(self) -> Cap<T, NoInvocationContext> {
        self.with(NoInvocationContext)
    }
    /// The context alone.
    #[must_use]
    pub fn into_invocation_context(self) -> C {
        self.context
    }
}

impl<C> Cap<cap_type::Unspecified, C> {
    /// The same capability taken for one of type `T`.
    #[must_use]
    pub fn downcast<T: CapType>(self) -> Cap<T, C> {
        self.cast()
    }
}

impl<T: CapType, C: InvocationContext> Cap<T, C> {
    pub(crate) fn with_context<R>(mut self, f: impl FnOnce(&mut crate::IpcBuffer) -> R) -> R {
        self.context.with_context(f)
    }
}

impl<T: CapType, C> fmt::Debug for Cap<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple(T::NAME).field(&self.bits()).finish()
    }
}

/// A slot named relative to a CNode: what the operations on slots take.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbsoluteCPtr<C = NoExplicitInvocationContext> {
    root: cap::CNode<C>,
    path: CPtrWithDepth,
}

impl<C> AbsoluteCPtr<C> {
    /// The slot at `path` below `root`.
    #[must_use]
    pub const fn new(root: cap::CNode<C>, path: CPtrWithDepth) -> Self {
        Self { root, path }
    }
    /// The CNode.
    #[must_use]
    pub const fn root(&self) -> &cap::CNode<C> {
        &self.root
    }
    /// The CNode.
    #[must_use]
    pub fn into_root(self) -> cap::CNode<C> {
        self.root
    }
    /// The path below it.
    #[must_use]
    pub const fn path(&self) -> &CPtrWithDepth {
        &self.path
    }
    /// The same slot with another IPC buffer.
    #[must_use]
    pub fn with<C1>(self, context: C1) -> AbsoluteCPtr<C1> {
        AbsoluteCPtr::new(self.root.with(context), self.path)
    }
    /// The same slot without an IPC buffer.
    #[must_use]
    pub fn without_context(self) -> AbsoluteCPtr<NoInvocationContext> {
        self.with(NoInvocationContext)
    }
}

impl<C> cap::CNode<C> {
    /// The slot at a path below this CNode.
    #[must_use]
    pub fn absolute_cptr(self, path: impl HasCPtrWithDepth) -> AbsoluteCPtr<C> {
        AbsoluteCPtr::new(self, path.cptr_with_depth())
    }
    /// The slot at a path below this CNode.
    #[must_use]
    pub fn absolute_cptr_from_bits_with_depth(
        self,
        bits: CPtrBits,
        depth: usize,
    ) -> AbsoluteCPtr<C> {
        self.absolute_cptr(CPtrWithDepth::from_bits_with_depth(bits, depth))
    }
    /// This CNode itself, as a retype's destination.
    #[must_use]
    pub fn absolute_cptr_for_self(self) -> AbsoluteCPtr<C> {
        self.absolute_cptr(CPtrWithDepth::empty())
    }
}
