// SPDX-License-Identifier: GPL-2.0-only
/* Memslots, their dirty logs, and the host's own view of their memory. */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "record.h"
#include "trace.h"
#include "vm.h"

/* The code in a prefilled page: movz w0, #n; ret. */
#define INSN_MOVZ_W0	0x52800000UL
#define INSN_RET	0xd65f03c0UL

#define PAGES_PER_WORD	64
/* Behind every bitmap that the kernel writes to, for one that writes too much. */
#define BITMAP_SLACK	4096

/* --- bookkeeping ------------------------------------------------------------- */

static struct slot *slot_of(struct vm *vm, u32 id)
{
	if (id >= MAX_SLOTS || id == RUNTIME_SLOT)
		scenario_infra("slot %u is not for scenarios", id);
	return &vm->slot[id];
}

struct slot *slot_at(struct vm *vm, u64 gpa, u64 size)
{
	struct slot *slot;

	for (slot = vm->slot; slot < vm->slot + MAX_SLOTS; slot++)
		if (slot->used && gpa >= slot->gpa && size <= slot->size &&
		    gpa - slot->gpa <= slot->size - size)
			return slot;
	return NULL;
}

static u64 pages_of(const struct vm *vm, const struct slot *slot)
{
	return slot->used ? slot->size / vm->page_size : 0;
}

/* The slot as the kernel is to see it; it becomes the slot if the kernel agrees. */
static int set_region(struct vm *vm, u32 id, const struct slot *wanted)
{
	struct kvm_userspace_memory_region region = {
		.slot = id,
		.flags = wanted->flags,
		.guest_phys_addr = wanted->gpa,
		.memory_size = wanted->size,
		.userspace_addr = (u64)wanted->memory,
	};

	return kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
}

static void record_region(int ret)
{
	step_s64("ret", ret);
	trace_record();
	step_end();
}

/* --- slots -------------------------------------------------------------------- */

/* Writes every page, so that the host's page tables hold a writable one. */
static void prefill(struct vm *vm, struct slot *slot)
{
	char *page = slot->memory;
	size_t n, length;
	u64 code;

#ifdef MADV_POPULATE_WRITE
	/* Saves the faults; a kernel that lacks it takes them below. */
	madvise(slot->memory, slot->mapped, MADV_POPULATE_WRITE);
#endif
	for (n = 0; n < slot->mapped / vm->page_size; n++, page += vm->page_size) {
		code = INSN_RET << 32 | INSN_MOVZ_W0 | (n & 0xffff) << 5;
		memcpy(page, &code, sizeof(code));
		for (length = sizeof(code); length < vm->page_size; length *= 2)
			memcpy(page + length, page, length);
	}
	if (vm->clean_stores)
		__builtin___clear_cache(slot->memory, (char *)slot->memory + slot->mapped);
}

void slot_add(struct vm *vm, u32 id, u64 gpa, u64 size, u32 backing, u32 flags)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = { .used = true, .flags = flags, .gpa = gpa, .size = size };
	int ret;

	step_begin();
	wanted.mapped = round_up(size, vm->page_size);
	wanted.memory = anon_memory(wanted.mapped);
	if (!wanted.memory)
		scenario_infra("%llu bytes for slot %u: %s", (unsigned long long)size, id,
			       strerror(errno));
	if (backing & PREFILL)
		prefill(vm, &wanted);
	ret = set_region(vm, id, &wanted);
	if (ret) {
		munmap(wanted.memory, wanted.mapped);
	} else {
		if (slot->used)
			munmap(slot->memory, slot->mapped);
		*slot = wanted;
	}
	record_region(ret);
}

void slot_flags(struct vm *vm, u32 id, u32 flags)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = *slot;
	int ret = -ENOENT;

	step_begin();
	wanted.flags = flags;
	if (slot->used)
		ret = set_region(vm, id, &wanted);
	if (!ret)
		*slot = wanted;
	record_region(ret);
}

void slot_move(struct vm *vm, u32 id, u64 gpa)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = *slot;
	int ret = -ENOENT;

	step_begin();
	wanted.gpa = gpa;
	if (slot->used)
		ret = set_region(vm, id, &wanted);
	if (!ret)
		*slot = wanted;
	record_region(ret);
}

void slot_delete(struct vm *vm, u32 id)
{
	struct slot *slot = slot_of(vm, id);
	struct slot wanted = *slot;
	int ret;

	step_begin();
	wanted.size = 0;
	wanted.flags = 0;
	ret = set_region(vm, id, &wanted);
	if (!ret && slot->used) {
		munmap(slot->memory, slot->mapped);
		memset(slot, 0, sizeof(*slot));
	}
	record_region(ret);
}

/* --- dirty log ----------------------------------------------------------------- */

