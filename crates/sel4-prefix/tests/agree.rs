//! The prefix, read as its readers do: the XML, the JSON and the bit-field descriptions by independent parsers, and what
//! they say compared with the kernel's ABI and with the crates of this workspace.

use std::collections::BTreeMap;

use roxmltree::{Document, Node};
use sel4::sys::label;
use sel4_config_data::{Value, consts};
use sel4_prefix::{Build, INCLUDE, files, tables};
use serde_json::{Map, Value as Json};

fn text(path: &str) -> String {
    files(Build::Debug)
        .into_iter()
        .find(|file| file.path == format!("{INCLUDE}/{path}"))
        .unwrap_or_else(|| panic!("{path} is there"))
        .text
}

fn configuration() -> Map<String, Json> {
    let mut all = Map::new();
    for folder in ["kernel", "sel4"] {
        let json = text(&format!("{folder}/gen_config.json"));
        let Json::Object(options) = serde_json::from_str(&json).expect("JSON") else {
            panic!("an object")
        };
        for (name, value) in options {
            assert!(all.insert(name.clone(), value).is_none(), "{name} twice");
        }
    }
    all
}

fn elements<'a, 'b>(node: Node<'a, 'b>, name: &'static str) -> impl Iterator<Item = Node<'a, 'b>> {
    node.children()
        .filter(move |child| child.has_tag_name(name))
}

fn attribute<'a>(node: Node<'a, '_>, name: &str) -> &'a str {
    node.attribute(name)
        .unwrap_or_else(|| panic!("{name} of {node:?}"))
}

/// The files in the order that numbers the labels.
const INTERFACES: &[&str] = &[
    "interfaces/object-api.xml",
    "interfaces/object-api-sel4-arch.xml",
    "interfaces/object-api-arch.xml",
];

/// A name without underscores and case, so that names of both styles compare; x86_64's prefixes are the same to us.
fn plain(name: &str) -> String {
    let name: String = name.chars().filter(|c| *c != '_').collect();
    name.to_lowercase()
}

#[test]
fn every_label_is_the_kernels_and_none_is_missing() {
    let mut ids = Vec::new();
    for path in INTERFACES {
        let text = text(path);
        let document = Document::parse(&text).expect("XML");
        for interface in elements(document.root_element(), "interface") {
            for method in elements(interface, "method") {
                assert!(elements(method, "condition").next().is_none());
                ids.push(attribute(method, "id").to_owned());
            }
        }
    }
    let standard: Vec<(&str, u64)> = label::ALL
        .iter()
        .copied()
        .filter(|(_, number)| *number < label::UMBRA_FIRST)
        .collect();
    assert_eq!(ids.len(), standard.len());
    for (n, (id, (name, number))) in ids.iter().zip(&standard).enumerate() {
        // Readers count from 1 in the order of the files.
        assert_eq!(n as u64 + 1, *number, "{id}");
        let name = match *name {
            "IRQ_ACK" => "IRQ_ACK_IRQ",
            "IRQ_SET_HANDLER" => "IRQ_SET_IRQ_HANDLER",
            "IRQ_CLEAR_HANDLER" => "IRQ_CLEAR_IRQ_HANDLER",
            name => name,
        };
        assert_eq!(plain(id), plain(name));
    }
}

#[test]
fn the_label_headers_say_what_the_interface_files_say() {
    let headers = [
        "sel4/invocation.h",
        "sel4/sel4_arch/invocation.h",
        "sel4/arch/invocation.h",
    ];
    let mut next = 1;
    for (path, header) in INTERFACES.iter().zip(headers) {
        let (xml, header) = (text(path), text(header));
        let document = Document::parse(&xml).expect("XML");
        for method in document
            .descendants()
            .filter(|node| node.has_tag_name("method"))
        {
            let line = format!("    {} = {next},", attribute(method, "id"));
            assert!(header.lines().any(|l| l == line), "{line}");
            next += 1;
        }
    }
}

