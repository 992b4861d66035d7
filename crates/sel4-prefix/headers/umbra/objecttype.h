/* Kinds of objects that Umbra adds. */

#pragma once

enum umbra_object {
    umbra_VCPUObject = {{VCPU}},
    umbra_GuestPML4Object = {{GUEST_PML4}},
    umbra_GuestPDPTObject = {{GUEST_PDPT}},
    umbra_GuestPageDirectoryObject = {{GUEST_PAGE_DIRECTORY}},
    umbra_GuestPageTableObject = {{GUEST_PAGE_TABLE}},
    umbra_ShadowPoolObject = {{SHADOW_POOL}}
};
