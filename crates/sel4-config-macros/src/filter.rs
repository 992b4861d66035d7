//! Parts of items and expressions that stay only if their `#[sel4_cfg(C)]` holds. The attribute itself goes.

use syn::punctuated::Punctuated;
use syn::{Arm, Attribute, Error, Field, Fields, Meta, Result, Token, Variant};

use crate::condition::holds;

fn is_ours(attribute: &Attribute) -> bool {
    let segments = &attribute.path().segments;
    segments.last().is_some_and(|last| last.ident == "sel4_cfg")
}

/// Whether every condition among the attributes holds.
pub fn holds_all(attributes: &[Attribute]) -> Result<bool> {
    let mut all = true;
    for attribute in attributes {
        if !is_ours(attribute) {
            return Err(Error::new_spanned(
                attribute,
                "only `#[sel4_cfg(..)]` can stand here",
            ));
        }
        all &= holds(&attribute.parse_args::<Meta>()?)?;
    }
    Ok(all)
}

/// Takes the conditions out of the attributes; whether they hold.
fn take(attributes: &mut Vec<Attribute>) -> Result<bool> {
    let (ours, others) = std::mem::take(attributes)
        .into_iter()
        .partition::<Vec<_>, _>(is_ours);
    *attributes = others;
    holds_all(&ours)
}

fn keep<T>(
    parts: impl IntoIterator<Item = T>,
    attributes: fn(&mut T) -> &mut Vec<Attribute>,
) -> Result<Vec<T>> {
    let mut kept = Vec::new();
    for mut part in parts {
        if take(attributes(&mut part))? {
            kept.push(part);
        }
    }
    Ok(kept)
}

fn list<T>(
    parts: &mut Punctuated<T, Token![,]>,
    attributes: fn(&mut T) -> &mut Vec<Attribute>,
) -> Result<()> {
    *parts = keep(std::mem::take(parts), attributes)?
        .into_iter()
        .collect();
    Ok(())
}

/// Fields of a structure.
pub fn fields(fields: &mut Fields) -> Result<()> {
    let attributes: fn(&mut Field) -> &mut Vec<Attribute> = |field| &mut field.attrs;
    match fields {
        Fields::Named(fields) => list(&mut fields.named, attributes),
        Fields::Unnamed(fields) => list(&mut fields.unnamed, attributes),
        Fields::Unit => Ok(()),
    }
}

/// Variants of an enumeration.
pub fn variants(variants: &mut Punctuated<Variant, Token![,]>) -> Result<()> {
    list(variants, |variant| &mut variant.attrs)
}

/// Arms of a match.
pub fn arms(arms: &mut Vec<Arm>) -> Result<()> {
    *arms = keep(std::mem::take(arms), |arm| &mut arm.attrs)?;
    Ok(())
}
