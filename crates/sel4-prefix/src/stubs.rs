//! `interfaces/sel4_client.h`: one C function for each invocation.
//!
//! The first four words travel in registers, the rest through the IPC buffer. Narrow arguments share a word as far as each
//! stays aligned to its width, in the order of the table.

use sel4_abi::MSG_REGISTERS;

use crate::interface::{self, CONTEXT, Interface, Method, Parameter, Type};
use crate::text::put;

const HEAD: &str = "/* One function for each invocation. Written by Umbra's build. */

#pragma once

#include <sel4/functions.h>
#include <sel4/syscalls.h>
#include <sel4/invocation.h>
#include <sel4/sel4_arch/invocation.h>
#include <sel4/arch/invocation.h>

";

/// The header.
#[must_use]
pub fn header() -> String {
    let mut text = String::from(HEAD);
    for (interface, method) in interface::all() {
        result_type(&mut text, interface, method);
        function(&mut text, interface, method);
    }
    text
}

/// A word of a message: what is put into it, as C, or which values are taken out of it.
struct Place<'a> {
    word: usize,
    shift: usize,
    parameter: &'a Parameter,
}

/// Where each argument (or each returned value) lies, and how many words there are.
fn layout(parameters: &[Parameter], out: bool) -> (Vec<Place<'_>>, usize) {
    let mut at = 0usize;
    let mut places = Vec::new();
    for parameter in parameters.iter().filter(|p| p.out == out) {
        let bits = parameter.ty.bits();
        if bits == 0 {
            continue;
        }
        at = at.next_multiple_of(bits.min(64));
        places.push(Place {
            word: at / 64,
            shift: at % 64,
            parameter,
        });
        at += bits;
    }
    (places, at.div_ceil(64))
}

/// Message words that a method sends, and capabilities that go with it.
#[must_use]
pub fn lengths(method: &Method) -> (usize, usize) {
    let caps = method
        .parameters
        .iter()
        .filter(|p| matches!(p.ty, Type::Cap(_)))
        .count();
    (layout(method.parameters, false).1, caps)
}

/// The values that come back in a structure.
fn returned(method: &Method) -> impl Iterator<Item = &Parameter> {
    method
        .parameters
        .iter()
        .filter(|p| p.out && p.ty != Type::Context)
}

fn result_type(text: &mut String, interface: &Interface, method: &Method) {
    if returned(method).next().is_none() {
        return;
    }
    let name = format!("{}_{}", interface.name, method.name);
    put(text, &format!("struct {name} {{\n    int error;"));
    for parameter in returned(method) {
        put(
            text,
            &format!("    {} {};", parameter.ty.c(), parameter.name),
        );
    }
    put(text, &format!("}};\ntypedef struct {name} {name}_t;\n"));
}

fn function(text: &mut String, interface: &Interface, method: &Method) {
    let name = format!("{}_{}", interface.name, method.name);
    let structured = returned(method).next().is_some();
    let result = if structured {
        format!("{name}_t")
    } else {
        "seL4_Error".into()
    };
    let mut arguments = vec![format!("{} _service", interface.name)];
    for parameter in method.parameters {
        let (ty, name) = (parameter.ty.c(), parameter.name);
        match (parameter.ty, parameter.out) {
            (Type::Context, _) => arguments.push(format!("{ty} *{name}")),
            (_, false) => arguments.push(format!("{ty} {name}")),
            (_, true) => {}
        }
    }
    put(text, &format!("/* {} */", method.brief));
    let arguments = arguments.join(", ");
    put(
        text,
        &format!("LIBSEL4_INLINE {result}\n{name}({arguments})\n{{"),
    );
    send(text, method);
    receive(text, method, structured.then_some(&*name));
    put(text, "}\n");
}

/// What goes into each word.
fn words(method: &Method) -> Vec<String> {
    let (places, count) = layout(method.parameters, false);
    let mut words: Vec<Vec<String>> = vec![Vec::new(); count];
    for place in &places {
        let name = place.parameter.name;
        match place.parameter.ty {
            Type::Context => {
                for (n, register) in CONTEXT.iter().enumerate() {
                    words[place.word + n].push(format!("{name}->{register}"));
                }
            }
            ty => words[place.word].push(value(name, ty, place.shift)),
        }
    }
    words.into_iter().map(|parts| parts.join(" | ")).collect()
}

fn value(name: &str, ty: Type, shift: usize) -> String {
    let word = match ty {
        Type::Rights => format!("{name}.words[0]"),
        Type::Word | Type::Time | Type::Attributes => name.to_owned(),
        Type::Bool => format!("((seL4_Word){name} & 1)"),
        _ => format!("(seL4_Word){name}"),
    };
    if shift == 0 {
        word
    } else {
        format!("{word} << {shift}")
    }
}

