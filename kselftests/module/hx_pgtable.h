/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * Programs of stage-2 page-table operations, and what each step left behind.
 *
 * An ioctl runs a program on a private table and writes one record per step into
 * the caller's buffer. It returns early where its time or the buffer is used up;
 * then the table stands, as this open file's, and the next call goes on. Closing
 * the file ends all. Every number is in the host's byte order; addresses and
 * sizes are bytes. Layouts change only together with HX_ABI.
 */
#ifndef HX_PGTABLE_H
#define HX_PGTABLE_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define HX_ABI			2
#define HX_DEVICE		"hx_pgtable"
#define HX_MAX_OPS		20000
#define HX_MAX_MEMCACHE		(1 << 20)
#define HX_MESSAGE		160

/* --- what the running kernel and this machine are ------------------------ */

/* struct hx_info.features: operations, flags and fields that not all have */
#define HX_FEATURE_SHARED		(1ULL << 0)
#define HX_FEATURE_HANDLE_FAULT		(1ULL << 1)
#define HX_FEATURE_IGNORE_EAGAIN	(1ULL << 2)
#define HX_FEATURE_SW			(1ULL << 3)
#define HX_FEATURE_NC			(1ULL << 4)
#define HX_FEATURE_SET_OWNER		(1ULL << 5)
#define HX_FEATURE_ANNOTATE		(1ULL << 6)
#define HX_FEATURE_SPLIT		(1ULL << 7)
#define HX_FEATURE_GET_LEAF		(1ULL << 8)
/* of running VMs: HX_IOCTL_LIVE, HX_IOCTL_AGE */
#define HX_FEATURE_LIVE_LEAVES		(1ULL << 9)
#define HX_FEATURE_LIVE_AGE		(1ULL << 10)

/* struct hx_info.channels: fields of struct hx_step that are filled in */
#define HX_CHANNEL_CMO			(1ULL << 0)
#define HX_CHANNEL_TLBI			(1ULL << 1)

/* struct hx_info.host */
#define HX_HOST_VHE			(1ULL << 0)
#define HX_HOST_FWB			(1ULL << 1)
#define HX_HOST_DIC			(1ULL << 2)
#define HX_HOST_TLB_RANGE		(1ULL << 3)
#define HX_HOST_XNX			(1ULL << 4)
#define HX_HOST_LPA2			(1ULL << 5)

struct hx_info {
	__u32 abi;
	__u32 page_shift;
	__u32 ipa_limit;	/* largest IPA size KVM gives a VM, in bits */
	__u32 max_tables;	/* table pages that one program may hold */
	__u64 features;
	__u64 channels;
	__u64 host;
};

/* --- the program --------------------------------------------------------- */

enum hx_code {
	HX_OP_MAP = 1,
	HX_OP_UNMAP,
	HX_OP_WRPROTECT,
	HX_OP_RELAX_PERMS,
	HX_OP_MKYOUNG,
	HX_OP_MKOLD,
	HX_OP_IS_YOUNG,
	HX_OP_FLUSH,
	HX_OP_ANNOTATE,
	HX_OP_SPLIT,
	HX_OP_GET_LEAF,
	HX_OP_DESTROY,
	HX_OP_LAST = HX_OP_DESTROY,
};

/* struct hx_op.prot */
#define HX_PROT_R		(1U << 0)
#define HX_PROT_W		(1U << 1)
#define HX_PROT_X		(1U << 2)
#define HX_PROT_DEVICE		(1U << 3)
#define HX_PROT_NC		(1U << 4)

/* struct hx_op.flags */
#define HX_WALK_SHARED		(1U << 0)
#define HX_WALK_HANDLE_FAULT	(1U << 1)
#define HX_WALK_IGNORE_EAGAIN	(1U << 2)

/* struct hx_op.memcache: no cache is passed */
#define HX_NO_MEMCACHE		(-1LL)

/* What an operation does not use is 0. */
struct hx_op {
	__u8 code;		/* enum hx_code */
	__u8 prot;		/* map, relax_perms */
	__u8 sw;		/* map: software bits, 0..15 */
	__u8 flags;		/* map, relax_perms */
	__u32 reserved;
	__s64 memcache;		/* map, annotate, split: pages that the cache holds */
	__u64 ipa;
	__u64 size;
	union {
		__u64 pa;	/* map */
		__u64 owner;	/* annotate */
	};
};

struct hx_program {
	__u32 abi;
	__u32 ipa_bits;
	__u32 nr_ops;
	__u32 reserved;
	struct hx_op ops[];
};

/* --- what came out ------------------------------------------------------- */

/* struct hx_leaf_run.attr: one of these, and whether the access flag is set */
#define HX_ATTR_NORMAL		0
#define HX_ATTR_NC		1
#define HX_ATTR_DEVICE		2
#define HX_ATTR_OTHER		3	/* no value that the kernel gives; see bits */
#define HX_ATTR_MASK		0x0f
#define HX_ATTR_AF		0x80

/*
 * count leaves of 1 << shift bytes, contiguous in IPA and in PA, all other bits
 * of the descriptor equal.
 */
