/* SPDX-License-Identifier: GPL-2.0-only */
/* The kernel module that executes pgtable programs, and its device. */
#ifndef HX_PGTABLE_MODULE_H
#define HX_PGTABLE_MODULE_H

#include "module/hx_pgtable.h"
#include "types.h"

/*
 * Loads hx_pgtable.ko from the folder of this program, if it is there, else takes
 * the module that is loaded, and opens its device. Returns NULL, or why not.
 */
const char *module_open(void);

/* The same for running VMs alone: programs cannot be run then, and nothing is probed. */
const char *module_open_live(void);

/* Closes the device, and unloads what was loaded; system calls only. */
void module_close(void);

/* Of the open device. */
const struct hx_info *module_info(void);

/* HX_IOCTL_RUN: 0 or -errno. */
int module_run(struct hx_run *run);

/* Another ioctl of the device: 0 or -errno. */
int module_ioctl(unsigned long request, void *argument);

#endif /* HX_PGTABLE_MODULE_H */