fn send(text: &mut String, method: &Method) {
    let (length, caps) = lengths(method);
    let id = method.id;
    put(
        text,
        &format!("    seL4_MessageInfo_t tag = seL4_MessageInfo_new({id}, 0, {caps}, {length});"),
    );
    let words = words(method);
    for register in 0..MSG_REGISTERS {
        let word = words.get(register).map_or("0", String::as_str);
        put(text, &format!("    seL4_Word mr{register} = {word};"));
    }
    let caps = method
        .parameters
        .iter()
        .filter(|p| matches!(p.ty, Type::Cap(_)));
    for (n, parameter) in caps.enumerate() {
        put(text, &format!("    seL4_SetCap({n}, {});", parameter.name));
    }
    for (n, word) in words.iter().enumerate().skip(MSG_REGISTERS) {
        put(text, &format!("    seL4_SetMR({n}, {word});"));
    }
    put(
        text,
        "    tag = seL4_CallWithMRs(_service, tag, &mr0, &mr1, &mr2, &mr3);",
    );
}

fn receive(text: &mut String, method: &Method, structure: Option<&str>) {
    match structure {
        Some(name) => {
            // A zero for each member, because C++ may warn of those that have none.
            let zeros = vec!["0"; 1 + returned(method).count()].join(", ");
            put(text, &format!("    {name}_t result = {{{zeros}}};"));
            put(
                text,
                "    result.error = (int)seL4_MessageInfo_get_label(tag);",
            );
            put(text, "    if (result.error != seL4_NoError) {");
        }
        None => {
            put(
                text,
                "    seL4_Error result = (seL4_Error)seL4_MessageInfo_get_label(tag);",
            );
            put(text, "    if (result != seL4_NoError) {");
        }
    }
    // Whoever asks for the error's words finds them where a message's words are.
    for register in 0..MSG_REGISTERS {
        put(
            text,
            &format!("        seL4_SetMR({register}, mr{register});"),
        );
    }
    put(text, "        return result;\n    }");
    for place in layout(method.parameters, true).0 {
        let name = place.parameter.name;
        match place.parameter.ty {
            Type::Context => {
                for (n, register) in CONTEXT.iter().enumerate() {
                    let word = received(place.word + n);
                    put(text, &format!("    {name}->{register} = {word};"));
                }
            }
            ty => {
                let (word, c) = (received(place.word), ty.c());
                put(text, &format!("    result.{name} = ({c}){word};"));
            }
        }
    }
    put(text, "    return result;");
}

fn received(word: usize) -> String {
    if word < MSG_REGISTERS {
        format!("mr{word}")
    } else {
        format!("seL4_GetMR({word})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(id: &str) -> &'static Method {
        interface::all()
            .map(|(_, method)| method)
            .find(|method| method.id == id)
            .expect("a method")
    }

    #[test]
    fn narrow_arguments_share_a_word() {
        assert_eq!(
            words(find("TCBReadRegisters")),
            [
                "((seL4_Word)suspend_source & 1) | (seL4_Word)arch_flags << 8",
                "count"
            ]
        );
        assert_eq!(
            lengths(find("TCBCopyRegisters")),
            (1, 1),
            "four flags and a byte"
        );
        assert_eq!(lengths(find("TCBWriteRegisters")), (22, 0));
    }

    #[test]
    fn a_narrow_argument_before_a_word_has_its_own() {
        assert_eq!(
            words(find("CNodeCopy")),
            [
                "dest_index",
                "(seL4_Word)dest_depth",
                "src_index",
                "(seL4_Word)src_depth",
                "rights.words[0]"
            ]
        );
    }

    #[test]
    fn messages_are_as_long_as_the_kernel_wants_them() {
        // Words and capabilities each operation needs, as its page in docs/objects says.
        for (id, needs) in [
            ("UntypedRetype", (6, 1)),
            ("TCBConfigure", (3, 3)),
            ("TCBSetSchedParams", (2, 3)),
            ("TCBSetSpace", (2, 3)),
            ("CNodeMint", (6, 1)),
            ("CNodeRotate", (8, 2)),
            ("SchedControlConfigureFlags", (5, 1)),
            ("X86PageMap", (3, 1)),
            ("X86PDPTMap", (2, 1)),
            ("X86ASIDControlMakePool", (2, 2)),
            ("X86IOPortControlIssue", (4, 1)),
            ("X86IRQIssueIRQHandlerIOAPIC", (7, 1)),
            ("X86IOPortOut32", (2, 0)),
            ("SchedContextBind", (0, 1)),
        ] {
            assert_eq!(lengths(find(id)), needs, "{id}");
        }
    }
}
