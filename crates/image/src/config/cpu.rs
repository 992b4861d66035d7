//! What is known of QEMU's processor models before QEMU starts.

/// Models that have SVM, or get it from us, but no nested paging (QEMU 7.2's `query-cpu-model-expansion`).
const WITHOUT: &[&str] = &[
    "qemu64",
    "qemu32",
    "kvm64",
    "kvm32",
    "Opteron_G1",
    "Opteron_G2",
    "Opteron_G3",
];

/// The model, with its features as QEMU's `-cpu` takes them (`max,npt=off`), has no nested paging. A model that nobody knows
/// may have it; the kernel looks.
#[must_use]
pub fn lacks_nested_paging(cpu: &str) -> bool {
    let mut words = cpu.split(',');
    let model = words.next().unwrap_or_default();
    let model = model
        .rsplit_once("-v")
        .filter(|(_, version)| version.bytes().all(|b| b.is_ascii_digit()))
        .map_or(model, |(model, _)| model);
    let said =
        words.rfind(|word| word.trim_start_matches(['+', '-']).split('=').next() == Some("npt"));
    match said {
        Some(word) => word.starts_with('-') || word.ends_with("=off"),
        None => WITHOUT.contains(&model),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_and_features_say_whether_there_is_nested_paging() {
        for cpu in [
            "qemu64",
            "qemu64-v1",
            "max,npt=off",
            "EPYC,-npt",
            "kvm64,+svm",
        ] {
            assert!(lacks_nested_paging(cpu), "{cpu}");
        }
        for cpu in [
            "max",
            "EPYC",
            "EPYC-Rome-v2",
            "qemu64,+npt",
            "qemu64,npt=on",
            "max,-npt,npt",
            "",
        ] {
            assert!(!lacks_nested_paging(cpu), "{cpu}");
        }
    }
}
