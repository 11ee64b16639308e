/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What runs in the guest, at EL1 with the MMU on: a loop that takes one command
 * from the vCPU's mailbox, makes the one access that it names, stores what came
 * of it and rings the doorbell.
 *
 * The code is copied to RUNTIME_CODE: it is position independent and has no
 * stack. TPIDR_EL1 holds the address of the mailbox and no other register is
 * relied on, so that an exception, or the host, can go on at guest_ring or
 * guest_next whatever the access did to the registers.
 */
#include "guest_layout.h"

#define SPSR_EL1H_DIF		0x2c5	/* EL1h; D, I and F masked, SError not */

	.macro	vector event
	.balign	0x80
	mrs	x9, tpidr_el1
	mov	w10, #\event
	b	guest_exception
	.endm

	.section .rodata
	.balign	4096
	.global	guest_code
guest_code:
	/* The vector table: current EL with SP_EL0, with SP_ELx, lower ELs. */
	.rept	4
	vector	EVENT_SYNC
	vector	EVENT_OTHER
	vector	EVENT_OTHER
	vector	EVENT_SERROR
	.endr

	.balign	0x80
guest_exception:
	mrs	x11, esr_el1
	mrs	x12, far_el1
	str	x11, [x9, #MAILBOX_ESR]
	str	x12, [x9, #MAILBOX_FAR]
	str	w10, [x9, #MAILBOX_EVENT]
	adr	x10, guest_ring
	mov	x11, #SPSR_EL1H_DIF
	msr	elr_el1, x10
	msr	spsr_el1, x11
	eret

guest_loaded:
	str	x12, [x9, #MAILBOX_DATA]
	b	guest_done

guest_stored:
	/* Code may have been stored: make it visible to instruction fetches. */
	ldr	w13, [x9, #MAILBOX_CLEAN]
	cbz	w13, guest_done
	dc	cvau, x11

guest_done:
	/* A pending SError is taken here, before the step counts as done. */
	dsb	sy
	isb
	mov	w10, #EVENT_DONE
	str	w10, [x9, #MAILBOX_EVENT]

guest_ring:
	mov	x10, #RUNTIME_DOORBELL
	str	wzr, [x10]

	/* The host has put the next command into the mailbox. */
	.global	guest_next
guest_next:
	msr	daifclr, #4
	mrs	x9, tpidr_el1
	ldr	w10, [x9, #MAILBOX_OP]
	ldr	x11, [x9, #MAILBOX_GPA]
	ldr	x12, [x9, #MAILBOX_VALUE]
	adr	x13, guest_accesses
	add	x13, x13, x10, lsl #3
	br	x13

	/* In the order of GUEST_NOP .. GUEST_BLR, two instructions each. */
guest_accesses:
	b	guest_done
	nop
	ldrb	w12, [x11]
	b	guest_loaded
	ldrh	w12, [x11]
	b	guest_loaded
	ldr	w12, [x11]
	b	guest_loaded
	ldr	x12, [x11]
	b	guest_loaded
	strb	w12, [x11]
	b	guest_stored
	strh	w12, [x11]
	b	guest_stored
	str	w12, [x11]
	b	guest_stored
	str	x12, [x11]
	b	guest_stored
	b	guest_call
	nop

guest_call:
	ic	iallu
	dsb	ish
	isb
	mov	x0, #0
	blr	x11
	mrs	x9, tpidr_el1
	mov	w12, w0
	b	guest_loaded

	.global	guest_code_end
guest_code_end:
	/* An error here: the code does not fit in front of the mailboxes. */
	.org	guest_code + (RUNTIME_MAILBOXES - RUNTIME_CODE)

	.section .note.GNU-stack, "", %progbits
