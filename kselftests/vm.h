/* SPDX-License-Identifier: GPL-2.0-only */
/* A VM as the runtime keeps it, for the files that make up the runtime. */
#ifndef HX_VM_H
#define HX_VM_H

#include "backing.h"
#include "guest.h"
#include "guest_layout.h"

#define MAX_VCPUS	16
#define MAX_SLOTS	512

struct kvm_run;
/* struct kvm_dirty_gfn, which headers of older kernels lack. */
struct ring_entry {
	u32 flags;
	u32 slot;
	u64 offset;
};

/* There is an array of these at RUNTIME_MAILBOXES; see guest_layout.h. */
struct mailbox {
	u32 op;
	u32 clean;		/* make a store visible to instruction fetches */
	u64 address;		/* virtual */
	u64 value;
	u32 event;
	u32 unused;
	u64 data;
	u64 esr;
	u64 far;
	u64 expected;		/* of cas; the end, of dc zva */
	u64 tcr;		/* to be set before the access, with ttbr1; 0: as they are */
	u64 ttbr1;
} __attribute__((aligned(MAILBOX_SIZE)));

struct vcpu {
	int fd;			/* -1: none */
	struct kvm_run *run;
	struct mailbox *mailbox;
	bool walks;		/* TTBR1_EL1 is in use */
	bool stale;		/* TTBR0_EL1 is new: what the TLB holds is to go */
	struct ring_entry *ring;
	u64 fetched;		/* entries taken from the ring */
	int stats;		/* of KVM_GET_STATS_FD; -1: not yet */
	u64 mmio_exits[2];	/* to userspace and within KVM, up to the last step */
};

struct slot {
	bool used;
	u32 flags;
	u64 gpa;
	u64 size;
	struct memory memory;
};

struct vm {
	int fd;			/* -1: none */
	int run_size;		/* bytes mapped of each vCPU */
	u32 vcpus;
	u32 ipa_bits;
	size_t page_size;
	bool clean_stores;	/* CTR_EL0.IDC is 0 */
	bool stage1_off;
	u32 ring_entries;	/* of each vCPU's dirty ring; 0: none */
	int uffd;		/* -1: not yet */
	int stats;		/* -1: not yet */
	u64 uffd_features;
	char *runtime;		/* host address of RESERVED_START */
	u32 tables;		/* stage-1 tables of 4K handed out; 0: the small one does */
	u32 slots;		/* slot ids seen are below this */
	u64 walks_without_af;	/* one behind the tables last written so; 0: none */
	struct vcpu vcpu[MAX_VCPUS];
	struct slot slot[MAX_SLOTS];
};

/* What runs in the guest (guest_code.S), to be copied to RUNTIME_CODE. */
extern const char guest_code[], guest_start[], guest_next[], guest_code_end[];

/* ioctl: its value, or -errno. */
int kvm_ioctl(int fd, unsigned long request, const void *argument);

/* KVM_CHECK_EXTENSION. */
int kvm_has(int fd, long capability);

/* Writes the channels that every step has, and ends its record. */
void step_finish(struct vm *vm);

/* An ioctl or system call follows: the step's record has the flushes of TLBs it asked for. */
void step_counts_flushes(struct vm *vm);

/* Where the host has a guest address of the runtime. */
char *runtime_memory(struct vm *vm, u64 gpa);

/* The slot of this id, in use or not; ends the scenario where no slot can have it. */
struct slot *slot_of(struct vm *vm, u32 id);

/* The slot in use that holds all of [gpa, gpa + size), or NULL. */
struct slot *slot_at(struct vm *vm, u64 gpa, u64 size);

/* The host memory behind [gpa, gpa + size); ends the scenario where no slot holds it. */
char *host_address(struct vm *vm, u64 gpa, u64 size);

/* The same for what changes more than bytes: the memory is of no use to another slot. */
char *host_mapping(struct vm *vm, u64 gpa, u64 size);

/* Ends the scenario's VM, if there is one, with all that was its. */
void vm_end(void);

/* Sets up a vCPU to run the guest loop. */
void vcpu_create(struct vm *vm, u32 index);
/* The stage-1 tables are others now: it goes on with them. It must not run meanwhile. */
void vcpu_new_tables(struct vm *vm, u32 index);
void vcpu_end(struct vm *vm, u32 index);

/* Lets a vCPU touch every page that it needs, so that no step has to. */
void vcpu_warm(struct vm *vm, u32 index);

/* Maps a vCPU's dirty ring, where the VM has them. */
void ring_map(struct vm *vm, u32 index);
void ring_unmap(struct vm *vm, u32 index);

/* What a command made of one vCPU: see vcpu_record.c. */
struct outcome {
	int ret;
	bool rang;		/* the doorbell: the guest's loop says the step is done */
	bool exited;		/* to userspace, other than by the doorbell */
	u32 reason;		/* of the first such exit */
	u64 gpa;		/* of an MMIO or NISV exit */
	u64 mmio_data;
	u32 mmio_len;
	bool write;
};

/* Writes and ends the record of a vCPU's step; data is what an access read. */
void vcpu_record(struct vm *vm, u32 index, const struct outcome *out, bool has_data);

#endif /* HX_VM_H */
