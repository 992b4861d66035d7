//! Finding the guests: those built with the image, and Linux.

use std::fs;
use std::path::{Path, PathBuf};

use image::guest::File;
use image::initramfs;

use crate::error::Failure;

/// Our init script.
const INIT: &[u8] = include_bytes!("../guests/linux/init");
/// Where `./setup` puts the kernel, and where a user may put one.
const LINUX_KERNEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/linux/cache/vmlinuz");
/// Where a static busybox may stand.
const BUSYBOXES: &[&str] = &[
    concat!(env!("CARGO_MANIFEST_DIR"), "/guests/linux/cache/busybox"),
    "/bin/busybox",
    "/usr/bin/busybox",
];
/// What Linux needs to know to be seen.
const LINUX_APPEND: &str = "console=ttyS0";
/// Guests built with the image are programs of this name and theirs.
const PREFIX: &str = "guest-";

/// A guest's files.
pub struct Files {
    /// Kernel or test program.
    pub kernel: File,
    /// Initramfs or modules.
    pub initrds: Vec<File>,
    /// What its command line begins with.
    pub append: &'static str,
}

/// A file with its path as name.
pub fn read(path: &Path) -> Result<File, Failure> {
    let bytes = fs::read(path).map_err(|error| Failure::reading(path, &error))?;
    Ok(File {
        name: path.to_string_lossy().into_owned(),
        bytes,
    })
}

/// Where the programs of the image are.
pub fn image_folder() -> Result<&'static Path, Failure> {
    match option_env!("UMBRA_IMAGE_DIR") {
        Some(folder) => Ok(Path::new(folder)),
        None => Err(Failure::Machine(
            "built without an image: build again without UMBRA_SKIP_IMAGE".into(),
        )),
    }
}

/// The guest with this name.
pub fn named(name: &str) -> Result<Files, Failure> {
    if name == "linux" {
        return linux();
    }
    let folder = image_folder()?;
    let known = names(folder);
    if !known.iter().any(|known| known == name) {
        return Err(Failure::Input(format!(
            "--guest {name}: no such guest: use linux, {}",
            known.join(", ")
        )));
    }
    Ok(Files {
        kernel: read(&folder.join(format!("{PREFIX}{name}")))?,
        initrds: Vec::new(),
        append: "",
    })
}

/// The guest that runs when nobody says which; says so when it is not Linux.
pub fn default() -> Result<Files, Failure> {
    match linux() {
        Ok(files) => Ok(files),
        Err(why) => {
            eprintln!("umbra: {why}; booting the guest `paging` instead");
            named("paging")
        }
    }
}

/// Names of the guests built with the image.
fn names(folder: &Path) -> Vec<String> {
    let files = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = files
        .filter_map(|file| file.file_name().into_string().ok())
        .filter(|name| !name.contains('.'))
        .filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned))
        .collect();
    names.sort();
    names
}

fn linux() -> Result<Files, Failure> {
    let kernel = Path::new(LINUX_KERNEL);
    if !kernel.is_file() {
        return Err(Failure::Input(
            "no Linux kernel at hand (guests/linux/cache/vmlinuz): run ./setup".into(),
        ));
    }
    let Some(busybox) = BUSYBOXES
        .iter()
        .map(PathBuf::from)
        .find(|path| path.is_file())
    else {
        return Err(Failure::Input(
            "no static busybox at hand (/bin/busybox): run ./setup".into(),
        ));
    };
    let busybox = read(&busybox)?;
    if !is_static(&busybox.bytes) {
        return Err(Failure::Input(format!(
            "{} needs libraries: install busybox-static, or run ./setup",
            busybox.name
        )));
    }
    Ok(Files {
        kernel: read(kernel)?,
        initrds: vec![File {
            name: "initramfs".into(),
            bytes: initramfs::build(&busybox.bytes, INIT),
        }],
        append: LINUX_APPEND,
    })
}

/// A program that names no loader: `/lib…/ld-….so` does not occur in it as its interpreter. An interpreter stands in the
/// file's first page, behind the program headers.
fn is_static(program: &[u8]) -> bool {
    let head = &program[..program.len().min(4096)];
    !head.windows(4).any(|bytes| bytes == b"/ld-")
}
