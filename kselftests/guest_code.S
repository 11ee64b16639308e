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

#define CPACR_FPEN		(3 << 20)	/* no trap of SIMD */
#define MPIDR_AFF0		0xf		/* the vCPU's number, in KVM */

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
	/* A vCPU begins here. Registers of stage 1 are the host's to set: KVM traps them. */
	.global	guest_start
guest_start:
	adr	x9, guest_code
	msr	vbar_el1, x9
	mov	x10, #CPACR_FPEN
	msr	cpacr_el1, x10
	mrs	x10, mpidr_el1
	and	x10, x10, #MPIDR_AFF0
	add	x9, x9, #RUNTIME_MAILBOXES - RUNTIME_CODE
	add	x9, x9, x10, lsl #MAILBOX_SHIFT
	msr	tpidr_el1, x9
	isb
	b	guest_next

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
	ldr	x11, [x9, #MAILBOX_ADDRESS]
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
	ldr	x14, [x9, #MAILBOX_TCR]
	cbnz	x14, guest_set_tables
guest_access:
	ldr	w10, [x9, #MAILBOX_OP]
	ldr	x11, [x9, #MAILBOX_ADDRESS]
	ldr	x12, [x9, #MAILBOX_VALUE]
	ldr	x15, [x9, #MAILBOX_EXPECTED]
	adr	x13, guest_accesses
	add	x13, x13, x10, lsl #3
	br	x13

	/* Nothing of the tables that were in use before is remembered. */
guest_set_tables:
	ldr	x15, [x9, #MAILBOX_TTBR1]
	msr	ttbr1_el1, x15
	msr	tcr_el1, x14
	isb
	tlbi	vmalle1
	dsb	nsh
	isb
	b	guest_access

	/* In the order of GUEST_NOP .. GUEST_AT_WRITE, two instructions each. */
	.macro	load insn:vararg
	\insn
	b	guest_loaded
	.endm
	.macro	store insn:vararg
	\insn
	b	guest_stored
	.endm
	.macro	goto label
	b	\label
	nop
	.endm

	.arch	armv8-a+lse
guest_accesses:
	goto	guest_done
	load	ldrb	w12, [x11]
	load	ldrh	w12, [x11]
	load	ldr	w12, [x11]
	load	ldr	x12, [x11]
	store	strb	w12, [x11]
	store	strh	w12, [x11]
	store	str	w12, [x11]
	store	str	x12, [x11]
	goto	guest_call
	goto	guest_ldp
	goto	guest_stp
	load	ldrb	w12, [x11], #0x10
	load	ldrh	w12, [x11], #0x10
	load	ldr	w12, [x11], #0x10
	load	ldr	x12, [x11], #0x10
	store	strb	w12, [x11], #0x10
	store	strh	w12, [x11], #0x10
	store	str	w12, [x11], #0x10
	store	str	x12, [x11], #0x10
	goto	guest_ldr_b
	goto	guest_ldr_h
	goto	guest_ldr_s
	goto	guest_ldr_d
	goto	guest_str_b
	goto	guest_str_h
	goto	guest_str_s
	goto	guest_str_d
	goto	guest_cas_b
	goto	guest_cas_h
	goto	guest_cas_w
	goto	guest_cas_x
	goto	guest_dc_zva
	goto	guest_dc_civac
	goto	guest_at_read
	goto	guest_at_write

guest_call:
	ic	iallu
	dsb	ish
	isb
	mov	x0, #0
	blr	x11
	mrs	x9, tpidr_el1
	mov	w12, w0
	b	guest_loaded

guest_ldp:
	ldp	w12, w13, [x11]
	orr	x12, x12, x13, lsl #32
	b	guest_loaded
guest_stp:
	lsr	x13, x12, #32
	stp	w12, w13, [x11]
	b	guest_stored

	.macro	simd name, reg
guest_ldr_\name:
	ldr	\reg\()0, [x11]
	fmov	x12, d0
	b	guest_loaded
guest_str_\name:
	fmov	d0, x12
	str	\reg\()0, [x11]
	b	guest_stored
	.endm
	simd	b, b
	simd	h, h
	simd	s, s
	simd	d, d

	.macro	cas name, insn, reg
guest_cas_\name:
	\insn	\reg\()15, \reg\()12, [x11]
	mov	x12, x15
	str	x12, [x9, #MAILBOX_DATA]
	b	guest_stored
	.endm
	cas	b, casalb, w
	cas	h, casalh, w
	cas	w, casal, w
	cas	x, casal, x

	/* From the address to the end that EXPECTED names, in the CPU's own blocks. */
guest_dc_zva:
	mrs	x13, dczid_el0
	and	x13, x13, #0xf
	mov	x14, #4
	lsl	x14, x14, x13
1:	dc	zva, x11
	add	x11, x11, x14
	cmp	x11, x15
	b.lo	1b
	b	guest_done

guest_dc_civac:
	dc	civac, x11
	b	guest_done

guest_at_read:
	at	s1e1r, x11
	b	guest_par
guest_at_write:
	at	s1e1w, x11
guest_par:
	isb
	mrs	x12, par_el1
	b	guest_loaded

	.global	guest_code_end
guest_code_end:
	/* An error here: the code does not fit in front of the mailboxes. */
	.org	guest_code + (RUNTIME_MAILBOXES - RUNTIME_CODE)

	.section .note.GNU-stack, "", %progbits
