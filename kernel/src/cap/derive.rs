//! What a capability derived from another is: fewer rights, a badge, a guard.
//!
//! Every arm builds its result anew: changing `self` in place copies more of it (`copy-delete`, `mint` of `umbra bench`).

use super::Cap;
use sel4_abi::Rights;

impl Cap {
    /// The capability with its rights cut down to `mask`; kinds without rights are unchanged.
    #[must_use]
    pub fn masked(self, mask: Rights) -> Self {
        match self {
            Self::Endpoint {
                object,
                badge,
                rights,
            } => Self::Endpoint {
                object,
                badge,
                rights: rights.mask(mask),
            },
            Self::Notification {
                object,
                badge,
                rights,
            } => Self::Notification {
                object,
                badge,
                rights: rights.mask(mask),
            },
            Self::Reply { object, grant } => Self::Reply {
                object,
                grant: grant && mask.has(Rights::GRANT),
            },
            Self::Frame {
                base,
                size,
                device,
                rights,
                mapping,
            } => {
                let rights = frame_rights(rights & mask.bits() as u8);
                Self::Frame {
                    base,
                    size,
                    device,
                    rights,
                    mapping,
                }
            }
            Self::Vcpu { object, rights } => Self::Vcpu {
                object,
                rights: rights.mask(mask),
            },
            other => other,
        }
    }

    /// The capability with badge or CNode guard data applied, or `Null` where that is not possible.
    /// `preserve`: Mutate semantics, which never give a badge.
    #[must_use]
    pub fn with_data(self, data: u64, preserve: bool) -> Self {
        match self {
            Self::Endpoint {
                object,
                badge: 0,
                rights,
            } if !preserve => Self::Endpoint {
                object,
                badge: data,
                rights,
            },
            Self::Notification {
                object,
                badge: 0,
                rights,
            } if !preserve => Self::Notification {
                object,
                badge: data,
                rights,
            },
            Self::Endpoint { .. } | Self::Notification { .. } => Self::Null,
            Self::CNode { object, radix, .. } => {
                let guard_size = (data & 63) as u8;
                if u32::from(guard_size) + u32::from(radix) > 64 {
                    return Self::Null;
                }
                let guard = if guard_size == 0 {
                    0
                } else {
                    (data >> 6) & (u64::MAX >> (64 - guard_size))
                };
                Self::CNode {
                    object,
                    radix,
                    guard_size,
                    guard,
                }
            }
            other => other,
        }
    }
}

/// Frame rights that exist: read-write, read-only, or neither; write alone is not available.
#[must_use]
pub fn frame_rights(bits: u8) -> u8 {
    match bits & 3 {
        3 => 3,
        2 => 2,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::Ref;

    #[test]
    fn a_mask_takes_rights_and_gives_none() {
        for (rights, mask) in (0..16).flat_map(|rights| (0..16).map(move |mask| (rights, mask))) {
            let (all, mask) = (Rights::new(rights), Rights::new(mask));
            let rest = Rights::new(rights & mask.bits());
            let endpoint = |rights| Cap::Endpoint {
                object: Ref::at(0x10),
                badge: 7,
                rights,
            };
            let notification = |rights| Cap::Notification {
                object: Ref::at(0x40),
                badge: 7,
                rights,
            };
            let vcpu = |rights| Cap::Vcpu {
                object: Ref::at(0x1000),
                rights,
            };
            let reply = |grant| Cap::Reply {
                object: Ref::at(0x20),
                grant,
            };
            assert_eq!(endpoint(all).masked(mask), endpoint(rest));
            assert_eq!(notification(all).masked(mask), notification(rest));
            assert_eq!(vcpu(all).masked(mask), vcpu(rest));
            let [all, rest] = [all, rest].map(|rights| rights.has(Rights::GRANT));
            assert_eq!(reply(all).masked(mask), reply(rest));
        }
    }

    #[test]
    fn a_masked_frame_is_never_written_without_being_read() {
        let frame = |rights| Cap::Frame {
            base: 0x1000,
            size: 0,
            device: false,
            rights,
            mapping: None,
        };
        for (rights, mask, rest) in [
            (3, 15, 3),
            (3, 2, 2),
            (3, 1, 0),
            (2, 3, 2),
            (2, 1, 0),
            (0, 15, 0),
        ] {
            assert_eq!(frame(rights).masked(Rights::new(mask)), frame(rest));
        }
    }

    #[test]
    fn a_badge_is_given_once_and_only_by_mint() {
        let endpoint = |badge| Cap::Endpoint {
            object: Ref::at(0x10),
            badge,
            rights: Rights::ALL,
        };
        assert_eq!(endpoint(0).with_data(5, false), endpoint(5));
        assert!(endpoint(0).with_data(5, true).is_null());
        assert!(endpoint(5).with_data(6, false).is_null());
    }

    #[test]
    fn guards_that_do_not_fit_give_no_cap() {
        let cap = Cap::CNode {
            object: 0x40,
            radix: 16,
            guard_size: 0,
            guard: 0,
        };
        assert!(cap.with_data(49, false).is_null());
        assert!(!cap.with_data(48, false).is_null());
    }
}
