use super::*;
use proptest::prelude::*;

const GOOD: &str = r#"
[machine]
memory = "512M"

[[vm]]
name = "main"
memory = "256M"
shadow = "8M"
policy = "vtlb"
flush = "tag"
priority = 90
guest = "linux"
initrd = "a"
"#;

fn refusal(text: &str) -> String {
    let line = System::parse("system.toml", text)
        .expect_err("refused")
        .to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

/// GOOD with one text replaced.
fn but(old: &str, new: &str) -> String {
    assert!(GOOD.contains(old));
    refusal(&GOOD.replace(old, new))
}

#[test]
fn a_description_is_read() {
    let system = System::parse("system.toml", GOOD).expect("good");
    assert_eq!(system.machine.memory, 512 << 20);
    assert_eq!(system.machine.cpu, "qemu64");
    let vm = &system.vms[0];
    assert_eq!(
        (vm.memory, vm.shadow_pages, vm.priority),
        (256 << 20, 2048, 90)
    );
    assert_eq!(vm.flush, Flush::Tag);
    assert!(vm.console, "the only VM has the console");
    assert_eq!(vm.guest.name.as_deref(), Some("linux"));
    assert_eq!(vm.guest.initrd, ["a"]);
    assert_eq!(vm.line, "system.toml:5");
}

#[test]
fn a_shadow_pool_may_be_given_in_pages() {
    let system = System::parse("s", &GOOD.replace("\"8M\"", "1024")).expect("good");
    assert_eq!(system.vms[0].shadow_bits(), 10);
}

#[test]
fn a_shadow_pool_has_at_least_what_one_instruction_may_need() {
    let system = System::parse("s", &GOOD.replace("\"8M\"", "37")).expect("good");
    let vm = &system.vms[0];
    assert_eq!((vm.shadow_pages, vm.shadow_bits()), (37, 6));
    for bad in ["36", "262145", "\"5000\""] {
        assert!(but("\"8M\"", bad).contains("give it 37 to 262144 pages"));
    }
}

#[test]
fn a_shadow_pool_on_the_command_line_means_the_same() {
    assert_eq!(parse_shadow("8M"), Ok(2048));
    assert_eq!(parse_shadow("2048"), Ok(2048));
    assert_eq!(parse_shadow("0x800000"), Ok(2048));
    assert_eq!(parse_shadow("148K"), Ok(37));
    for bad in ["36", "144K", "2K", "8G", "0", "5001K", "much"] {
        assert!(parse_shadow(bad).is_err(), "{bad}");
    }
}

#[test]
fn nested_paging_needs_a_processor_that_has_it() {
    let nested = GOOD.replace("policy =", "paging = \"nested\"\npolicy =");
    let system = System::parse("s", &nested).expect("good");
    assert_eq!(system.vms[0].paging, Paging::Nested);
    assert_eq!(system.machine.cpu, "max");
    let with = |cpu: &str| nested.replace("\"512M\"", &format!("\"512M\"\ncpu = \"{cpu}\""));
    let system = System::parse("s", &with("EPYC")).expect("good");
    assert_eq!(system.machine.cpu, "EPYC");
    let line = refusal(&with("qemu64"));
    assert!(
        line.starts_with("system.toml:4: `qemu64` has no nested paging, which VM `main` wants"),
        "{line}"
    );
}

#[test]
fn an_unknown_key_is_refused_with_its_line_and_the_known_ones() {
    let line = but("policy =", "polcy =");
    assert!(
        line.starts_with("system.toml:9: unknown key `polcy`: known here: "),
        "{line}"
    );
    assert!(line.contains("`policy`"), "{line}");
    assert!(but("[machine]", "[machin]").contains("unknown key `machin`"));
}

#[test]
fn a_missing_key_is_named() {
    let line = but("memory = \"256M\"\n", "");
    assert!(line.contains("`memory` is missing"), "{line}");
}

#[test]
fn overlapping_memory_is_refused() {
    let line = but(
        "initrd = \"a\"",
        "load = [{ file = \"a\", at = \"1M\" }, { file = \"b\", at = 0x100000 }]",
    );
    assert!(
        line.starts_with("system.toml:13: overlapping memory: `a`"),
        "{line}"
    );
}

#[test]
fn a_load_outside_memory_is_refused() {
    assert!(but("initrd = \"a\"", "load = [{ file = \"a\", at = \"256M\" }]").contains("outside"));
}

#[test]
fn more_memory_than_the_machine_has_is_refused() {
    let line = but("\"256M\"", "\"512M\"");
    assert!(
        line.starts_with("system.toml:7: more memory than the machine"),
        "{line}"
    );
    assert!(line.contains("raise `memory` in [machine]"), "{line}");
}

#[test]
fn two_vms_with_one_name_are_refused() {
    let line = refusal(&format!(
        "{GOOD}\n[[vm]]\nname = \"main\"\nmemory = \"32M\"\n"
    ));
    assert!(
        line.starts_with("system.toml:16: two VMs have the name `main`"),
        "{line}"
    );
    assert!(line.ends_with("system.toml:6"), "{line}");
}

#[test]
fn two_consoles_are_refused() {
    let more = "\n[[vm]]\nname = \"b\"\nmemory = \"32M\"\nconsole = true\n";
    let text = GOOD.replace("priority", "console = true\npriority");
    assert!(refusal(&format!("{text}{more}")).contains("two VMs have the console"));
    let system = System::parse("s", &format!("{GOOD}{more}")).expect("good");
    assert_eq!(system.console_vm(), 1);
}

#[test]
fn values_out_of_range_are_refused() {
    assert!(but("\"vtlb\"", "\"cached\"").contains("policy `cached` is not known: use vtlb"));
    assert!(but("policy", "paging = \"soft\"\npolicy").contains("use shadow or nested"));
    assert!(but("\"tag\"", "\"none\"").contains("use invlpga or tag"));
    assert!(but("90", "255").contains("use 1 to 200"));
    assert!(but("\"8M\"", "\"5K\"").contains("no number of pages"));
    assert!(but("\"8M\"", "4").contains("too small"));
    assert!(but("\"256M\"", "\"255M\"").contains("multiple of 2M"));
    assert!(but("\"256M\"", "\"4G\"").contains("3G at most"));
    assert!(but("\"256M\"", "\"lots\"").contains("expected an amount"));
    assert!(but("\"256M\"", "-1").contains("expected an amount"));
    assert!(but("\"main\"", "\"two words\"").contains("letters"));
    assert!(but("initrd", "kernel = \"k\"\ninitrd").contains("keep one"));
    assert!(but("[[vm]]", "[[vm]").starts_with("system.toml:5: "));
}

#[test]
fn a_file_without_a_vm_or_with_too_many_is_refused() {
    assert!(refusal("[machine]\nmemory = \"512M\"\n").contains("no VM"));
    let mut text = GOOD.replace("\"512M\"", "\"2G\"");
    for n in 0..4 {
        text += &format!("[[vm]]\nname = \"v{n}\"\nmemory = \"2M\"\n");
    }
    assert!(refusal(&text).contains("more than 4 VMs"));
}

proptest! {
    #[test]
    fn any_text_is_a_system_or_one_line(text in ".{0,200}") {
        if let Err(error) = System::parse("system.toml", &text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }

    #[test]
    fn any_damage_is_a_system_or_one_line(at in 0..GOOD.len(), length in 0usize..40, with in "[ -~\n]{0,6}") {
        let end = (at + length).min(GOOD.len());
        let text = format!("{}{with}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(error) = System::parse("system.toml", &text) {
            prop_assert!(!error.to_string().contains('\n'));
        }
    }
}
