// SPDX-License-Identifier: GPL-2.0-only
/* A program from the user's memory, checked before any of it runs. */
#include <linux/mm.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "hx.h"

/* The fields that an operation uses; what it does not use is 0. */
#define USES_IPA	BIT(0)
#define USES_SIZE	BIT(1)
#define USES_PA		BIT(2)		/* or owner, in the same place */
#define USES_PROT	BIT(3)
#define USES_SW		BIT(4)
#define USES_FLAGS	BIT(5)
#define USES_MEMCACHE	BIT(6)

#define RANGE		(USES_IPA | USES_SIZE)

static const u8 uses[] = {
	[HX_OP_MAP] = RANGE | USES_PA | USES_PROT | USES_SW | USES_FLAGS | USES_MEMCACHE,
	[HX_OP_UNMAP] = RANGE,
	[HX_OP_WRPROTECT] = RANGE,
	[HX_OP_RELAX_PERMS] = USES_IPA | USES_PROT | USES_FLAGS,
	[HX_OP_MKYOUNG] = RANGE,
	[HX_OP_MKOLD] = RANGE,
	[HX_OP_IS_YOUNG] = RANGE,
	[HX_OP_FLUSH] = RANGE,
	[HX_OP_ANNOTATE] = RANGE | USES_PA | USES_MEMCACHE,
	[HX_OP_SPLIT] = RANGE | USES_MEMCACHE,
	[HX_OP_GET_LEAF] = USES_IPA,
	[HX_OP_DESTROY] = 0,
};

#define ALL_PROT	(HX_PROT_R | HX_PROT_W | HX_PROT_X | HX_PROT_DEVICE | HX_PROT_NC)
#define ALL_FLAGS	(HX_WALK_SHARED | HX_WALK_HANDLE_FAULT | HX_WALK_IGNORE_EAGAIN)

static int malformed(u32 step, const char *what)
{
	return hx_fail(-EINVAL, "step %u: %s", step, what);
}

static int check_unused(const struct hx_op *op, u32 step)
{
	u8 used = uses[op->code];

	if (op->reserved)
		return malformed(step, "reserved field is not 0");
	if ((!(used & USES_IPA) && op->ipa) || (!(used & USES_SIZE) && op->size) ||
	    (!(used & USES_PA) && op->pa) || (!(used & USES_PROT) && op->prot) ||
	    (!(used & USES_SW) && op->sw) || (!(used & USES_FLAGS) && op->flags) ||
	    (!(used & USES_MEMCACHE) && op->memcache))
		return malformed(step, "a field that the operation does not use is not 0");
	return 0;
}

static int check_op(const struct hx_op *op, u32 step, bool last)
{
	int error;

	if (!op->code || op->code > HX_OP_LAST)
		return malformed(step, "no such operation");
	error = check_unused(op, step);
	if (error)
		return error;
	if (op->prot & ~ALL_PROT)
		return malformed(step, "unknown bits in prot");
	if (op->sw > 15)
		return malformed(step, "sw is above 15");
	if (op->flags & ~ALL_FLAGS)
		return malformed(step, "unknown walk flags");
	if (op->ipa + op->size < op->ipa)
		return malformed(step, "ipa + size wraps around");
	if (op->memcache < HX_NO_MEMCACHE || op->memcache > HX_MAX_MEMCACHE)
		return malformed(step, "memcache is out of range");
	if (op->code == HX_OP_SPLIT && op->memcache == HX_NO_MEMCACHE)
		return malformed(step, "split needs a cache");
	if (op->code == HX_OP_DESTROY && !last)
		return malformed(step, "destroy is the last step only");
	return hx_op_supported(op);
}

static int check(const struct hx_program *program, u64 size)
{
	u32 i;

	if (program->abi != HX_ABI)
		return hx_fail(-EINVAL, "program for ABI %u, the module has %u", program->abi,
			       HX_ABI);
	if (program->reserved)
		return hx_fail(-EINVAL, "reserved field of the program is not 0");
	if (!program->nr_ops || program->nr_ops > HX_MAX_OPS)
		return hx_fail(-EINVAL, "%u steps, not 1 to %u", program->nr_ops, HX_MAX_OPS);
	if (size != sizeof(*program) + (u64)program->nr_ops * sizeof(program->ops[0]))
		return hx_fail(-EINVAL, "program of %u steps in %llu bytes", program->nr_ops, size);
	if (program->ipa_bits < 32 || program->ipa_bits > 52)
		return hx_fail(-EINVAL, "ipa_bits %u is not 32 to 52", program->ipa_bits);
	if (program->ipa_bits > hx.info.ipa_limit)
		return hx_fail(-EOPNOTSUPP, "ipa_bits %u, the limit here is %u", program->ipa_bits,
			       hx.info.ipa_limit);
	for (i = 0; i < program->nr_ops; i++) {
		int error = check_op(&program->ops[i], i, i == program->nr_ops - 1);

		if (error)
			return error;
	}
	return 0;
}

struct hx_program *hx_program_load(u64 address, u64 size)
{
	struct hx_program *program;
	int error;

	if (size < sizeof(*program) ||
	    size > sizeof(*program) + (u64)HX_MAX_OPS * sizeof(program->ops[0])) {
		hx_fail(-EINVAL, "a program of %llu bytes", size);
		return ERR_PTR(-EINVAL);
	}
	program = kvmalloc(size, GFP_KERNEL);
	if (!program)
		return ERR_PTR(-ENOMEM);
	error = -EFAULT;
	if (!copy_from_user(program, u64_to_user_ptr(address), size))
		error = check(program, size);
	if (error) {
		kvfree(program);
		return ERR_PTR(error);
	}
	return program;
}
