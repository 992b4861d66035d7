//! Conditions and values.

use sel4_config_data::Value;
use syn::punctuated::Punctuated;
use syn::{Error, Expr, ExprLit, Ident, Lit, Meta, MetaList, Path, Result, Token};

/// The option's value.
pub fn option(name: &Ident) -> Result<Value> {
    sel4_config_data::value(&name.to_string())
        .ok_or_else(|| Error::new(name.span(), format!("the kernel has no option `{name}`")))
}

/// A value as a kernel build writes it; options that are on or off have none.
pub fn text(name: &Ident, value: Value) -> Result<String> {
    match value {
        Value::Number(number) => Ok(number.to_string()),
        Value::Text(text) => Ok(text.into()),
        Value::Flag(_) => Err(Error::new(
            name.span(),
            format!("`{name}` is on or off and has no value"),
        )),
    }
}

/// A value that is a number.
pub fn number(name: &Ident, value: Value) -> Result<u64> {
    text(name, value)?
        .parse()
        .map_err(|_| Error::new(name.span(), format!("`{name}` is no number")))
}

/// Whether a condition holds.
pub fn holds(condition: &Meta) -> Result<bool> {
    match condition {
        Meta::Path(path) => {
            let name = ident(path)?;
            match option(name)? {
                Value::Flag(flag) => Ok(flag),
                _ => Err(Error::new(
                    name.span(),
                    format!("`{name}` is not on or off: compare it, {name} = \"..\""),
                )),
            }
        }
        Meta::NameValue(pair) => {
            let name = ident(&pair.path)?;
            let Expr::Lit(ExprLit {
                lit: Lit::Str(wanted),
                ..
            }) = &pair.value
            else {
                return Err(Error::new_spanned(
                    &pair.value,
                    "a value is compared as text",
                ));
            };
            Ok(text(name, option(name)?)? == wanted.value())
        }
        Meta::List(list) => combined(list),
    }
}

fn combined(list: &MetaList) -> Result<bool> {
    let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated)?;
    // All are looked at, so that a wrong one is found wherever it stands.
    let answers = inner.iter().map(holds).collect::<Result<Vec<bool>>>()?;
    let name = ident(&list.path)?;
    match (name.to_string().as_str(), answers.as_slice()) {
        ("not", [answer]) => Ok(!answer),
        ("not", _) => Err(Error::new(name.span(), "`not` takes one condition")),
        ("all", answers) => Ok(answers.iter().all(|answer| *answer)),
        ("any", answers) => Ok(answers.iter().any(|answer| *answer)),
        _ => Err(Error::new(
            name.span(),
            "a condition is an option, or `not`, `all` or `any` of conditions",
        )),
    }
}

fn ident(path: &Path) -> Result<&Ident> {
    path.get_ident()
        .ok_or_else(|| Error::new_spanned(path, "the name of an option is one word"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_str;

    fn ask(condition: &str) -> std::result::Result<bool, String> {
        let condition: Meta = parse_str(condition).expect("a condition");
        holds(&condition).map_err(|error| error.to_string())
    }

    #[test]
    fn conditions_combine() {
        assert_eq!(
            ask("all(KERNEL_MCS, not(VTX), any(IOMMU, HUGE_PAGE))"),
            Ok(true)
        );
        assert_eq!(ask("any(VTX, all(KERNEL_MCS, IOMMU))"), Ok(false));
        assert_eq!(ask("not(not(PRINTING))"), Ok(true));
        assert_eq!((ask("all()"), ask("any()")), (Ok(true), Ok(false)));
        assert_eq!(ask("ARCH_AARCH64"), Ok(false));
        assert_eq!(ask("WORD_SIZE = \"64\""), Ok(true));
        assert_eq!(ask("SEL4_ARCH = \"ia32\""), Ok(false));
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for (condition, why) in [
            ("NO_SUCH_OPTION", "no option"),
            ("any(KERNEL_MCS, NO_SUCH_OPTION)", "no option"),
            ("WORD_SIZE", "not on or off"),
            ("WORD_SIZE = 64", "as text"),
            ("KERNEL_MCS = \"1\"", "has no value"),
            ("not(VTX, IOMMU)", "one condition"),
            ("some(VTX)", "`not`, `all` or `any`"),
            ("a::b", "one word"),
        ] {
            let error = ask(condition).expect_err(condition);
            assert!(error.contains(why), "{condition}: {error}");
        }
    }

    #[test]
    fn numbers_are_numbers_however_they_are_written() {
        let ask = |name: &str| {
            let name: Ident = parse_str(name).expect("a name");
            option(&name).and_then(|value| number(&name, value)).ok()
        };
        assert_eq!(ask("MAX_NUM_NODES"), Some(1));
        assert_eq!(ask("XSAVE_SIZE"), Some(512));
        assert_eq!((ask("PLAT"), ask("VTX")), (None, None));
    }
}
