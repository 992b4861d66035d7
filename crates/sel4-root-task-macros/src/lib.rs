//! The attribute `#[root_task]`: a function becomes the initial program's `main`.
//!
//! It keeps the function as it is and adds a `declare_root_task!` that names it, with the attribute's arguments. What is
//! wrong is said by the compiler, at the attribute.
#![forbid(unsafe_code)]

use proc_macro::{Ident, Span, TokenStream, TokenTree};

/// Makes the function below it the program's `main`: it takes `&sel4::BootInfoPtr`. Arguments, each optional,
/// in this order: `stack_size = BYTES`, `heap_size = BYTES`.
#[proc_macro_attribute]
pub fn root_task(arguments: TokenStream, item: TokenStream) -> TokenStream {
    match name(&item) {
        Some(name) => [item, declaration(name, arguments)].into_iter().collect(),
        None => complaint("`#[root_task]` belongs on a function"),
    }
}

/// The function's name: what follows the first `fn` that is not inside brackets.
fn name(item: &TokenStream) -> Option<Ident> {
    let mut tokens = item.clone().into_iter();
    tokens.find(|token| matches!(token, TokenTree::Ident(word) if word.to_string() == "fn"))?;
    match tokens.next() {
        Some(TokenTree::Ident(name)) => Some(name),
        _ => None,
    }
}

fn declaration(name: Ident, arguments: TokenStream) -> TokenStream {
    let mut inner = code("main =");
    inner.extend([TokenTree::Ident(name)]);
    if !arguments.is_empty() {
        inner.extend(code(","));
        inner.extend(arguments);
    }
    let mut all = code("::sel4_root_task::declare_root_task!");
    let group = proc_macro::Group::new(proc_macro::Delimiter::Brace, inner);
    all.extend([TokenTree::Group(group)]);
    all
}

fn complaint(text: &str) -> TokenStream {
    let mut text = proc_macro::Literal::string(text);
    text.set_span(Span::call_site());
    let mut all = code("::core::compile_error!");
    let inner = TokenStream::from(TokenTree::Literal(text));
    let group = proc_macro::Group::new(proc_macro::Delimiter::Brace, inner);
    all.extend([TokenTree::Group(group)]);
    all
}

/// Tokens of a text that is written in this file.
fn code(text: &str) -> TokenStream {
    text.parse().unwrap_or_default()
}
