//! Exits with words of any value.

use super::*;

proptest::proptest! {
    /// Words of any value, as a broken kernel or a guest of bad will could make them.
    #[test]
    fn no_sequence_of_exits_panics_or_injects_nonsense(
        exits in proptest::collection::vec(
            (0x100u64..0x10f, proptest::prelude::any::<[u64; 4]>(), 0u8..4),
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
                    let event = get(&resume, Register::Event).unwrap_or(1 << 31);
                    assert!(event >> 31 & 1 != 0);
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
