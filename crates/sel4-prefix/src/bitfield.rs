//! Words cut into fields: the descriptions that upstream's bit-field generators read, and the C accessors they would make.
//!
//! A block's fields are listed from its highest bit down, as the descriptions have them; word 0 holds the lowest bits.

use crate::text::put;
use sel4_abi::fault;

/// A field, or a gap if it has no name.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: Option<&'static str>,
    /// Its width.
    pub bits: usize,
}

/// A structure of fields.
#[derive(Clone, Debug)]
pub struct Block {
    /// Its name.
    pub name: &'static str,
    /// Highest bits first.
    pub fields: Vec<Field>,
}

/// Structures of one size, told apart by a field that all have.
#[derive(Clone, Debug)]
pub struct Union {
    /// Its name.
    pub name: &'static str,
    /// The field.
    pub tag: &'static str,
    /// Structures with their value of the field.
    pub members: Vec<(Block, u64)>,
}

const WORD: usize = 64;
/// The field that says which fault it is.
const FAULT_TYPE: (&str, usize) = ("seL4_FaultType", 3);
/// Words of a fault: the longest message, and one with the type.
const FAULT_WORDS: usize = fault::UNKNOWN_SYSCALL_LENGTH + 1;

fn named(name: &'static str, bits: usize) -> Field {
    Field {
        name: Some(name),
        bits,
    }
}

fn gap(bits: usize) -> Field {
    Field { name: None, bits }
}

/// Words that both sides of a message read.
#[must_use]
pub fn shared() -> Vec<Block> {
    let block = |name, fields| Block { name, fields };
    vec![
        block(
            "seL4_MessageInfo",
            vec![
                named("label", 52),
                named("capsUnwrapped", 3),
                named("extraCaps", 2),
                named("length", 7),
            ],
        ),
        block(
            "seL4_CapRights",
            vec![
                gap(60),
                named("capAllowGrantReply", 1),
                named("capAllowGrant", 1),
                named("capAllowRead", 1),
                named("capAllowWrite", 1),
            ],
        ),
        block(
            "seL4_CNode_CapData",
            vec![named("guard", 58), named("guardSize", 6)],
        ),
    ]
}

/// Faults, with their words in message order.
#[must_use]
pub fn faults() -> Union {
    let members = [
        ("NullFault", fault::NULL, &[][..]),
        (
            "CapFault",
            fault::CAP_FAULT,
            &[
                "IP",
                "Addr",
                "InRecvPhase",
                "LookupFailureType",
                "MR4",
                "MR5",
                "MR6",
            ],
        ),
        (
            "UnknownSyscall",
            fault::UNKNOWN_SYSCALL,
            &[
                "RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "R8", "R9", "R10", "R11", "R12",
                "R13", "R14", "R15", "FaultIP", "RSP", "FLAGS", "Syscall",
            ],
        ),
        (
            "UserException",
            fault::USER_EXCEPTION,
            &["FaultIP", "Stack", "FLAGS", "Number", "Code"],
        ),
        ("Timeout", fault::TIMEOUT, &["data", "consumed"]),
        (
            "VMFault",
            fault::VM_FAULT,
            &["IP", "Addr", "PrefetchFault", "FSR"],
        ),
    ];
    Union {
        name: "seL4_Fault",
        tag: FAULT_TYPE.0,
        members: members
            .map(|(name, label, words)| (fault_block(name, words), label))
            .into(),
    }
}

fn fault_block(name: &'static str, words: &[&'static str]) -> Block {
    let unused = (FAULT_WORDS - 1 - words.len()) * WORD;
    let mut fields = Vec::new();
    if unused != 0 {
        fields.push(gap(unused));
    }
    fields.extend(words.iter().map(|word| named(word, WORD)));
    fields.extend([gap(WORD - FAULT_TYPE.1), named(FAULT_TYPE.0, FAULT_TYPE.1)]);
    Block { name, fields }
}

/// The words of the faults' names, in message order; the tag is not among them.
#[must_use]
pub fn fault_words(name: &str) -> Vec<&'static str> {
    faults()
        .members
        .iter()
        .filter(|(block, _)| block.name == name)
        .flat_map(|(block, _)| &block.fields)
        .filter_map(|field| field.name)
        .filter(|name| *name != FAULT_TYPE.0)
        .collect()
}

/// The description of blocks, without comments, which not every reader knows.
#[must_use]
pub fn describe(blocks: &[Block]) -> String {
    let mut text = String::from("base 64\n");
    for block in blocks {
        describe_block(&mut text, block);
    }
    text
}

