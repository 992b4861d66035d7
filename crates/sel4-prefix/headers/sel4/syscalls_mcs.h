/* System calls. Functions without MRs in their name move the first message words between registers and IPC buffer. */

#pragma once

#include <sel4/config.h>
#include <sel4/functions.h>
#include <sel4/arch/syscalls.h>

/* The words of a message that registers carry. */
typedef struct libsel4_mrs {
    seL4_Word mr0, mr1, mr2, mr3;
} libsel4_mrs;

LIBSEL4_INLINE_FUNC libsel4_mrs libsel4_mrs_load(void)
{
    libsel4_mrs mrs = {seL4_GetMR(0), seL4_GetMR(1), seL4_GetMR(2), seL4_GetMR(3)};
    return mrs;
}

LIBSEL4_INLINE_FUNC void libsel4_mrs_store(const libsel4_mrs *mrs)
{
    seL4_SetMR(0, mrs->mr0);
    seL4_SetMR(1, mrs->mr1);
    seL4_SetMR(2, mrs->mr2);
    seL4_SetMR(3, mrs->mr3);
}

/* Words that the message has and the caller names. */
LIBSEL4_INLINE_FUNC libsel4_mrs libsel4_mrs_take(seL4_MessageInfo_t info, const seL4_Word *mr0, const seL4_Word *mr1,
                                                 const seL4_Word *mr2, const seL4_Word *mr3)
{
    seL4_Word length = seL4_MessageInfo_get_length(info);
    libsel4_mrs mrs = {
        (mr0 != seL4_Null && length > 0) ? *mr0 : 0,
        (mr1 != seL4_Null && length > 1) ? *mr1 : 0,
        (mr2 != seL4_Null && length > 2) ? *mr2 : 0,
        (mr3 != seL4_Null && length > 3) ? *mr3 : 0,
    };
    return mrs;
}

