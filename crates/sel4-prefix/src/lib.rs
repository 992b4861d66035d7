//! Umbra's install prefix: the files that programs, C libraries and Rust crates written for seL4 (x86_64, PC, MCS, one
//! processor) are built against, in the places where seL4's own build puts them.
//!
//! | file | read by |
//! | --- | --- |
//! | `libsel4/include/**.h` | C programs and libraries; rust-sel4's bindings |
//! | `libsel4/include/{kernel,sel4}/gen_config.json` | rust-sel4's configuration |
//! | `libsel4/include/interfaces/*.xml`, `api/syscall.xml` | generators of stubs and labels |
//! | `libsel4/include/**.pbf` (and the same with comments: `.bf`) | generators of bit-field accessors |
//! | `libsel4/src/sel4_bootinfo.c` | linked once into each C program |
//! | `bin/kernel.elf` | whoever boots it |
//! | `support/platform_gen.yaml` | tools that ask for memory and devices |
//!
//! The build writes two: one for the kernel with debug system calls, one for the kernel without, as seL4's own build would
//! with `KernelDebugBuild` and `KernelPrinting` on or off.
//!
//! What is checked: the XML, JSON and bit-field files are read back as rust-sel4's build scripts and seL4's generators read
//! them (element and attribute names, the grammar without comments, label and call numbers, conditions that name known
//! options), the headers have every name that rust-sel4 takes from them and no structure that its header reader would leave
//! half (`tests/agree.rs`). gcc and g++ take each header by itself and find every name in them that seL4's libraries and tests
//! use (`tests/compile.rs`), and gcc compiles a root task against them (`tests/c_root.rs` of the root package). By hand, once:
//! bindgen 0.72 with rust-sel4's settings reads the headers, and what comes out compiles. rust-sel4 itself and seL4's
//! libraries have not been built: they are in no package registry.
//!
//! Every number comes from the crate `sel4-abi`, every option it has from `sel4-config-data`; the headers in `headers/` are
//! written with places for them.
#![forbid(unsafe_code)]

pub mod bitfield;
pub mod config;
pub mod interface;
pub mod stubs;
pub mod tables;
mod text;
pub mod xml;

use std::fs;
use std::io;
use std::path::Path;

pub use config::Build;

/// Where headers are.
pub const INCLUDE: &str = "libsel4/include";

/// A file of the prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct File {
    /// Its place, relative to the prefix.
    pub path: String,
    /// What is in it.
    pub text: String,
}

macro_rules! templates {
    ($($path:literal),* $(,)?) => {
        /// Headers with places `{{NAME}}` to be filled.
        const TEMPLATES: &[(&str, &str)] =
            &[$(($path, include_str!(concat!("../headers/", $path)))),*];
    };
}

templates! {
    "autoconf.h",
    "sel4/arch/bootinfo_types.h",
    "sel4/arch/constants.h",
    "sel4/arch/functions.h",
    "sel4/arch/mapping.h",
    "sel4/arch/objecttype.h",
    "sel4/arch/simple_types.h",
    "sel4/arch/syscalls.h",
    "sel4/arch/types.h",
    "sel4/assert.h",
    "sel4/benchmark_track_types.h",
    "sel4/benchmark_tracepoints_types.h",
    "sel4/benchmark_utilisation_types.h",
    "sel4/bootinfo.h",
    "sel4/bootinfo_types.h",
    "sel4/config.h",
    "sel4/constants.h",
    "sel4/debug_assert.h",
    "sel4/deprecated.h",
    "sel4/errors.h",
    "sel4/faults.h",
    "sel4/functions.h",
    "sel4/macros.h",
    "sel4/mode/types.h",
    "sel4/objecttype.h",
    "sel4/plat/api/constants.h",
    "sel4/sel4.h",
    "sel4/sel4_arch/constants.h",
    "sel4/sel4_arch/faults.h",
    "sel4/sel4_arch/functions.h",
    "sel4/sel4_arch/mapping.h",
    "sel4/sel4_arch/objecttype.h",
    "sel4/sel4_arch/simple_types.h",
    "sel4/sel4_arch/syscalls.h",
    "sel4/sel4_arch/syscalls_syscall.h",
    "sel4/sel4_arch/types.h",
    "sel4/shared_types.h",
    "sel4/simple_types.h",
    "sel4/syscalls.h",
    "sel4/syscalls_mcs.h",
    "sel4/types.h",
    "sel4/virtual_client.h",
    "umbra/bootinfo_types.h",
    "umbra/objecttype.h",
}