#[test]
fn arguments_have_types_that_upstreams_readers_know() {
    const VALUES: &[&str] = &[
        "seL4_Uint8",
        "seL4_Uint16",
        "seL4_Uint32",
        "seL4_Time",
        "seL4_Word",
        "seL4_Bool",
        "seL4_CapRights_t",
        "seL4_X86_VMAttributes",
        "seL4_UserContext",
    ];
    const CAPS: &[&str] = &[
        "seL4_CPtr",
        "seL4_CNode",
        "seL4_TCB",
        "seL4_Untyped",
        "seL4_SchedContext",
    ];
    for path in INTERFACES {
        let xml = text(path);
        let document = Document::parse(&xml).expect("XML");
        for param in document
            .descendants()
            .filter(|node| node.has_tag_name("param"))
        {
            let (direction, ty) = (attribute(param, "dir"), attribute(param, "type"));
            match direction {
                "in" => assert!(VALUES.contains(&ty) || CAPS.contains(&ty), "{ty}"),
                "out" => assert!(VALUES.contains(&ty), "{ty}"),
                other => panic!("{other}"),
            }
            assert!(!attribute(param, "name").is_empty());
        }
    }
}

#[test]
fn the_register_frame_is_the_kernels() {
    let xml = text("interfaces/object-api-sel4-arch.xml");
    let document = Document::parse(&xml).expect("XML");
    let structure = elements(document.root_element(), "struct")
        .next()
        .expect("one");
    assert_eq!(attribute(structure, "name"), "seL4_UserContext");
    let members: Vec<&str> = elements(structure, "member")
        .map(|m| attribute(m, "name"))
        .collect();
    assert_eq!(members.len(), sel4::sys::USER_CONTEXT_WORDS);
    assert_eq!(
        (members[0], members[8], members[19]),
        ("rip", "rdi", "gs_base")
    );
}

/// As rust-sel4 and seL4's generator number them: every name takes a number, whether the call exists or not.
#[test]
fn system_calls_have_the_kernels_numbers() {
    let xml = text("api/syscall.xml");
    let document = Document::parse(&xml).expect("XML");
    let options = configuration();
    let on = |name: &str| options[name].as_bool().expect("a flag");
    let (mut number, mut exist) = (-1, BTreeMap::new());
    for group in ["api-mcs", "debug"] {
        let group = elements(document.root_element(), group)
            .next()
            .expect("one");
        for block in elements(group, "config") {
            let needed: Vec<&str> = block
                .descendants()
                .filter(|node| node.attribute("var").is_some())
                .map(|node| {
                    attribute(node, "var")
                        .strip_prefix("CONFIG_")
                        .expect("an option")
                })
                .collect();
            for call in elements(block, "syscall") {
                if needed.iter().all(|name| on(name)) {
                    exist.insert(attribute(call, "name").to_owned(), number);
                }
                number -= 1;
            }
        }
    }
    let kernel: BTreeMap<String, i64> = tables::NUMBERS
        .iter()
        .map(|(n, i)| ((*n).to_owned(), *i))
        .collect();
    assert_eq!(exist, kernel);
}

#[test]
fn conditions_have_one_child_and_no_spaces() {
    let xml = text("api/syscall.xml");
    let document = Document::parse(&xml).expect("XML");
    for condition in document
        .descendants()
        .filter(|node| node.has_tag_name("condition"))
    {
        assert_eq!(condition.children().count(), 1);
    }
}

