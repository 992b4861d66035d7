//! Exits with words of any value.

use super::*;

/// Every exit there is.
fn labels() -> Vec<u64> {
    let known = |label: &u64| ExitClass::from_label(*label).is_some();
    (0..0x1000).filter(known).collect()
}

/// Whether VMRUN takes it: valid, of a type that there is, an exception with a vector of one, nothing reserved (APM vol. 2,
/// 15.20).
fn is_event(word: u64) -> bool {
    let (vector, kind) = (word & 0xff, word >> 8 & 7);
    let known = match kind {
        0 | 2 | 4 => true,
        3 => vector < 32 && vector != 2,
        _ => false,
    };
    word >> 31 & 1 != 0 && word >> 12 & 0x7_ffff == 0 && known
}

proptest::proptest! {
    /// Words of any value, as a broken kernel or a guest of bad will could make them.
    #[test]
    fn no_sequence_of_exits_panics_or_injects_nonsense(
        exits in proptest::collection::vec(
            (proptest::sample::select(labels()), proptest::prelude::any::<[u64; 4]>(), 0u8..4),
            0..60,
        ),
        code in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..15),
        long: bool,
    ) {
        let mut fake = Fake::new().with(Register::Cs, 0xffff_ffff_0a9b_0010);
        fake.code = code;
        let mut vcpu = start(if long { &LINUX } else { &MULTIBOOT }, &fake);
        for (label, words, outcome) in exits {
            fake.lines = words[3] as u16;
            fake.faults.clear();
            fake.faults.push_back(match outcome {
                0 => Outcome::Done,
                1 => Outcome::Inject { code: words[0] as u32 & 31, address: words[1] },
                2 => Outcome::Device { gpa: Gpa::new(words[1]), access: words[0] as u32 & 0x16 },
                _ => Outcome::Refused,
            });
            fake.tsc.set(fake.tsc.get().wrapping_add(words[2] >> 40));
            let (exit, status) = Exit::decode(label, words).unwrap();
            assert_eq!(Some(exit.class()), ExitClass::from_label(label));
            vcpu.signal(&mut fake, signal::LINE);
            match vcpu.answer(&mut fake, &exit, status) {
                Answer::Resume(resume) => {
                    if let Some(event) = get(&resume, Register::Event) {
                        // What was on its way goes back as the kernel sent it.
                        let sent = words.contains(&event);
                        assert!(sent || is_event(event), "{event:#x}");
                    }
                }
                Answer::Halt(mut resume) => assert!(!vcpu.wake(&mut fake, &mut resume)),
                Answer::Stop(stopped) => assert!(!stopped.what.is_empty()),
            }
            let control = vcpu.control();
            let paging = control.cr0 & cr0::PG != 0;
            assert_eq!(control.is_long(), paging && control.efer & efer::LME != 0);
            assert_eq!(control.efer & efer::SVME, 0);
        }
    }
}
