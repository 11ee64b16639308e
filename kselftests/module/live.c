// SPDX-License-Identifier: GPL-2.0-only
/*
 * Of VMs that run: the leaves of a VM's stage-2 table, read from memory as those
 * of a private table are; and ageing of what stands behind a VM's memory, through
 * the notifier that reclaim calls.
 */
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "desc.h"

#define GROUP	8	/* entries that are looked at together */

static typeof(((struct file_operations *)0)->unlocked_ioctl) vm_ioctl;
static int (*clear_flush_young)(struct mm_struct *mm, unsigned long start, unsigned long end);

struct live_reader {
	const struct hx_live *live;
	struct hx_leaf_run *runs;
	u32 nr;			/* of runs; goes on where there is no room */
	u64 next_ipa;
};

void hx_live_init(unsigned long (*lookup)(const char *name))
{
	vm_ioctl = (void *)lookup("kvm_vm_ioctl");
	clear_flush_young = (void *)lookup("__mmu_notifier_clear_flush_young");
	if (vm_ioctl)
		hx.info.features |= HX_FEATURE_LIVE_LEAVES;
	if (clear_flush_young)
		hx.info.features |= HX_FEATURE_LIVE_AGE;
}

/* --- leaves ------------------------------------------------------------------ */

/* Physical addresses are of no interest: contiguous in IPA and alike is one run. */
static void add_leaf(struct live_reader *reader, u64 desc, u64 ipa, int level)
{
	u64 bits = desc & ~desc_address_bits();
	struct hx_leaf_run leaf = {
		.ipa = ipa,
		.count = 1,
		.shift = desc_shift(level),
		.prot = desc_prot(bits),
		.attr = desc_attr(bits, level),
	};
	struct hx_leaf_run *last = reader->runs + reader->nr - 1;

	if (ipa + BIT_ULL(leaf.shift) > reader->live->skip_from && ipa < reader->live->skip_to)
		return;
	if (reader->nr && reader->nr <= reader->live->room && ipa == reader->next_ipa &&
	    last->shift == leaf.shift && last->prot == leaf.prot && last->attr == leaf.attr) {
		last->count++;
	} else {
		if (reader->nr < reader->live->room)
			reader->runs[reader->nr] = leaf;
		reader->nr++;
	}
	reader->next_ipa = ipa + BIT_ULL(leaf.shift);
}

/* Most of a table is empty, and it is read after every step: how many entries from here on are 0. */
static u64 empty_entries(const u64 *entry, u64 nr)
{
	u64 i;

	for (i = 0; i + GROUP <= nr; i += GROUP, entry += GROUP)
		if (entry[0] | entry[1] | entry[2] | entry[3] |
		    entry[4] | entry[5] | entry[6] | entry[7])
			break;
	return i;
}

static void read_entries(struct live_reader *reader, const u64 *table, u64 nr, u64 ipa, int level)
{
	u64 size = BIT_ULL(desc_shift(level)), i, desc;

	for (i = 0; i < nr; i++) {
		if (i % GROUP == 0)
			i += empty_entries(table + i, nr - i);
		if (i == nr)
			break;
		desc = READ_ONCE(table[i]);

		if (desc_is_table(desc, level))
			read_entries(reader, phys_to_virt(desc_address(desc)), ENTRIES,
				     ipa + i * size, level + 1);
		else if (desc & DESC_VALID)
			add_leaf(reader, desc, ipa + i * size, level);
	}
}

static void read_vm(struct live_reader *reader, struct kvm *kvm)
{
	const struct kvm_pgtable *pgt;

#ifdef KVM_HAVE_MMU_RWLOCK
	write_lock(&kvm->mmu_lock);
#else
	spin_lock(&kvm->mmu_lock);
#endif
	pgt = kvm->arch.mmu.pgt;
	if (pgt)
		read_entries(reader, (const u64 __force *)pgt->pgd,
			     BIT_ULL(pgt->ia_bits - desc_shift(pgt->start_level)), 0,
			     pgt->start_level);
#ifdef KVM_HAVE_MMU_RWLOCK
	write_unlock(&kvm->mmu_lock);
#else
	spin_unlock(&kvm->mmu_lock);
#endif
}

static struct file *vm_file(int fd)
{
	struct file *file = fget(fd);

	if (!file)
		return ERR_PTR(-EBADF);
	if (!vm_ioctl || file->f_op->unlocked_ioctl != vm_ioctl) {
		fput(file);
		return ERR_PTR(-EINVAL);
	}
	return file;
}

long hx_live_leaves(void __user *arg)
{
	struct live_reader reader = {};
	struct hx_live live;
	struct file *file;
	long error = 0;

	if (copy_from_user(&live, arg, sizeof(live)))
		return -EFAULT;
	if (live.room > HX_MAX_LIVE_RUNS)
		return -EINVAL;
	file = vm_file(live.vm);
	if (IS_ERR(file))
		return PTR_ERR(file);
	reader.live = &live;
	reader.runs = kvcalloc(live.room, sizeof(*reader.runs), GFP_KERNEL);
	if (reader.runs) {
		read_vm(&reader, file->private_data);
		live.nr = reader.nr;
		if (copy_to_user((void __user *)live.runs, reader.runs,
				 min(live.nr, live.room) * sizeof(*reader.runs)) ||
		    copy_to_user(arg, &live, sizeof(live)))
			error = -EFAULT;
	} else {
		error = -ENOMEM;
	}
	kvfree(reader.runs);
	fput(file);
	return error;
}

/* --- ageing ------------------------------------------------------------------- */

long hx_live_age(void __user *arg)
{
	struct hx_age age;
	u64 at, end, step;

	if (copy_from_user(&age, arg, sizeof(age)))
		return -EFAULT;
	if (!clear_flush_young)
		return -EOPNOTSUPP;
	if ((age.start | age.size) & ~PAGE_MASK || age.size > HX_MAX_AGE ||
	    age.start + age.size < age.start || age.start + age.size > TASK_SIZE)
		return -EINVAL;
	end = age.start + age.size;
	/*
	 * Page by page, as folio_referenced_one() does it for pages that are mapped by entries, and
	 * what a huge page would fill at once, as for one of those.
	 */
	for (at = age.start; at < end; at += step) {
		step = IS_ALIGNED(at, PMD_SIZE) && end - at >= PMD_SIZE ? PMD_SIZE : PAGE_SIZE;
		clear_flush_young(current->mm, at, at + step);
		cond_resched();
	}
	return 0;
}