#[test]
fn the_configuration_is_the_one_our_crates_are_built_with() {
    let options = configuration();
    for (name, value) in consts::ALL {
        match value {
            Value::Flag(flag) => assert_eq!(options[*name], Json::Bool(*flag), "{name}"),
            Value::Number(number) => {
                assert_eq!(options[*name], Json::String(number.to_string()), "{name}");
            }
            Value::Text(text) => assert_eq!(options[*name], Json::String((*text).into()), "{name}"),
        }
    }
    let number = |name: &str| {
        options[name]
            .as_str()
            .expect("a text")
            .parse::<u64>()
            .expect("a number")
    };
    assert_eq!(
        number("ROOT_CNODE_SIZE_BITS"),
        sel4::sys::boot_info::ROOT_CNODE_BITS
    );
    assert_eq!(
        number("MAX_NUM_BOOTINFO_UNTYPED_CAPS"),
        sel4::sys::boot_info::MAX_UNTYPED as u64
    );
    assert_eq!(
        number("RETYPE_FAN_OUT_LIMIT"),
        sel4::sys::RETYPE_FAN_OUT_LIMIT
    );
    assert_eq!(number("NUM_PRIORITIES"), sel4::sys::MAX_PRIORITY + 1);
}

#[test]
fn the_configuration_answers_every_question_of_rust_sel4() {
    let options = configuration();
    for name in [
        "ARCH_AARCH32",
        "ARCH_AARCH64",
        "ARCH_IA32",
        "ARCH_RISCV32",
        "ARCH_RISCV64",
        "ARCH_X86_64",
        "BENCHMARK_TRACK_UTILISATION",
        "DEBUG_BUILD",
        "ENABLE_BENCHMARKS",
        "ENABLE_SMP_SUPPORT",
        "HARDWARE_DEBUG_API",
        "HUGE_PAGE",
        "IOMMU",
        "KERNEL_INVOCATION_REPORT_ERROR_IPC",
        "KERNEL_MCS",
        "PRINTING",
        "SET_TLS_BASE_SELF",
        "SYSCALL",
        "VTX",
    ] {
        assert!(options[name].is_boolean(), "{name}");
    }
    for name in ["MAX_NUM_NODES", "PLAT", "SEL4_ARCH", "WORD_SIZE"] {
        assert!(options[name].is_string(), "{name}");
    }
}

#[test]
fn the_c_configuration_defines_what_is_on() {
    let options = configuration();
    let headers = text("kernel/gen_config.h") + &text("sel4/gen_config.h");
    let defined: BTreeMap<&str, &str> = headers
        .lines()
        .filter_map(|line| {
            line.strip_prefix("#define CONFIG_")
                .and_then(|l| l.split_once(' '))
        })
        .collect();
    for (name, value) in &options {
        let expected = match value {
            Json::Bool(true) => Some("1"),
            Json::Bool(false) => None,
            other => other.as_str(),
        };
        assert_eq!(defined.get(&**name).copied(), expected, "{name}");
    }
    assert!(defined.keys().all(|name| options.contains_key(*name)));
}

