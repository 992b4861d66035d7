//! Every paging mode, level, entry bit, control bit and kind of access, some ten million cases: the walk answers as
//! crate `naive-walk` does, leaves in memory what that allows, and what a shadow leaf then grants the guest's tables grant.

mod grid;

use grid::{Size, run_all};

#[test]
fn every_case_is_walked_marked_and_granted_as_the_manual_has_it() {
    let started = std::time::Instant::now();
    let count = run_all(Size::Full).unwrap_or_else(|difference| panic!("{difference}"));
    println!("{count} cases in {} ms", started.elapsed().as_millis());
    assert!((5_000_000..20_000_000).contains(&count), "{count} cases");
}

/// With one rule knocked out at a time the comparison must fail. Without the feature there are no mutants to choose.
#[cfg(feature = "mutants")]
#[test]
fn every_knocked_out_rule_of_the_walk_is_seen() {
    use shadow::mutant::{self, Mutant};

    let count = run_all(Size::Small).unwrap_or_else(|difference| panic!("{difference}"));
    println!("{count} cases without a mutant");
    let mut missed = Vec::new();
    for &mutant in Mutant::WALK {
        mutant::set(Some(mutant));
        let result = run_all(Size::Small);
        mutant::set(None);
        let difference = match &result {
            Ok(_) => "MISSED",
            Err(difference) => difference.lines().next().unwrap_or_default(),
        };
        println!("{:32} {difference}", mutant.name());
        if result.is_ok() {
            missed.push(mutant);
        }
    }
    assert!(missed.is_empty(), "not seen: {missed:?}");
}
