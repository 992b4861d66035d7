/* Kinds of objects that every processor has. */

#pragma once

#include <sel4/config.h>
#include <sel4/simple_types.h>

typedef enum api_object {
    seL4_UntypedObject = {{UNTYPED}},
    seL4_TCBObject = {{TCB}},
    seL4_EndpointObject = {{ENDPOINT}},
    seL4_NotificationObject = {{NOTIFICATION}},
    seL4_CapTableObject = {{CAP_TABLE}},
    seL4_SchedContextObject = {{SCHED_CONTEXT}},
    seL4_ReplyObject = {{REPLY}},
    seL4_NonArchObjectTypeCount
} seL4_ObjectType;

/* The older name. */
#define seL4_AsyncEndpointObject seL4_NotificationObject

typedef seL4_Word api_object_t;