LIBSEL4_INLINE_FUNC void libsel4_mrs_give(const libsel4_mrs *mrs, seL4_Word *mr0, seL4_Word *mr1, seL4_Word *mr2,
                                          seL4_Word *mr3)
{
    if (mr0 != seL4_Null) {
        *mr0 = mrs->mr0;
    }
    if (mr1 != seL4_Null) {
        *mr1 = mrs->mr1;
    }
    if (mr2 != seL4_Null) {
        *mr2 = mrs->mr2;
    }
    if (mr3 != seL4_Null) {
        *mr3 = mrs->mr3;
    }
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t libsel4_receive(seL4_Word sys, seL4_CPtr src, seL4_Word *sender,
                                                       libsel4_mrs *mrs, seL4_CPtr reply)
{
    seL4_MessageInfo_t info;
    seL4_Word badge;
    x64_sys_recv(sys, src, &badge, &info.words[0], &mrs->mr0, &mrs->mr1, &mrs->mr2, &mrs->mr3, reply);
    if (sender != seL4_Null) {
        *sender = badge;
    }
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t libsel4_receive_mrs(seL4_Word sys, seL4_CPtr src, seL4_Word *sender,
                                                           seL4_Word *mr0, seL4_Word *mr1, seL4_Word *mr2,
                                                           seL4_Word *mr3, seL4_CPtr reply)
{
    libsel4_mrs mrs;
    seL4_MessageInfo_t info = libsel4_receive(sys, src, sender, &mrs, reply);
    libsel4_mrs_give(&mrs, mr0, mr1, mr2, mr3);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t libsel4_receive_buffer(seL4_Word sys, seL4_CPtr src, seL4_Word *sender,
                                                              seL4_CPtr reply)
{
    libsel4_mrs mrs;
    seL4_MessageInfo_t info = libsel4_receive(sys, src, sender, &mrs, reply);
    libsel4_mrs_store(&mrs);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t libsel4_exchange(seL4_Word sys, seL4_CPtr dest, seL4_MessageInfo_t info,
                                                        seL4_Word *sender, libsel4_mrs *mrs, seL4_CPtr reply)
{
    seL4_Word badge;
    x64_sys_send_recv(sys, dest, &badge, info.words[0], &info.words[0], &mrs->mr0, &mrs->mr1, &mrs->mr2, &mrs->mr3,
                      reply);
    if (sender != seL4_Null) {
        *sender = badge;
    }
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t libsel4_send_receive(seL4_Word sys, seL4_CPtr r13, seL4_MessageInfo_t info,
                                                            seL4_CPtr src, seL4_Word *sender, libsel4_mrs *mrs,
                                                            seL4_CPtr r12)
{
    seL4_Word badge;
    x64_sys_nbsend_recv(sys, r13, src, &badge, info.words[0], &info.words[0], &mrs->mr0, &mrs->mr1, &mrs->mr2,
                        &mrs->mr3, r12);
    if (sender != seL4_Null) {
        *sender = badge;
    }
    return info;
}

LIBSEL4_INLINE_FUNC void seL4_SendWithMRs(seL4_CPtr dest, seL4_MessageInfo_t info, seL4_Word *mr0, seL4_Word *mr1,
                                          seL4_Word *mr2, seL4_Word *mr3)
{
    libsel4_mrs mrs = libsel4_mrs_take(info, mr0, mr1, mr2, mr3);
    x64_sys_send(seL4_SysSend, dest, info.words[0], mrs.mr0, mrs.mr1, mrs.mr2, mrs.mr3);
}

LIBSEL4_INLINE_FUNC void seL4_Send(seL4_CPtr dest, seL4_MessageInfo_t info)
{
    libsel4_mrs mrs = libsel4_mrs_load();
    x64_sys_send(seL4_SysSend, dest, info.words[0], mrs.mr0, mrs.mr1, mrs.mr2, mrs.mr3);
}

LIBSEL4_INLINE_FUNC void seL4_NBSendWithMRs(seL4_CPtr dest, seL4_MessageInfo_t info, seL4_Word *mr0, seL4_Word *mr1,
                                            seL4_Word *mr2, seL4_Word *mr3)
{
    libsel4_mrs mrs = libsel4_mrs_take(info, mr0, mr1, mr2, mr3);
    x64_sys_send(seL4_SysNBSend, dest, info.words[0], mrs.mr0, mrs.mr1, mrs.mr2, mrs.mr3);
}

LIBSEL4_INLINE_FUNC void seL4_NBSend(seL4_CPtr dest, seL4_MessageInfo_t info)
{
    libsel4_mrs mrs = libsel4_mrs_load();
    x64_sys_send(seL4_SysNBSend, dest, info.words[0], mrs.mr0, mrs.mr1, mrs.mr2, mrs.mr3);
}

LIBSEL4_INLINE_FUNC void seL4_Signal(seL4_CPtr dest)
{
    x64_sys_send_null(seL4_SysSend, dest, seL4_MessageInfo_new(0, 0, 0, 0).words[0]);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_CallWithMRs(seL4_CPtr dest, seL4_MessageInfo_t info, seL4_Word *mr0,
                                                        seL4_Word *mr1, seL4_Word *mr2, seL4_Word *mr3)
{
    libsel4_mrs mrs = libsel4_mrs_take(info, mr0, mr1, mr2, mr3);
    info = libsel4_exchange(seL4_SysCall, dest, info, seL4_Null, &mrs, 0);
    libsel4_mrs_give(&mrs, mr0, mr1, mr2, mr3);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_Call(seL4_CPtr dest, seL4_MessageInfo_t info)
{
    libsel4_mrs mrs = libsel4_mrs_load();
    info = libsel4_exchange(seL4_SysCall, dest, info, seL4_Null, &mrs, 0);
    libsel4_mrs_store(&mrs);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_RecvWithMRs(seL4_CPtr src, seL4_Word *sender, seL4_Word *mr0,
                                                        seL4_Word *mr1, seL4_Word *mr2, seL4_Word *mr3,
                                                        seL4_CPtr reply)
{
    return libsel4_receive_mrs(seL4_SysRecv, src, sender, mr0, mr1, mr2, mr3, reply);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_Recv(seL4_CPtr src, seL4_Word *sender, seL4_CPtr reply)
{
    return libsel4_receive_buffer(seL4_SysRecv, src, sender, reply);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_NBRecvWithMRs(seL4_CPtr src, seL4_Word *sender, seL4_Word *mr0,
                                                          seL4_Word *mr1, seL4_Word *mr2, seL4_Word *mr3,
                                                          seL4_CPtr reply)
{
    return libsel4_receive_mrs(seL4_SysNBRecv, src, sender, mr0, mr1, mr2, mr3, reply);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_NBRecv(seL4_CPtr src, seL4_Word *sender, seL4_CPtr reply)
{
    return libsel4_receive_buffer(seL4_SysNBRecv, src, sender, reply);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_WaitWithMRs(seL4_CPtr src, seL4_Word *sender, seL4_Word *mr0,
                                                        seL4_Word *mr1, seL4_Word *mr2, seL4_Word *mr3)
{
    return libsel4_receive_mrs(seL4_SysWait, src, sender, mr0, mr1, mr2, mr3, 0);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_Wait(seL4_CPtr src, seL4_Word *sender)
{
    return libsel4_receive_buffer(seL4_SysWait, src, sender, 0);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_NBWaitWithMRs(seL4_CPtr src, seL4_Word *sender, seL4_Word *mr0,
                                                          seL4_Word *mr1, seL4_Word *mr2, seL4_Word *mr3)
{
    return libsel4_receive_mrs(seL4_SysNBWait, src, sender, mr0, mr1, mr2, mr3, 0);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_NBWait(seL4_CPtr src, seL4_Word *sender)
{
    return libsel4_receive_buffer(seL4_SysNBWait, src, sender, 0);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_Poll(seL4_CPtr src, seL4_Word *sender)
{
    return seL4_NBWait(src, sender);
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_ReplyRecvWithMRs(seL4_CPtr src, seL4_MessageInfo_t info,
                                                             seL4_Word *sender, seL4_Word *mr0, seL4_Word *mr1,
                                                             seL4_Word *mr2, seL4_Word *mr3, seL4_CPtr reply)
{
    libsel4_mrs mrs = libsel4_mrs_take(info, mr0, mr1, mr2, mr3);
    info = libsel4_exchange(seL4_SysReplyRecv, src, info, sender, &mrs, reply);
    libsel4_mrs_give(&mrs, mr0, mr1, mr2, mr3);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_ReplyRecv(seL4_CPtr src, seL4_MessageInfo_t info, seL4_Word *sender,
                                                      seL4_CPtr reply)
{
    libsel4_mrs mrs = libsel4_mrs_load();
    info = libsel4_exchange(seL4_SysReplyRecv, src, info, sender, &mrs, reply);
    libsel4_mrs_store(&mrs);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_NBSendRecvWithMRs(seL4_CPtr dest, seL4_MessageInfo_t info, seL4_CPtr src,
                                                              seL4_Word *sender, seL4_Word *mr0, seL4_Word *mr1,
                                                              seL4_Word *mr2, seL4_Word *mr3, seL4_CPtr reply)
{
    libsel4_mrs mrs = libsel4_mrs_take(info, mr0, mr1, mr2, mr3);
    info = libsel4_send_receive(seL4_SysNBSendRecv, dest, info, src, sender, &mrs, reply);
    libsel4_mrs_give(&mrs, mr0, mr1, mr2, mr3);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_NBSendRecv(seL4_CPtr dest, seL4_MessageInfo_t info, seL4_CPtr src,
                                                       seL4_Word *sender, seL4_CPtr reply)
{
    libsel4_mrs mrs = libsel4_mrs_load();
    info = libsel4_send_receive(seL4_SysNBSendRecv, dest, info, src, sender, &mrs, reply);
    libsel4_mrs_store(&mrs);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_NBSendWaitWithMRs(seL4_CPtr dest, seL4_MessageInfo_t info, seL4_CPtr src,
                                                              seL4_Word *sender, seL4_Word *mr0, seL4_Word *mr1,
                                                              seL4_Word *mr2, seL4_Word *mr3)
{
    libsel4_mrs mrs = libsel4_mrs_take(info, mr0, mr1, mr2, mr3);
    info = libsel4_send_receive(seL4_SysNBSendWait, 0, info, src, sender, &mrs, dest);
    libsel4_mrs_give(&mrs, mr0, mr1, mr2, mr3);
    return info;
}

LIBSEL4_INLINE_FUNC seL4_MessageInfo_t seL4_NBSendWait(seL4_CPtr dest, seL4_MessageInfo_t info, seL4_CPtr src,
                                                       seL4_Word *sender)
{
    libsel4_mrs mrs = libsel4_mrs_load();
    info = libsel4_send_receive(seL4_SysNBSendWait, 0, info, src, sender, &mrs, dest);
    libsel4_mrs_store(&mrs);
    return info;
}

LIBSEL4_INLINE_FUNC void seL4_Yield(void)
{
    x64_sys_null(seL4_SysYield);
}
