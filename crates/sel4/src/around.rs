//! Types around one of the ABI's values: how they are made of it and give it back.

/// The methods by which rust-sel4 goes from a type to the ABI's and back.
macro_rules! around {
    ($outer:ty, $inner:ty) => {
        impl $outer {
            /// Around the ABI's value.
            #[must_use]
            pub const fn from_inner(inner: $inner) -> Self {
                Self(inner)
            }
            /// The ABI's value.
            #[must_use]
            pub const fn into_inner(self) -> $inner {
                self.0
            }
            /// The ABI's value.
            #[must_use]
            pub const fn inner(&self) -> &$inner {
                &self.0
            }
            /// The ABI's value.
            #[must_use]
            pub const fn inner_mut(&mut self) -> &mut $inner {
                &mut self.0
            }
        }
    };
}

pub(crate) use around;
