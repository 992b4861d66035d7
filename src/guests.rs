//! Finding the guests: those built with the image, and Linux.

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use image::guest::File;
use image::initramfs;

use crate::error::Failure;

/// Our init script.
const INIT: &[u8] = include_bytes!("../guests/linux/init");
/// Where `./setup` puts what it unpacks, and where a user may put files of these names.
const CACHE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/linux/cache");
/// Where a static busybox may stand; without a folder, in [`CACHE`].
const BUSYBOX: &[&str] = &["busybox", "/bin/busybox", "/usr/bin/busybox"];
const BUSYBOX_386: &[&str] = &["busybox-i386"];
/// What Linux needs to know to be seen.
const LINUX_APPEND: &str = "console=ttyS0";
/// The same for memtest86+.
const MEMTEST_APPEND: &str = "console=ttyS0,115200";
/// Most bytes of a file: QEMU puts all it loads below 4 GiB.
const MAX_FILE: u64 = 4 << 30;
/// Guests built with the image are programs of this name and theirs.
const PREFIX: &str = "guest-";

/// A guest made from a distribution's packages.
struct Unpacked {
    name: &'static str,
    /// Its file in the cache.
    kernel: &'static str,
    /// Linux: what its initramfs is made from.
    busybox: &'static [&'static str],
    append: &'static str,
}

/// All of them; the first is the default guest.
const UNPACKED: &[Unpacked] = &[
    Unpacked {
        name: "linux",
        kernel: "vmlinuz",
        busybox: BUSYBOX,
        append: LINUX_APPEND,
    },
    Unpacked {
        name: "linux-686",
        kernel: "vmlinuz-686",
        busybox: BUSYBOX_386,
        append: LINUX_APPEND,
    },
    Unpacked {
        name: "linux-686-pae",
        kernel: "vmlinuz-686-pae",
        busybox: BUSYBOX_386,
        append: LINUX_APPEND,
    },
    Unpacked {
        name: "memtest",
        kernel: "memtest86+x64.bin",
        busybox: &[],
        append: MEMTEST_APPEND,
    },
    Unpacked {
        name: "memtest-32",
        kernel: "memtest86+ia32.bin",
        busybox: &[],
        append: MEMTEST_APPEND,
    },
];

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
    let failed = |error| Failure::reading(path, &error);
    let refuse = |what| {
        let remedy = "name an ordinary file that a machine can hold";
        Err(image::Error::new(path.to_string_lossy(), what, remedy).into())
    };
    let file = fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    let kind = about.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return refuse("is a device");
    }
    let mut bytes = Vec::new();
    if about.len() <= MAX_FILE {
        // A pipe does not say its length.
        let mut bounded = file.take(MAX_FILE + 1);
        bounded.read_to_end(&mut bytes).map_err(failed)?;
    }
    if about.len() > MAX_FILE || bytes.len() as u64 > MAX_FILE {
        return refuse("is larger than 4 GiB");
    }
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
    if let Some(guest) = UNPACKED.iter().find(|guest| guest.name == name) {
        return unpacked(guest);
    }
    let folder = image_folder()?;
    let known = names(folder);
    if !known.iter().any(|known| known == name) {
        let unpacked = UNPACKED.iter().map(|guest| guest.name.to_owned());
        let all: Vec<String> = unpacked.chain(known).collect();
        return Err(Failure::Input(format!(
            "--guest {name}: no such guest: use {}",
            all.join(", ")
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
    match unpacked(&UNPACKED[0]) {
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

fn unpacked(guest: &Unpacked) -> Result<Files, Failure> {
    let kernel = Path::new(CACHE).join(guest.kernel);
    if !kernel.is_file() {
        return Err(Failure::Input(format!(
            "guest {}: no kernel at hand (guests/linux/cache/{}): run ./setup",
            guest.name, guest.kernel
        )));
    }
    let initrds = match guest.busybox {
        [] => Vec::new(),
        places => vec![initramfs(guest.name, places)?],
    };
    Ok(Files {
        kernel: read(&kernel)?,
        initrds,
        append: guest.append,
    })
}

/// An initramfs around the first busybox at hand.
fn initramfs(guest: &str, places: &[&str]) -> Result<File, Failure> {
    // An absolute path stays what it is when it is joined.
    let paths: Vec<PathBuf> = places.iter().map(|p| Path::new(CACHE).join(p)).collect();
    let Some(busybox) = paths.iter().find(|path| path.is_file()) else {
        let last = places.last().unwrap_or(&"busybox");
        return Err(Failure::Input(format!(
            "guest {guest}: no static busybox at hand ({last}): run ./setup"
        )));
    };
    let busybox = read(busybox)?;
    if !is_static(&busybox.bytes) {
        return Err(Failure::Input(format!(
            "{} needs libraries: install busybox-static, or run ./setup",
            busybox.name
        )));
    }
    Ok(File {
        name: "initramfs".into(),
        bytes: initramfs::build(&busybox.bytes, INIT),
    })
}

/// A program that names no loader: `/lib…/ld-….so` does not occur in it as its interpreter. An interpreter stands in the
/// file's first page, behind the program headers.
fn is_static(program: &[u8]) -> bool {
    let head = &program[..program.len().min(4096)];
    !head.windows(4).any(|bytes| bytes == b"/ld-")
}
