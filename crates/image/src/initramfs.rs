//! An initramfs for the Linux guest: busybox, our init script, and the few folders and devices it starts with.
//!
//! The format is cpio's `newc` (the kernel's Documentation/driver-api/early-userspace/buffer-format.rst).

/// File kinds and permissions of the entries.
const FOLDER: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const CHARACTER_DEVICE: u32 = 0o020_600;

/// The archive. Only what the init script cannot make itself is in it: the script needs a shell, the shell a console.
#[must_use]
pub fn build(busybox: &[u8], init: &[u8]) -> Vec<u8> {
    let mut cpio = Cpio::default();
    for folder in [
        "bin", "dev", "proc", "sys", "tmp", "root", "etc", "sbin", "usr", "usr/bin", "usr/sbin",
    ] {
        cpio.entry(folder, FOLDER, (0, 0), &[]);
    }
    cpio.entry("dev/console", CHARACTER_DEVICE, (5, 1), &[]);
    cpio.entry("bin/busybox", PROGRAM, (0, 0), busybox);
    cpio.entry("init", PROGRAM, (0, 0), init);
    cpio.finish()
}

/// A cpio archive being written.
#[derive(Default)]
struct Cpio {
    bytes: Vec<u8>,
    inode: u32,
}

impl Cpio {
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) {
        self.inode += 1;
        let links = if mode == FOLDER { 2 } else { 1 };
        let name_size = name.len() as u32 + 1;
        let size = data.len() as u32;
        // inode, mode, uid, gid, links, mtime, size, device and its own device, name size, checksum. Times are zero: the
        // same input gives the same archive.
        let fields = [
            self.inode, mode, 0, 0, links, 0, size, 0, 0, device.0, device.1, name_size, 0,
        ];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(name.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(data);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Name, mode and data of each entry, read back as the format says.
    fn entries(mut cpio: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let mut found = Vec::new();
        while !cpio.is_empty() {
            assert_eq!(&cpio[..6], b"070701");
            let field = |n: usize| {
                let text = std::str::from_utf8(&cpio[6 + 8 * n..14 + 8 * n]).expect("text");
                u32::from_str_radix(text, 16).expect("hexadecimal") as usize
            };
            let (mode, size, name) = (field(1) as u32, field(6), field(11));
            let data = (110 + name).next_multiple_of(4);
            found.push((
                String::from_utf8(cpio[110..110 + name - 1].to_vec()).expect("text"),
                mode,
                cpio[data..data + size].to_vec(),
            ));
            cpio = &cpio[(data + size).next_multiple_of(4)..];
        }
        found
    }

    #[test]
    fn the_archive_holds_busybox_init_and_a_console() {
        let found = entries(&build(b"busybox", b"#!script"));
        let get = |name: &str| found.iter().find(|e| e.0 == name).expect("present");
        assert_eq!(get("bin/busybox").2, b"busybox");
        assert_eq!(get("init").2, b"#!script");
        assert_eq!(get("init").1, PROGRAM);
        assert_eq!(get("dev/console").1, CHARACTER_DEVICE);
        assert_eq!(found.last().expect("an entry").0, "TRAILER!!!");
    }

    #[test]
    fn a_folder_comes_before_what_is_in_it() {
        let found = entries(&build(b"", b""));
        let place = |name: &str| found.iter().position(|e| e.0 == name).expect("present");
        assert!(place("usr") < place("usr/bin"));
        assert!(place("dev") < place("dev/console"));
    }
}