/// The description of a union and its blocks.
#[must_use]
pub fn describe_union(union: &Union) -> String {
    let mut text = String::from("base 64\n");
    for (block, _) in &union.members {
        describe_block(&mut text, block);
    }
    put(
        &mut text,
        &format!("\ntagged_union {} {} {{", union.name, union.tag),
    );
    for (block, value) in &union.members {
        put(&mut text, &format!("    tag {} {value}", block.name));
    }
    put(&mut text, "}");
    text
}

fn describe_block(text: &mut String, block: &Block) {
    put(text, &format!("\nblock {} {{", block.name));
    for field in &block.fields {
        let bits = field.bits;
        match field.name {
            Some(name) => put(text, &format!("    field {name} {bits}")),
            None => put(text, &format!("    padding {bits}")),
        }
    }
    put(text, "}");
}

impl Block {
    /// Words it has.
    #[must_use]
    pub fn words(&self) -> usize {
        self.fields.iter().map(|field| field.bits).sum::<usize>() / WORD
    }

    /// Its fields with the position of their lowest bit.
    fn places(&self) -> Vec<(&'static str, usize, usize)> {
        let mut at = self.words() * WORD;
        let mut places = Vec::new();
        for field in &self.fields {
            at -= field.bits;
            if let Some(name) = field.name {
                places.push((name, at, field.bits));
            }
        }
        places
    }
}

/// C types and accessors of blocks.
#[must_use]
pub fn accessors(blocks: &[Block]) -> String {
    let mut text = head();
    for block in blocks {
        structure(&mut text, block.name, block.words());
        let places = block.places();
        constructor(&mut text, block.name, block.name, &places, None);
        for place in &places {
            access(&mut text, block.name, block.name, *place);
        }
    }
    text
}

/// C types and accessors of a union.
#[must_use]
pub fn union_accessors(union: &Union) -> String {
    let mut text = head();
    let name = union.name;
    structure(&mut text, name, FAULT_WORDS);
    put(&mut text, &format!("enum {name}_tag {{"));
    for (block, value) in &union.members {
        put(&mut text, &format!("    {name}_{} = {value},", block.name));
    }
    put(
        &mut text,
        &format!("}};\ntypedef enum {name}_tag {name}_tag_t;\n"),
    );
    getter(&mut text, name, name, (union.tag, 0, FAULT_TYPE.1));
    let tag = union.tag;
    put(
        &mut text,
        &format!(
            "LIBSEL4_INLINE_FUNC CONST int\n{name}_{tag}_equals({name}_t block, seL4_Uint64 tag)\n{{\n    return {name}_get_{tag}(block) == tag;\n}}\n"
        ),
    );
    for (block, value) in &union.members {
        let member = format!("{name}_{}", block.name);
        let mut places = block.places();
        places.retain(|place| place.0 != union.tag);
        constructor(&mut text, name, &member, &places, Some(*value));
        for place in places {
            access(&mut text, name, &member, place);
        }
    }
    text
}

fn head() -> String {
    "/* Written by Umbra's build. */\n\n#pragma once\n\n#include <sel4/config.h>\n#include <sel4/macros.h>\n#include <sel4/simple_types.h>\n\n".into()
}

fn structure(text: &mut String, name: &str, words: usize) {
    put(
        text,
        &format!(
            "struct {name} {{\n    seL4_Uint64 words[{words}];\n}};\ntypedef struct {name} {name}_t;\n"
        ),
    );
}

fn mask(bits: usize) -> u64 {
    u64::MAX >> (WORD - bits)
}

/// `NAME_new` and `NAME_ptr_new`; no field crosses a word.
fn constructor(
    text: &mut String,
    ty: &str,
    name: &str,
    places: &[(&str, usize, usize)],
    tag: Option<u64>,
) {
    let arguments: Vec<String> = places
        .iter()
        .map(|place| format!("seL4_Uint64 {}", place.0))
        .collect();
    let list = if arguments.is_empty() {
        "void".into()
    } else {
        arguments.join(", ")
    };
    put(
        text,
        &format!(
            "LIBSEL4_INLINE_FUNC CONST {ty}_t\n{name}_new({list})\n{{\n    {ty}_t block = {{{{0}}}};"
        ),
    );
    if let Some(tag) = tag {
        put(text, &format!("    block.words[0] = {tag};"));
    }
    for (field, at, bits) in places {
        let (word, shift) = (at / WORD, at % WORD);
        put(
            text,
            &format!(
                "    block.words[{word}] |= ({field} & {:#x}ull) << {shift};",
                mask(*bits)
            ),
        );
    }
    put(text, "    return block;\n}\n");
    let names: Vec<&str> = places.iter().map(|place| place.0).collect();
    let list: String = arguments.iter().map(|a| format!(", {a}")).collect();
    put(
        text,
        &format!(
            "LIBSEL4_INLINE_FUNC void\n{name}_ptr_new({ty}_t *block{list})\n{{\n    *block = {name}_new({});\n}}\n",
            names.join(", ")
        ),
    );
}

