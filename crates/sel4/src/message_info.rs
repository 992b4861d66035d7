//! The message-information word.

use crate::{Word, around::around, sys};

/// Label, capability counts and length of a message. libsel4: `seL4_MessageInfo_t`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct MessageInfo(sys::message::MessageInfo);

around!(MessageInfo, sys::message::MessageInfo);

impl MessageInfo {
    /// From its fields, each cut to its width.
    #[must_use]
    #[inline]
    pub const fn new(label: Word, caps_unwrapped: usize, extra_caps: usize, length: usize) -> Self {
        Self(sys::message::MessageInfo::new(
            label,
            caps_unwrapped as Word,
            extra_caps as Word,
            length as Word,
        ))
    }
    /// As it came in rsi.
    #[inline]
    pub(crate) const fn from_word(word: Word) -> Self {
        Self(sys::message::MessageInfo::from_word(word))
    }
    /// As it goes to rsi.
    #[inline]
    pub(crate) const fn word(self) -> Word {
        self.0.word()
    }
    /// The label.
    #[must_use]
    #[inline]
    pub const fn label(&self) -> Word {
        self.0.label()
    }
    /// One bit for each extra capability that arrived as a badge.
    #[must_use]
    pub const fn caps_unwrapped(&self) -> usize {
        self.0.caps_unwrapped() as usize
    }
    /// Number of extra capabilities.
    #[must_use]
    pub const fn extra_caps(&self) -> usize {
        self.0.extra_caps()
    }
    /// Number of message words.
    #[must_use]
    #[inline]
    pub const fn length(&self) -> usize {
        self.0.length()
    }
    /// Bits of a label.
    #[must_use]
    pub const fn label_width() -> usize {
        52
    }
}

/// Builds a [`MessageInfo`] field by field.
#[derive(Clone, Debug, Default)]
pub struct MessageInfoBuilder {
    label: Word,
    caps_unwrapped: usize,
    extra_caps: usize,
    length: usize,
}

impl MessageInfoBuilder {
    /// The word.
    #[must_use]
    pub const fn build(self) -> MessageInfo {
        MessageInfo::new(
            self.label,
            self.caps_unwrapped,
            self.extra_caps,
            self.length,
        )
    }
    /// Sets the label.
    #[must_use]
    pub const fn label(mut self, label: Word) -> Self {
        self.label = label;
        self
    }
    /// Sets the unwrapped capabilities.
    #[must_use]
    pub const fn caps_unwrapped(mut self, caps_unwrapped: usize) -> Self {
        self.caps_unwrapped = caps_unwrapped;
        self
    }
    /// Sets the number of extra capabilities.
    #[must_use]
    pub const fn extra_caps(mut self, extra_caps: usize) -> Self {
        self.extra_caps = extra_caps;
        self
    }
    /// Sets the number of words.
    #[must_use]
    pub const fn length(mut self, length: usize) -> Self {
        self.length = length;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_builder_and_the_constructor_agree() {
        let built = MessageInfoBuilder::default()
            .label(0x2013)
            .caps_unwrapped(1)
            .extra_caps(2)
            .length(3)
            .build();
        assert_eq!(built, MessageInfo::new(0x2013, 1, 2, 3));
        assert_eq!(
            (
                built.label(),
                built.caps_unwrapped(),
                built.extra_caps(),
                built.length()
            ),
            (0x2013, 1, 2, 3)
        );
    }
}