static u64 *new_bitmap(u64 pages)
{
	u64 *bitmap = calloc(1, round_up(pages, PAGES_PER_WORD) / 8 + BITMAP_SLACK);

	if (!bitmap)
		scenario_infra("no memory for the dirty bitmap of %llu pages",
			       (unsigned long long)pages);
	return bitmap;
}

static void set_bit(u64 *bitmap, u64 page)
{
	bitmap[page / PAGES_PER_WORD] |= 1UL << page % PAGES_PER_WORD;
}

static void record_dirty(const u64 *bitmap, u64 words)
{
	const char *comma = "";
	u64 i, word;

	step_key("dirty");
	record_text("[");
	for (i = 0; i < words; i++) {
		for (word = bitmap[i]; word; word &= word - 1) {
			record_text("%s%llu", comma, (unsigned long long)
				    (i * PAGES_PER_WORD + __builtin_ctzll(word)));
			comma = ",";
		}
	}
	record_text("]");
}

void dirty_get(struct vm *vm, u32 id)
{
	u64 pages = pages_of(vm, slot_of(vm, id));
	u64 *bitmap = new_bitmap(pages);
	struct kvm_dirty_log log = { .slot = id, .dirty_bitmap = bitmap };
	int ret;

	step_begin();
	ret = kvm_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log);
	step_s64("ret", ret);
	if (!ret)
		record_dirty(bitmap, (round_up(pages, PAGES_PER_WORD) + BITMAP_SLACK * 8) /
					     PAGES_PER_WORD);
	trace_record();
	step_end();
	free(bitmap);
}

void dirty_clear(struct vm *vm, u32 id, u64 first_page, u64 num_pages,
		 const struct page_list *list)
{
	u64 pages = pages_of(vm, slot_of(vm, id));
	u64 *bitmap = new_bitmap(pages);
	struct kvm_clear_dirty_log log = {
		.slot = id,
		.first_page = first_page,
		.dirty_bitmap = bitmap,
	};
	u64 page, span;
	size_t i;

	step_begin();
	if (num_pages == TO_SLOT_END)
		num_pages = first_page < pages ? pages - first_page : 0;
	log.num_pages = num_pages < UINT32_MAX ? num_pages : UINT32_MAX;

	/* More than the slot has is for the kernel to refuse, not to read. */
	span = num_pages < pages ? num_pages : pages;
	for (page = 0; list == ALL_PAGES && page < span; page++)
		set_bit(bitmap, page);
	span = round_up(span, PAGES_PER_WORD);
	for (i = 0; list && i < list->count; i++)
		if (list->pages[i] >= first_page && list->pages[i] - first_page < span)
			set_bit(bitmap, list->pages[i] - first_page);
	step_s64("ret", kvm_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log));
	trace_record();
	step_end();
	free(bitmap);
}

/* --- the host's view ------------------------------------------------------------- */

static void *host_address(struct vm *vm, u64 gpa, u64 size)
{
	struct slot *slot = slot_at(vm, gpa, size);

	if (!slot)
		scenario_infra("no slot holds all of %#llx +%#llx", (unsigned long long)gpa,
			       (unsigned long long)size);
	return (char *)slot->memory + (gpa - slot->gpa);
}

void host_read(struct vm *vm, u64 gpa, u32 size)
{
	const volatile void *address;
	u64 data = 0;

	step_begin();
	address = host_address(vm, gpa, size);
	switch (size) {
	case 1:
		data = *(const volatile u8 *)address;
		break;
	case 2:
		data = *(const volatile u16 *)address;
		break;
	case 4:
		data = *(const volatile u32 *)address;
		break;
	case 8:
		data = *(const volatile u64 *)address;
		break;
	default:
		scenario_infra("there is no access of %u bytes", size);
	}
	step_s64("ret", 0);
	step_u64("data", data);
	trace_record();
	step_end();
}

void host_write(struct vm *vm, u64 gpa, u32 size, u64 value)
{
	char *address;

	step_begin();
	address = host_address(vm, gpa, size);
	switch (size) {
	case 1:
		*(volatile u8 *)address = value;
		break;
	case 2:
		*(volatile u16 *)address = value;
		break;
	case 4:
		*(volatile u32 *)address = value;
		break;
	case 8:
		*(volatile u64 *)address = value;
		break;
	default:
		scenario_infra("there is no access of %u bytes", size);
	}
	/* The page is there now: the guest may execute what was written. */
	if (vm->clean_stores)
		__builtin___clear_cache(address, address + size);
	step_s64("ret", 0);
	trace_record();
	step_end();
}

void host_madvise(struct vm *vm, u64 gpa, u64 size, enum advice advice)
{
	static const int advices[] = { [DONTNEED] = MADV_DONTNEED };
	void *address;

	step_begin();
	address = host_address(vm, gpa, size);
	step_s64("ret", madvise(address, size, advices[advice]) ? -errno : 0);
	trace_record();
	step_end();
}