/// Every file of text, for a kernel of this kind.
#[must_use]
pub fn files(build: Build) -> Vec<File> {
    let mut files = Vec::new();
    let places = tables::places();
    for (path, template) in TEMPLATES {
        include(&mut files, path, fill(template, &places));
    }
    configuration(&mut files, build);
    descriptions(&mut files);
    let labels = [
        "sel4/invocation.h",
        "sel4/sel4_arch/invocation.h",
        "sel4/arch/invocation.h",
    ];
    for (index, path) in labels.into_iter().enumerate() {
        include(&mut files, path, tables::label_header(index));
    }
    include(&mut files, "sel4/syscall.h", tables::syscall_header());
    include(&mut files, "umbra/invocation.h", tables::umbra_labels());
    include(&mut files, "interfaces/sel4_client.h", stubs::header());
    for api in interface::APIS {
        let path = format!("interfaces/{}", api.file);
        include(&mut files, &path, xml::interfaces(api));
    }
    let syscalls = xml::syscalls(tables::SYSCALLS);
    include(&mut files, "api/syscall.xml", syscalls);
    files.push(File {
        path: "libsel4/src/sel4_bootinfo.c".into(),
        text: include_str!("../sources/sel4_bootinfo.c").into(),
    });
    files.push(File {
        path: "support/platform_gen.yaml".into(),
        text: tables::platform(),
    });
    files
}

fn configuration(files: &mut Vec<File>, build: Build) {
    for (folder, options) in [
        ("kernel", config::kernel(build)),
        ("sel4", config::library()),
    ] {
        include(
            files,
            &format!("{folder}/gen_config.json"),
            config::json(&options),
        );
        include(
            files,
            &format!("{folder}/gen_config.h"),
            config::header(&options),
        );
    }
}

fn descriptions(files: &mut Vec<File>) {
    let (shared, faults) = (bitfield::shared(), bitfield::faults());
    let pairs = [
        (
            "sel4/shared_types",
            bitfield::describe(&shared),
            bitfield::accessors(&shared),
        ),
        (
            "sel4/sel4_arch/types",
            bitfield::describe_union(&faults),
            bitfield::union_accessors(&faults),
        ),
    ];
    for (path, description, header) in pairs {
        let commented = format!("-- Written by Umbra's build.\n\n{description}");
        include(files, &format!("{path}.bf"), commented);
        include(files, &format!("{path}.pbf"), description);
        include(files, &format!("{path}_gen.h"), header);
    }
}

fn include(files: &mut Vec<File>, path: &str, text: String) {
    files.push(File {
        path: format!("{INCLUDE}/{path}"),
        text,
    });
}

fn fill(template: &str, places: &[(&str, String)]) -> String {
    let mut text = template.to_owned();
    for (name, value) in places {
        text = text.replace(&format!("{{{{{name}}}}}"), value);
    }
    text
}

/// Writes the prefix; a file that is as it should be is not touched.
///
/// # Errors
/// A file or folder cannot be written.
pub fn write(folder: &Path, build: Build, kernel: &Path) -> io::Result<()> {
    for file in files(build) {
        replace(&folder.join(file.path), file.text.as_bytes())?;
    }
    replace(&folder.join("bin/kernel.elf"), &fs::read(kernel)?)
}

fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(path, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_filled_and_every_value_has_a_place() {
        let places = tables::places();
        for (path, template) in TEMPLATES {
            assert!(!fill(template, &places).contains("{{"), "{path}");
        }
        for (name, _) in places {
            let place = format!("{{{{{name}}}}}");
            assert!(
                TEMPLATES.iter().any(|(_, text)| text.contains(&place)),
                "{name}"
            );
        }
    }

    #[test]
    fn every_header_that_is_included_is_there() {
        let files = files(Build::Debug);
        let paths: Vec<&str> = files.iter().map(|file| &*file.path).collect();
        for file in &files {
            for line in file.text.lines() {
                let Some(name) = line
                    .strip_prefix("#include <")
                    .and_then(|l| l.strip_suffix('>'))
                else {
                    continue;
                };
                let path = format!("{INCLUDE}/{name}");
                assert!(paths.contains(&&*path), "{}: {name}", file.path);
            }
        }
    }

    #[test]
    fn a_prefix_that_is_there_is_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let kernel = folder.path().join("kernel");
        fs::write(&kernel, b"kernel").expect("written");
        let prefix = folder.path().join("prefix");
        write(&prefix, Build::Debug, &kernel).expect("written");
        let header = prefix.join(INCLUDE).join("sel4/sel4.h");
        let mut permissions = fs::metadata(&header).expect("there").permissions();
        permissions.set_readonly(true);
        let modified = fs::metadata(&header).expect("there").modified().ok();
        fs::set_permissions(&header, permissions).expect("set");
        fs::write(prefix.join(INCLUDE).join("sel4/types.h"), "damaged").expect("written");
        write(&prefix, Build::Debug, &kernel).expect("written again");
        assert_eq!(
            fs::metadata(&header).expect("there").modified().ok(),
            modified
        );
        let types = fs::read_to_string(prefix.join(INCLUDE).join("sel4/types.h")).expect("there");
        assert!(types.contains("seL4_NodeId"));
        assert_eq!(
            fs::read(prefix.join("bin/kernel.elf")).expect("there"),
            b"kernel"
        );
    }
}