/// The words of a description, read by the grammar that rust-sel4's parser has: no comments, decimal numbers.
fn tokens(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[test]
fn bit_field_descriptions_are_read_to_their_end() {
    for path in ["sel4/shared_types.pbf", "sel4/sel4_arch/types.pbf"] {
        let text = text(path);
        let tokens = tokens(&text);
        assert_eq!(&tokens[..2], ["base", "64"]);
        let mut at = 2;
        let mut sizes = BTreeMap::new();
        while at < tokens.len() {
            match tokens[at] {
                "block" => {
                    let name = tokens[at + 1];
                    assert_eq!(tokens[at + 2], "{");
                    at += 3;
                    let mut bits = 0u64;
                    while tokens[at] != "}" {
                        let named = tokens[at] == "field";
                        assert!(named || tokens[at] == "padding");
                        at += 1 + usize::from(named);
                        bits += tokens[at].parse::<u64>().expect("a width");
                        at += 1;
                    }
                    at += 1;
                    assert_eq!(bits % 64, 0, "{name}");
                    sizes.insert(name, bits);
                }
                "tagged_union" => {
                    assert_eq!(
                        &tokens[at + 1..at + 4],
                        ["seL4_Fault", "seL4_FaultType", "{"]
                    );
                    at += 4;
                    while tokens[at] != "}" {
                        assert_eq!(tokens[at], "tag");
                        assert_eq!(sizes[tokens[at + 1]], 20 * 64);
                        tokens[at + 2].parse::<u64>().expect("a value");
                        at += 3;
                    }
                    at += 1;
                }
                other => panic!("{path}: {other}"),
            }
        }
    }
}

#[test]
fn fault_labels_are_the_kernels() {
    use sel4::sys::fault;
    let text = text("sel4/sel4_arch/types.pbf");
    let tokens = tokens(&text);
    let tags: BTreeMap<&str, u64> = tokens
        .windows(3)
        .filter(|words| words[0] == "tag")
        .map(|words| (words[1], words[2].parse().expect("a value")))
        .collect();
    let expected = [
        ("NullFault", fault::NULL),
        ("CapFault", fault::CAP_FAULT),
        ("UnknownSyscall", fault::UNKNOWN_SYSCALL),
        ("UserException", fault::USER_EXCEPTION),
        ("Timeout", fault::TIMEOUT),
        ("VMFault", fault::VM_FAULT),
    ];
    assert_eq!(tags, expected.into());
}

/// Names that rust-sel4 takes from the headers for this configuration: constants, enumerations, structures, types.
const NAMES: &[&str] = &[
    "IRQ_OFFSET",
    "SEL4_BOOTINFO_HEADER_FDT",
    "SEL4_BOOTINFO_HEADER_PADDING",
    "SEL4_MAPPING_LOOKUP_LEVEL",
    "SEL4_MAPPING_LOOKUP_NO_EPTPD",
    "SEL4_MAPPING_LOOKUP_NO_PD",
    "SEL4_MAPPING_LOOKUP_NO_PDPT",
    "SEL4_MAPPING_LOOKUP_NO_PT",
    "VECTOR_MAX",
    "VECTOR_MIN",
    "_mode_object",
    "_object",
    "api_object",
    "priorityConstants",
    "seL4_ASIDPoolBits",
    "seL4_BadgeBits",
    "seL4_BootInfo",
    "seL4_BootInfoHeader",
    "seL4_BootInfoID",
    "seL4_CPtr",
    "seL4_CapFault_BitsLeft",
    "seL4_CapFault_GuardMismatch_BitsFound",
    "seL4_CapFault_GuardMismatch_GuardFound",
    "seL4_CapFault_LookupFailureType",
    "seL4_CapFault_Msg",
    "seL4_CapInitThreadSC",
    "seL4_CapRightsBits",
    "seL4_CapTableObject",
    "seL4_DataFault",
    "seL4_EndpointBits",
    "seL4_EndpointObject",
    "seL4_Error",
    "seL4_FastMessageRegisters",
    "seL4_HugePageBits",
    "seL4_IPCBuffer_",
    "seL4_InstructionFault",
    "seL4_LargePageBits",
    "seL4_LookupFailureType",
    "seL4_MaxUntypedBits",
    "seL4_MinSchedContextBits",
    "seL4_MsgLimits",
    "seL4_MsgMaxLength",
    "seL4_NoError",
    "seL4_NodeId",
    "seL4_NotificationBits",
    "seL4_NotificationObject",
    "seL4_PDPTIndexBits",
    "seL4_PML4Bits",
    "seL4_PML4IndexBits",
    "seL4_PageBits",
    "seL4_PageDirIndexBits",
    "seL4_PageTableIndexBits",
    "seL4_ReplyBits",
    "seL4_ReplyObject",
    "seL4_RootCNodeCapSlots",
    "seL4_SchedContextFlag",
    "seL4_SchedContextObject",
    "seL4_SlotBits",
    "seL4_SlotRegion",
    "seL4_TCBBits",
    "seL4_TCBFlag",
    "seL4_TCBFlag_fpuDisabled",
    "seL4_TCBObject",
    "seL4_Time",
    "seL4_TimeoutReply_Msg",
    "seL4_Timeout_Msg",
    "seL4_UnknownSyscall_Length",
    "seL4_UnknownSyscall_Msg",
    "seL4_UnknownSyscall_SP",
    "seL4_UntypedDesc",
    "seL4_UntypedObject",
    "seL4_UserContext_",
    "seL4_UserException_FLAGS",
    "seL4_UserException_Length",
    "seL4_UserException_Msg",
    "seL4_UserException_SP",
    "seL4_UserTop",
    "seL4_VMFault_FSR",
    "seL4_VMFault_Length",
    "seL4_VMFault_Msg",
    "seL4_VMFault_PrefetchFault",
    "seL4_WordSizeBits",
    "seL4_X64_HugePageObject",
    "seL4_X64_PML4Object",
    "seL4_X86_4K",
    "seL4_X86_CacheDisabled",
    "seL4_X86_Default_VMAttributes",
    "seL4_X86_EPT_Uncacheable",
    "seL4_X86_EPT_VMAttributes",
    "seL4_X86_LargePageObject",
    "seL4_X86_PDPTObject",
    "seL4_X86_PageDirectoryObject",
    "seL4_X86_PageTableObject",
    "seL4_X86_VMAttributes",
];

#[test]
fn the_headers_have_the_names_that_rust_sel4_asks_for() {
    let headers: String = files(Build::Debug)
        .into_iter()
        .filter(|file| file.path.ends_with(".h"))
        .map(|file| file.text)
        .collect();
    let words: std::collections::BTreeSet<&str> = headers
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    for name in NAMES {
        assert!(words.contains(name), "{name}");
    }
}

/// The headers that a header includes, itself among them.
fn reached(from: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut next: Vec<String> = from.iter().map(|&path| path.to_owned()).collect();
    while let Some(path) = next.pop() {
        if found.contains_key(&path) {
            continue;
        }
        let text = text(&path);
        let included = text
            .lines()
            .filter_map(|line| line.strip_prefix("#include <")?.strip_suffix('>'));
        next.extend(included.map(str::to_owned));
        found.insert(path, text);
    }
    found
}

/// rust-sel4 leaves out every name that ends in `_t` and makes those of bit fields itself. A structure with a member of
/// another such type would name what is not there.
#[test]
fn structures_that_rust_sel4_reads_have_no_members_of_types_it_leaves_out() {
    let wrapper = [
        "sel4/sel4.h",
        "sel4/arch/mapping.h",
        "sel4/sel4_arch/mapping.h",
    ];
    let made = [
        "seL4_MessageInfo_t",
        "seL4_CapRights_t",
        "seL4_CNode_CapData_t",
        "seL4_Fault_t",
    ];
    let headers = reached(&wrapper);
    assert!(headers.len() > 30, "{:?}", headers.keys());
    for (path, text) in headers {
        let mut inside = false;
        for line in text.lines() {
            inside |= line.contains("struct") && line.ends_with('{');
            inside &= !line.starts_with('}');
            let first = line.trim_start().trim_start_matches("const ");
            let ty = first
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .next();
            let left_out = ty.is_some_and(|ty| ty.ends_with("_t") && !made.contains(&ty));
            assert!(!(inside && left_out), "{path}: {line}");
        }
    }
}

#[test]
fn what_the_sel4_crate_says_it_mirrors_is_in_the_headers() {
    let sources = concat!(env!("CARGO_MANIFEST_DIR"), "/../sel4/src");
    let mut named = Vec::new();
    let mut folders = vec![std::path::PathBuf::from(sources)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).expect("a source file");
            let names = text
                .split("libsel4: `")
                .skip(1)
                .filter_map(|rest| rest.split('`').next());
            named.extend(names.map(str::to_owned));
        }
    }
    // Those of the page tables are put together by a macro.
    named.retain(|name| !name.contains('"'));
    assert!(named.len() > 80, "only {} names", named.len());
    let headers: String = files(Build::Debug)
        .into_iter()
        .map(|file| file.text)
        .collect();
    let words: std::collections::BTreeSet<&str> = headers
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .collect();
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !words.contains(name.as_str()))
        .collect();
    assert!(missing.is_empty(), "not in the headers: {missing:?}");
}