fn getter(text: &mut String, ty: &str, name: &str, (field, at, bits): (&str, usize, usize)) {
    let (word, shift, mask) = (at / WORD, at % WORD, mask(bits));
    put(
        text,
        &format!(
            "LIBSEL4_INLINE_FUNC CONST seL4_Uint64\n{name}_get_{field}({ty}_t block)\n{{\n    return (block.words[{word}] >> {shift}) & {mask:#x}ull;\n}}\n"
        ),
    );
    put(
        text,
        &format!(
            "LIBSEL4_INLINE_FUNC PURE seL4_Uint64\n{name}_ptr_get_{field}(const {ty}_t *block)\n{{\n    return (block->words[{word}] >> {shift}) & {mask:#x}ull;\n}}\n"
        ),
    );
}

fn access(text: &mut String, ty: &str, name: &str, place: (&str, usize, usize)) {
    getter(text, ty, name, place);
    let (field, at, bits) = place;
    let (word, shift, mask) = (at / WORD, at % WORD, mask(bits));
    put(
        text,
        &format!(
            "LIBSEL4_INLINE_FUNC void\n{name}_ptr_set_{field}({ty}_t *block, seL4_Uint64 value)\n{{\n    block->words[{word}] &= ~({mask:#x}ull << {shift});\n    block->words[{word}] |= (value & {mask:#x}ull) << {shift};\n}}\n"
        ),
    );
    put(
        text,
        &format!(
            "LIBSEL4_INLINE_FUNC CONST {ty}_t\n{name}_set_{field}({ty}_t block, seL4_Uint64 value)\n{{\n    {name}_ptr_set_{field}(&block, value);\n    return block;\n}}\n"
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use sel4_abi::Rights;
    use sel4_abi::message::MessageInfo;

    /// Puts values into a block's fields, as the accessors do.
    fn fill(block: &Block, values: &[u64]) -> u64 {
        let places = block.places();
        assert_eq!(places.len(), values.len());
        places
            .iter()
            .zip(values)
            .map(|((_, at, bits), value)| (value & mask(*bits)) << at)
            .sum()
    }

    #[test]
    fn the_message_word_is_the_kernels() {
        let values = [0x10_0000_0001, 5, 2, 100];
        let word = MessageInfo::new(values[0], values[1], values[2], values[3]).word();
        assert_eq!(fill(&shared()[0], &values), word);
    }

    #[test]
    fn the_rights_word_is_the_kernels() {
        let each = [
            Rights::GRANT_REPLY,
            Rights::GRANT,
            Rights::READ,
            Rights::WRITE,
        ];
        for (n, right) in each.into_iter().enumerate() {
            let mut values = [0; 4];
            values[n] = 1;
            assert_eq!(fill(&shared()[1], &values), right);
        }
    }

    #[test]
    fn no_field_crosses_a_word_and_all_faults_have_one_size() {
        let union = faults();
        let shared = shared();
        let blocks = union.members.iter().map(|(block, _)| block);
        for block in shared.iter().chain(blocks.clone()) {
            assert!(
                block
                    .places()
                    .iter()
                    .all(|(_, at, bits)| at / WORD == (at + bits - 1) / WORD)
            );
        }
        assert!(blocks.clone().all(|block| block.words() == FAULT_WORDS));
    }

    #[test]
    fn faults_have_as_many_words_as_the_kernel_sends() {
        assert_eq!(fault_words("VMFault").len(), fault::VM_FAULT_LENGTH);
        let exception = fault_words("UserException").len();
        assert_eq!(exception, fault::USER_EXCEPTION_LENGTH);
        let unknown = fault_words("UnknownSyscall").len();
        assert_eq!(unknown, fault::UNKNOWN_SYSCALL_LENGTH);
        assert!(
            faults()
                .members
                .iter()
                .all(|(_, label)| label >> FAULT_TYPE.1 == 0)
        );
    }
}
