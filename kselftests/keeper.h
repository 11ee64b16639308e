/* SPDX-License-Identifier: GPL-2.0-only */
/* A VM that only exists, so that the kernel never sees the first or the last one. */
#ifndef HX_KEEPER_H
#define HX_KEEPER_H

#include "types.h"

/*
 * Makes it; without one all works as well. The first VM turns KVM on at EL2, and the
 * first vCPU that runs without an in-kernel interrupt controller turns static branches
 * in the kernel's code, which the last one turns back: a quarter of a VM's life under
 * emulation, where rewritten code is translated again.
 */
void keeper_start(void);

/* It and its vCPU, to be asked what holds of every VM; false where there is none. */
bool keeper_of(int *vm, int *vcpu);

#endif /* HX_KEEPER_H */
