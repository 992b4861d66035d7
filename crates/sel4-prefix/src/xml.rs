//! The interface files: invocations as seL4's stub generators and rust-sel4's build script read them, and the list of
//! system calls.
//!
//! Readers number labels by position and system calls downwards from −1, so the order is the content. No invocation has a
//! condition: what the kernel lacks is left out. System calls keep their numbers whether they exist or not, so they do.

use crate::interface::{Api, Method};
use crate::text::put;

/// One interface file.
#[must_use]
pub fn interfaces(api: &Api) -> String {
    let mut text = String::from("<?xml version=\"1.0\" ?>\n");
    line(&mut text, 0, &format!("<api name=\"{}\">", api.name));
    for (name, members) in api.structs {
        line(&mut text, 1, &format!("<struct name=\"{name}\">"));
        for member in *members {
            line(&mut text, 2, &format!("<member name=\"{member}\"/>"));
        }
        line(&mut text, 1, "</struct>");
    }
    for interface in api.interfaces {
        let name = interface.name;
        line(&mut text, 1, &format!("<interface name=\"{name}\">"));
        for method in interface.methods {
            write_method(&mut text, method);
        }
        line(&mut text, 1, "</interface>");
    }
    text.push_str("</api>\n");
    text
}

fn write_method(text: &mut String, method: &Method) {
    let (id, name) = (method.id, method.name);
    line(text, 2, &format!("<method id=\"{id}\" name=\"{name}\">"));
    line(text, 3, &format!("<brief>{}</brief>", method.brief));
    line(text, 3, "<description></description>");
    for parameter in method.parameters {
        let direction = if parameter.out { "out" } else { "in" };
        let (name, ty) = (parameter.name, parameter.ty.c());
        let param = format!("<param dir=\"{direction}\" name=\"{name}\" type=\"{ty}\"/>");
        line(text, 3, &param);
    }
    line(text, 2, "</method>");
}

/// The system calls of `groups`, which are in the order of their numbers.
#[must_use]
pub fn syscalls(groups: &[(&str, &[Block])]) -> String {
    let mut text = String::from("<?xml version=\"1.0\" ?>\n<syscalls>\n");
    for (group, blocks) in groups {
        line(&mut text, 1, &format!("<{group}>"));
        for block in *blocks {
            line(&mut text, 2, "<config>");
            if let Some(condition) = condition(block.needs) {
                line(&mut text, 3, &format!("<condition>{condition}</condition>"));
            }
            for name in block.names {
                line(&mut text, 3, &format!("<syscall name=\"{name}\"/>"));
            }
            line(&mut text, 2, "</config>");
        }
        line(&mut text, 1, &format!("</{group}>"));
    }
    text.push_str("</syscalls>\n");
    text
}

/// System calls that exist together.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// The options that all must be on.
    pub needs: &'static [&'static str],
    /// Their names.
    pub names: &'static [&'static str],
}

fn condition(options: &[&str]) -> Option<String> {
    let all: String = options
        .iter()
        .map(|option| format!("<config var=\"CONFIG_{option}\"/>"))
        .collect();
    match options {
        [] => None,
        [_] => Some(all),
        _ => Some(format!("<and>{all}</and>")),
    }
}

fn line(text: &mut String, depth: usize, content: &str) {
    put(text, &format!("{:1$}{content}", "", 4 * depth));
}
