//! How the generators write.

use std::fmt::Write;

/// Adds a line, or several with breaks between them.
pub fn put(text: &mut String, line: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{line}");
}
