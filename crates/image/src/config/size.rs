//! Amounts as people write them.

/// `4096`, `0x1000`, `64K`, `256M`, `1G`.
pub fn parse(text: &str) -> Option<u64> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok();
    }
    let (digits, shift) = match text.as_bytes().last()? {
        b'K' | b'k' => (&text[..text.len() - 1], 10),
        b'M' | b'm' => (&text[..text.len() - 1], 20),
        b'G' | b'g' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    if !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

/// The shortest exact form.
pub fn show(bytes: u64) -> String {
    for (shift, unit) in [(30, "G"), (20, "M"), (10, "K")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn amounts_are_read_with_their_units() {
        assert_eq!(parse("4096"), Some(4096));
        assert_eq!(parse("0x1000"), Some(4096));
        assert_eq!(parse("64K"), Some(65536));
        assert_eq!(parse("1g"), Some(1 << 30));
        for bad in [
            "",
            "M",
            "-1",
            "1.5G",
            "12X",
            "+5",
            "99999999999G",
            "é",
            "1é",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(bytes: u64) {
            prop_assert_eq!(parse(&show(bytes)), Some(bytes));
        }

        #[test]
        fn any_text_is_an_amount_or_none(text in ".*") {
            let _ = parse(&text);
        }
    }
}
