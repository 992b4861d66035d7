//! Questions after the kernel's configuration, answered while compiling: the macros of the crate `sel4-config`, with the
//! names and the grammar that rust-sel4's have.
//!
//! A condition is an option that is on or off (`KERNEL_MCS`), an option with a value (`WORD_SIZE = "64"`), or `not(C)`,
//! `all(C, ..)`, `any(C, ..)`. An option that does not exist is an error of compilation.
#![forbid(unsafe_code)]

mod condition;
mod filter;

use proc_macro::TokenStream;
use proc_macro2::{Literal, TokenStream as Tokens};
use quote::{ToTokens, quote};
use syn::parse::{Parse, ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::{
    Attribute, ExprMatch, Ident, ItemEnum, ItemStruct, Meta, Token, braced, parse_macro_input,
};

use condition::{holds, number, option, text};

fn answer(result: syn::Result<Tokens>) -> TokenStream {
    result.unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Keeps the item below it if the condition holds.
#[proc_macro_attribute]
pub fn sel4_cfg(condition: TokenStream, item: TokenStream) -> TokenStream {
    let condition = parse_macro_input!(condition as Meta);
    match holds(&condition) {
        Ok(true) => item,
        Ok(false) => TokenStream::new(),
        Err(error) => error.into_compile_error().into(),
    }
}

/// Puts attributes on the item below it if the condition holds: `#[sel4_cfg_attr(C, attribute, ..)]`.
#[proc_macro_attribute]
pub fn sel4_cfg_attr(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let list = Punctuated::<Meta, Token![,]>::parse_terminated;
    let arguments = match Parser::parse(list, arguments) {
        Ok(arguments) => arguments,
        Err(error) => return error.into_compile_error().into(),
    };
    let mut arguments = arguments.iter();
    let Some(condition) = arguments.next() else {
        return answer(Err(syn::Error::new(
            proc_macro2::Span::call_site(),
            "a condition and attributes are needed",
        )));
    };
    let item = Tokens::from(item);
    answer(holds(condition).map(|holds| {
        let attributes = arguments.filter(|_| holds);
        quote! { #(#[#attributes])* #item }
    }))
}

/// Leaves out the fields of a structure whose `#[sel4_cfg(C)]` does not hold. It stands above the item's other attributes,
/// so that they see what is left.
#[proc_macro_attribute]
pub fn sel4_cfg_struct(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut item = parse_macro_input!(item as ItemStruct);
    answer(filter::fields(&mut item.fields).map(|()| quote!(#item)))
}

/// Leaves out the variants of an enumeration whose `#[sel4_cfg(C)]` does not hold. It stands above the item's other
/// attributes, so that they see what is left.
#[proc_macro_attribute]
pub fn sel4_cfg_enum(_: TokenStream, item: TokenStream) -> TokenStream {
    let mut item = parse_macro_input!(item as ItemEnum);
    answer(filter::variants(&mut item.variants).map(|()| quote!(#item)))
}

/// Leaves out the arms of a match whose `#[sel4_cfg(C)]` does not hold. Attributes on expressions need a nightly compiler:
/// [`sel4_cfg_wrap_match!`] does not.
#[proc_macro_attribute]
pub fn sel4_cfg_match(_: TokenStream, item: TokenStream) -> TokenStream {
    sel4_cfg_wrap_match(item)
}

/// Leaves out the arms of the match in it whose `#[sel4_cfg(C)]` does not hold.
#[proc_macro]
pub fn sel4_cfg_wrap_match(item: TokenStream) -> TokenStream {
    let mut item = parse_macro_input!(item as ExprMatch);
    answer(filter::arms(&mut item.arms).map(|()| quote!(#item)))
}

/// `if #[sel4_cfg(C)] { .. } else if #[sel4_cfg(C)] { .. } else { .. }`: what stands in the first braces whose condition
/// holds, or in the last.
#[proc_macro]
pub fn sel4_cfg_if(chain: TokenStream) -> TokenStream {
    parse_macro_input!(chain as Chosen).0.into()
}

/// The braces that a chain chooses. All conditions are looked at, so that a wrong one is found wherever it stands.
struct Chosen(Tokens);

impl Parse for Chosen {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut chosen = None;
        loop {
            input.parse::<Token![if]>()?;
            let attributes = input.call(Attribute::parse_outer)?;
            if attributes.is_empty() {
                return Err(input.error("`#[sel4_cfg(...)]` is needed between `if` and the braces"));
            }
            let content;
            braced!(content in input);
            let inside: Tokens = content.parse()?;
            if filter::holds_all(&attributes)? {
                chosen.get_or_insert(inside);
            }
            if input.parse::<Option<Token![else]>>()?.is_none() {
                break;
            }
            if !input.peek(Token![if]) {
                let content;
                braced!(content in input);
                let inside: Tokens = content.parse()?;
                chosen.get_or_insert(inside);
                break;
            }
        }
        Ok(Self(chosen.unwrap_or_default()))
    }
}

/// Whether a condition holds: `true` or `false`.
#[proc_macro]
pub fn sel4_cfg_bool(condition: TokenStream) -> TokenStream {
    let condition = parse_macro_input!(condition as Meta);
    answer(holds(&condition).map(|holds| quote!(#holds)))
}

/// The value of an option, as text.
#[proc_macro]
pub fn sel4_cfg_str(name: TokenStream) -> TokenStream {
    let name = parse_macro_input!(name as Ident);
    answer(
        option(&name)
            .and_then(|value| text(&name, value))
            .map(|text| quote!(#text)),
    )
}

/// The value of an option that is a number.
#[proc_macro]
pub fn sel4_cfg_usize(name: TokenStream) -> TokenStream {
    let name = parse_macro_input!(name as Ident);
    answer(count(&name).map(|number| Literal::usize_suffixed(number as usize).into_token_stream()))
}

/// The value of an option that is a number, as a word.
#[proc_macro]
pub fn sel4_cfg_word(name: TokenStream) -> TokenStream {
    let name = parse_macro_input!(name as Ident);
    answer(count(&name).map(|number| Literal::u64_suffixed(number).into_token_stream()))
}

fn count(name: &Ident) -> syn::Result<u64> {
    number(name, option(name)?)
}
