/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The steps of a guest scenario, one function each, named as in the scenario
 * language. Each call is the next step, and writes that step's record. What this
 * machine does not have ends the scenario as a SKIP with the reason.
 *
 * What may be left out follows the arguments that every such step has, by name:
 *
 *	slot_add(vm, 1, 0x80000000, SZ_4M, BACKING_HUGETLB, LOG_DIRTY, .page_size = SZ_2M);
 *	guest_read(vm, 0, 0x80003000, 8, .form = PAIR);
 */
#ifndef HX_GUEST_H
#define HX_GUEST_H

#include "runner.h"
#include "types.h"

struct vm;

extern const struct suite guest_suite;

enum manual_protect {
	PROTECT_AUTO,		/* reading the dirty log also clears it */
	MANUAL_PROTECT,		/* KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE */
	INIT_SET,		/* and KVM_DIRTY_LOG_INITIALLY_SET */
};

struct vm_config {
	u32 vcpus;
	u32 ipa_bits;
	enum manual_protect manual_protect;
	u32 dirty_ring;		/* entries of each vCPU's dirty ring; 0: none */
	bool ring_bitmap;	/* KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP */
	u64 eager_split;	/* KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE; 0: off */
	bool nisv_to_user;	/* KVM_CAP_ARM_NISV_TO_USER */
	bool stage1_off;	/* the guest runs with SCTLR_EL1.M = 0 */
};

/*
 * The scenario's VM, with all its vCPUs; no step of its own. Ends the scenario
 * as a SKIP where this machine cannot have such a VM.
 */
struct vm *vm_create(struct vm_config config);

/* --- what the guest does ------------------------------------------------------ */

/* How a load or store is written; all but the first leave KVM without a syndrome. */
enum access_form {
	PLAIN,			/* ldr, str */
	PAIR,			/* ldp, stp of two words */
	WRITEBACK,		/* post-indexed */
	SIMD,			/* of a SIMD register */
};

/* Through the stage-1 tables at this guest address, which TTBR1_EL1 is set to. */
#define TABLES(gpa)	.walk = true, .tables = (gpa)

struct access {
	u64 gpa;
	enum access_form form;
	bool walk;
	u64 tables;
};

