/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where the runtime lives in guest physical memory, and what host and guest
 * say to each other there. Read by C and by the assembler.
 *
 * Everything is in one memslot inside [0x08000000, 0x0a000000), the range that
 * no scenario may use. The doorbell has no memory behind it: a store to it
 * leaves the guest, and says that a step is done.
 *
 * A guest begins with two pages of 4K: each costs it a fault, and a table walk after
 * each exit. What is written often stands apart from the code: QEMU translates code
 * anew, or looks whether it must, where a page with code in it is written to.
 */
#ifndef HX_GUEST_LAYOUT_H
#define HX_GUEST_LAYOUT_H

#define RESERVED_START		0x08000000
#define RESERVED_END		0x0a000000

#define RUNTIME_SLOT		499
#define RUNTIME_CODE		0x08000000	/* vectors and the loop, one page of 4K */
#define RUNTIME_MAILBOXES	0x08001000	/* one mailbox for each vCPU */
#define RUNTIME_TABLE		0x08001800	/* stage-1, level 1: the first 32G */
#define RUNTIME_TABLES		0x08002000	/* stage-1: level 0, then level 1 as needed */
#define RUNTIME_SIZE		0x00220000	/* a multiple of 64K */
#define RUNTIME_DOORBELL	0x09000000

/* What the guest is asked to do: one access, by one instruction. */
#define GUEST_NOP		0
#define GUEST_LDRB		1		/* of each kind: 1, 2, 4 and 8 bytes */
#define GUEST_STRB		5
#define GUEST_BLR		9
#define GUEST_LDP		10
#define GUEST_STP		11
#define GUEST_LDRB_POST		12
#define GUEST_STRB_POST		16
#define GUEST_LDR_SIMD		20
#define GUEST_STR_SIMD		24
#define GUEST_CASAB		28
#define GUEST_DC_ZVA		32
#define GUEST_DC_CIVAC		33
#define GUEST_AT_READ		34
#define GUEST_AT_WRITE		35

/* What came of it. */
#define EVENT_NONE		0
#define EVENT_DONE		1
#define EVENT_SYNC		2	/* an exception: esr and far tell */
#define EVENT_SERROR		3
#define EVENT_OTHER		4

/* struct mailbox */
#define MAILBOX_SHIFT		7
#define MAILBOX_SIZE		(1 << MAILBOX_SHIFT)
#define MAILBOX_OP		0
#define MAILBOX_CLEAN		4
#define MAILBOX_ADDRESS		8
#define MAILBOX_VALUE		16
#define MAILBOX_EVENT		24
#define MAILBOX_DATA		32
#define MAILBOX_ESR		40
#define MAILBOX_FAR		48
#define MAILBOX_EXPECTED	56
#define MAILBOX_TCR		64
#define MAILBOX_TTBR1		72

#endif /* HX_GUEST_LAYOUT_H */
