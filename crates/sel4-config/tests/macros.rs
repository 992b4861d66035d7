//! The macros as programs use them.

use sel4_config::{
    consts, sel4_cfg, sel4_cfg_attr, sel4_cfg_bool, sel4_cfg_enum, sel4_cfg_if, sel4_cfg_str,
    sel4_cfg_struct, sel4_cfg_usize, sel4_cfg_word, sel4_cfg_wrap_match,
};

#[test]
fn a_choice_compiles_one_side_only() {
    sel4_cfg_if! {
        if #[sel4_cfg(ARCH_AARCH64)] {
            let nodes = there_is_no_such_function();
        } else if #[sel4_cfg(all(not(ENABLE_SMP_SUPPORT), MAX_NUM_NODES = "1"))] {
            let nodes = sel4_cfg_usize!(MAX_NUM_NODES);
        } else {
            let nodes = nor_this_one();
        }
    }
    assert_eq!(nodes, 1);
}

#[sel4_cfg(VTX)]
const TABLES: &str = there_is_no_such_constant;
#[sel4_cfg(not(VTX))]
const TABLES: &str = "shadow";

#[test]
fn an_item_stays_or_goes() {
    assert_eq!(TABLES, "shadow");
}

#[sel4_cfg_struct]
#[sel4_cfg_attr(KERNEL_MCS, derive(Debug))]
#[sel4_cfg_attr(VTX, no_such_attribute)]
struct Thread {
    priority: u8,
    #[sel4_cfg(KERNEL_MCS)]
    context: Option<Result<u8, ()>>,
    #[sel4_cfg(not(KERNEL_MCS))]
    time_slice: NoSuchType,
}

#[test]
fn fields_and_attributes_are_there_if_their_condition_holds() {
    let thread = Thread {
        priority: 1,
        context: None,
    };
    assert_eq!((thread.priority, thread.context), (1, None));
    assert_eq!(
        format!("{thread:?}"),
        "Thread { priority: 1, context: None }"
    );
}

#[sel4_cfg_enum]
#[derive(Debug, PartialEq)]
enum Paging {
    Shadow,
    #[sel4_cfg(VTX)]
    Ept,
    #[sel4_cfg(HUGE_PAGE)]
    Huge(u8),
}

#[test]
fn variants_and_arms_are_there_if_their_condition_holds() {
    let name = |paging: Paging| {
        sel4_cfg_wrap_match! {
            match paging {
                Paging::Shadow => "shadow",
                #[sel4_cfg(VTX)]
                Paging::Ept => "ept",
                #[sel4_cfg(HUGE_PAGE)]
                Paging::Huge(_) => { "huge" }
            }
        }
    };
    assert_eq!(
        (name(Paging::Shadow), name(Paging::Huge(1))),
        ("shadow", "huge")
    );
}

#[test]
fn texts_and_numbers_agree() {
    assert_eq!(
        sel4_cfg_str!(ROOT_CNODE_SIZE_BITS).parse(),
        Ok(consts::ROOT_CNODE_SIZE_BITS)
    );
    assert_eq!(sel4_cfg_word!(WORD_SIZE), 64_u64);
    assert_eq!(sel4_cfg_str!(SEL4_ARCH), "x86_64");
    const { assert!(sel4_cfg_bool!(all(PRINTING, not(IOMMU)))) };
}