struct hx_leaf_run {
	__u64 ipa;
	__u64 pa;
	__u64 bits;		/* the descriptor without its output address */
	__u32 count;
	__u8 shift;
	__u8 prot;		/* HX_PROT_R, _W, _X */
	__u8 sw;
	__u8 attr;
};

/* count invalid entries of 1 << shift bytes each that hold value. */
struct hx_annotation_run {
	__u64 ipa;
	__u64 value;
	__u32 count;
	__u32 shift;
};

/*
 * A table page whose reference count is not 1 + counted entries. A table that
 * is allocated and not reachable has level HX_UNREACHABLE and expects 0.
 */
#define HX_UNREACHABLE		9

struct hx_bad_table {
	__u64 ipa;
	__s32 level;
	__s32 count;
	__s32 expected;
	__u32 reserved;
};

/*
 * Runs come as the difference to the step before: the first keep_head and the
 * last keep_tail runs are those of the step before (of an empty table, at the
 * first step), and the nr_runs in between stand behind this record.
 */
struct hx_delta {
	__u32 keep_head;
	__u32 keep_tail;
	__u32 nr_runs;
	__u32 reserved;
};

#define HX_TLBI_IPA		0
#define HX_TLBI_IPA_NSH		1
#define HX_TLBI_VMID		2
#define HX_TLBI_RANGE		3
#define HX_NR_TLBI		4

/* Followed by leaves.nr_runs, annotations.nr_runs and nr_bad structures. */
struct hx_step {
	__u32 size;		/* of the whole record, a multiple of 8 */
	__u32 index;
	__s64 ret;
	__u32 tables;		/* reachable table pages below the root */
	__u32 alloc;		/* table pages taken from the cache */
	__u32 dcache;		/* calls of dcache_clean_inval_poc */
	__u32 icache;		/* calls of icache_inval_pou */
	__u32 tlbi[HX_NR_TLBI];
	__u64 dcache_pages;	/* what those calls were given, in pages */
	__u64 icache_pages;
	__u32 nr_bad;
	__u32 reserved;
	struct hx_delta leaves;
	struct hx_delta annotations;
};

/* struct hx_run.verdict: what is wrong beside any step */
#define HX_VERDICT_LEAK		(1U << 0)	/* destroy left table pages behind */
#define HX_VERDICT_BAD_REF	(1U << 1)	/* a count of what is no live table page */

struct hx_run {
	__u64 program;		/* in: struct hx_program; read where first is 0 */
	__u64 program_size;	/* in: bytes */
	__u64 result;		/* in: buffer for struct hx_step records */
	__u64 result_size;	/* in: bytes of it; out: bytes used, or needed */
	__u64 slice;		/* in: ns; the step after which it returns. 0: the last */
	__u64 nanoseconds;	/* out: time inside the module */
	__u64 api_nanoseconds;	/* out: of it, inside the kernel's page-table API */
	__u32 first;		/* in: 0: a new program; else the steps so far */
	__u32 steps;		/* out: steps so far, over all calls */
	__u32 leaked;		/* out: table pages that destroy left behind */
	__u32 verdict;		/* out: after the last step */
	char message[HX_MESSAGE];	/* out: why it failed, or what verdict means */
};

#define HX_IOCTL_INFO		_IOR('X', 1, struct hx_info)
/*
 * 0: records were written, up to step number steps. Else -1 with errno and message:
 * EINVAL      malformed program, or not the step at which the table stands
 * EOPNOTSUPP  this kernel does not have what the program asks for
 * ENOSPC      the next record does not fit; result_size says what it takes
 * ENOMEM      the machine or max_tables does not suffice
 * ENXIO       KVM is not at EL2: with neither HX_HOST_VHE nor HX_CHANNEL_TLBI, the
 *             caller keeps a VM open
 * EINTR       a fatal signal arrived
 */
#define HX_IOCTL_RUN		_IOWR('X', 2, struct hx_run)

/* --- running VMs ----------------------------------------------------------- */

#define HX_MAX_LIVE_RUNS	(1U << 16)
#define HX_MAX_AGE		(1ULL << 30)

/* The leaves of a VM's stage-2 table, those outside of [skip_from, skip_to). */
struct hx_live {
	__s32 vm;		/* in: file descriptor of the VM */
	__u32 room;		/* in: runs that the buffer holds */
	__u64 runs;		/* in: buffer for struct hx_leaf_run; pa, bits and sw stay 0 */
	__u64 skip_from;	/* in: IPA */
	__u64 skip_to;
	__u32 nr;		/* out: runs that there are; more than room: the rest is lost */
	__u32 reserved;
};

/* The caller's pages in [start, start + size) are as if not accessed of late, for KVM. */
struct hx_age {
	__u64 start;
	__u64 size;
};

#define HX_IOCTL_LIVE		_IOWR('X', 3, struct hx_live)
#define HX_IOCTL_AGE		_IOW('X', 4, struct hx_age)

#endif /* HX_PGTABLE_H */