/* One access by a vCPU, of 1, 2, 4 or 8 bytes; exec calls the address. */
#define guest_read(vm, vcpu, gpa_, size, ...) \
	guest_load(vm, vcpu, size, (struct access){ .gpa = gpa_, ##__VA_ARGS__ })
#define guest_write(vm, vcpu, gpa_, size, value, ...) \
	guest_store(vm, vcpu, size, value, (struct access){ .gpa = gpa_, ##__VA_ARGS__ })
#define guest_exec(vm, vcpu, gpa_, ...) \
	guest_call(vm, vcpu, (struct access){ .gpa = gpa_, ##__VA_ARGS__ })
#define guest_at_read(vm, vcpu, gpa_, ...) \
	guest_at(vm, vcpu, false, (struct access){ .gpa = gpa_, ##__VA_ARGS__ })
#define guest_at_write(vm, vcpu, gpa_, ...) \
	guest_at(vm, vcpu, true, (struct access){ .gpa = gpa_, ##__VA_ARGS__ })

void guest_load(struct vm *vm, u32 vcpu, u32 size, struct access access);
void guest_store(struct vm *vm, u32 vcpu, u32 size, u64 value, struct access access);
void guest_call(struct vm *vm, u32 vcpu, struct access access);

/* AT S1E1R or S1E1W: the address that PAR_EL1 tells, or 1 | FST << 1. */
void guest_at(struct vm *vm, u32 vcpu, bool write, struct access access);

/* CASAL: stores value where memory holds expected. */
void guest_cas(struct vm *vm, u32 vcpu, u64 gpa, u32 size, u64 expected, u64 value);

/* DC ZVA over [gpa, gpa + size), ascending; DC CIVAC of one address. */
void guest_dc_zva(struct vm *vm, u32 vcpu, u64 gpa, u64 size);
void guest_dc_civac(struct vm *vm, u32 vcpu, u64 gpa);

/* --- memslots ------------------------------------------------------------------- */

/* Backing memory of a slot: a kind, and what else holds of it. */
enum {
	BACKING_ANON,		/* private anonymous memory */
	BACKING_SHMEM,		/* shared anonymous memory */
	BACKING_MEMFD,		/* a shared mapping of a memfd */
	BACKING_HUGETLB,	/* private, from the pool of pages of .page_size */
	BACKING_ZERO,		/* anonymous and read once: the zero page everywhere */
	BACKING_FILE_RO,	/* a file that can only be read; always with code in it */
	BACKING_DEVICE,		/* a PCI device's own, all zeroes at first */
	BACKING_KIND	= 0xf,

	/* Each page holds, over and over: movz w0, #page number; ret */
	PREFILL		= 0x10,
	/* Anonymous memory has huge pages as advised, or wherever they fit; else none. */
	THP_MADVISE	= 0x20,
	THP_ALWAYS	= 0x40,
};

struct backing {
	u32 what;
	u64 page_size;		/* of BACKING_HUGETLB */
	u64 offset;		/* of the slot behind a boundary of the largest block */
};

/* Flags of a slot: those of KVM_SET_USER_MEMORY_REGION. */
#define LOG_DIRTY	0x1
#define READONLY	0x2

/*
 * KVM_SET_USER_MEMORY_REGION. Where the kernel refuses, the slots stay as they
 * were. slot_add with an id that is in use is the same call with new memory.
 * slot_flags and slot_move of an id that is not in use record -ENOENT: there is
 * no memory that the ioctl could be given.
 */
#define slot_add(vm, slot, gpa, size, backing_, flags, ...) \
	slot_make(vm, slot, gpa, size, flags, (struct backing){ .what = backing_, ##__VA_ARGS__ })

void slot_make(struct vm *vm, u32 slot, u64 gpa, u64 size, u32 flags, struct backing backing);
void slot_flags(struct vm *vm, u32 slot, u32 flags);
void slot_move(struct vm *vm, u32 slot, u64 gpa);
void slot_delete(struct vm *vm, u32 slot);

/* --- the dirty log ----------------------------------------------------------------- */

#define TO_SLOT_END	UINT64_MAX
struct page_list {
	size_t count;
	const u64 *pages;
};
#define ALL_PAGES	NULL
#define PAGES(...)	(&(const struct page_list){				\
				.count = sizeof((u64[]){ __VA_ARGS__ }) / 8,	\
				.pages = (const u64[]){ __VA_ARGS__ } })

/* KVM_GET_DIRTY_LOG. */
void dirty_get(struct vm *vm, u32 slot);

/*
 * KVM_CLEAR_DIRTY_LOG of [first_page, first_page + num_pages). TO_SLOT_END is
 * what remains of the slot behind first_page, which is 0 where nothing does or
 * no such slot is. The ioctl holds 32 bits of num_pages: more is cut to the
 * largest, which no slot has. The kernel looks at whole words of 64 pages; what
 * lies outside of the range's words cannot be named to it and is left out.
 */
void dirty_clear(struct vm *vm, u32 slot, u64 first_page, u64 num_pages,
		 const struct page_list *pages);

/*
 * Takes at most so many entries from each vCPU's dirty ring, gives them back,
 * and KVM_RESET_DIRTY_RINGS.
 */
#define ALL_ENTRIES	UINT64_MAX
void ring_reset(struct vm *vm, u64 count);

/* --- what the host does -------------------------------------------------------------- */

/* The host's own access to the memory behind a guest address. */
void host_read(struct vm *vm, u64 gpa, u32 size);
void host_write(struct vm *vm, u64 gpa, u32 size, u64 value);

/*
 * Writes stage-1 tables that map [0, 512G) to itself: level 0 at gpa, and level 1
 * with blocks of 1G in the 4K behind it. Accesses through tables without the access
 * flag are made with TCR_EL1.HA set.
 */
#define WITH_AF		true
#define WITHOUT_AF	false
void stage1_tables(struct vm *vm, u64 gpa, bool af);

enum advice {
	DONTNEED,		/* MADV_DONTNEED */
	PAGEOUT,		/* MADV_PAGEOUT, and all of it is in swap then */
	HUGEPAGE,		/* MADV_HUGEPAGE */
	NOHUGEPAGE,		/* MADV_NOHUGEPAGE */
	COLLAPSE,		/* MADV_COLLAPSE */
	FREE,			/* MADV_FREE */
};

enum host_prot {
	PROT_OF_NONE,
	PROT_OF_R,
	PROT_OF_RW,
};

/* On the memory behind [gpa, gpa + size), inside one slot. */
void host_madvise(struct vm *vm, u64 gpa, u64 size, enum advice advice);
void host_mprotect(struct vm *vm, u64 gpa, u64 size, enum host_prot prot);
/* Fresh anonymous pages instead, or none at all. */
void host_remap(struct vm *vm, u64 gpa, u64 size);
void host_unmap(struct vm *vm, u64 gpa, u64 size);
/* Not accessed of late, as far as the host's memory management can tell. */
void host_age(struct vm *vm, u64 gpa, u64 size);
/* MADV_REMOVE. */
void punch_hole(struct vm *vm, u64 gpa, u64 size);
/* A child process writes a byte to each page, and is gone. */
void fork_touch(struct vm *vm, u64 gpa, u64 size);

/* --- userfaultfd, with UFFD_FEATURE_SIGBUS ------------------------------------------- */

enum {
	UFFD_MISSING	= 0x1,
	UFFD_WP		= 0x2,
	UFFD_MINOR	= 0x4,
};

void uffd_register(struct vm *vm, u64 gpa, u64 size, u32 modes);
/* Pages that hold value over and over, 8 bytes each. */
void uffd_copy(struct vm *vm, u64 gpa, u64 size, u64 value);
void uffd_zero(struct vm *vm, u64 gpa, u64 size);
void uffd_continue(struct vm *vm, u64 gpa, u64 size);
void uffd_protect(struct vm *vm, u64 gpa, u64 size);
void uffd_unprotect(struct vm *vm, u64 gpa, u64 size);

#endif /* HX_GUEST_H */
