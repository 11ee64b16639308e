// SPDX-License-Identifier: GPL-2.0-only
/*
 * Reads the table from its memory, by what the architecture says of stage-2
 * descriptors (Arm ARM, VMSAv8-64), not through the kernel's own walker: a
 * second opinion on what the operations left there.
 */
#include <linux/bitfield.h>
#include <linux/mm.h>
#include <linux/sched.h>

#include "hx.h"
#include "scan.h"

#define ENTRIES			(PAGE_SIZE / sizeof(u64))
#define LAST_LEVEL		3

#define DESC_VALID		BIT_ULL(0)
#define DESC_TABLE_OR_PAGE	BIT_ULL(1)
#define DESC_MEMATTR		GENMASK_ULL(5, 2)
#define DESC_READ		BIT_ULL(6)
#define DESC_WRITE		BIT_ULL(7)
#define DESC_SH			GENMASK_ULL(9, 8)
#define DESC_AF			BIT_ULL(10)
#define DESC_XN			GENMASK_ULL(54, 53)
#define DESC_SW			GENMASK_ULL(58, 55)

#define SH_INNER		3
#define XN_NONE			0	/* EL1 and EL0 may execute */
#define XN_ALL			2	/* bit 54, which is XN without FEAT_XNX */

/* Output addresses beyond 48 bits: 64K pages, or FEAT_LPA2. */
#define DESC_PA_51_48		GENMASK_ULL(15, 12)
#define DESC_PA_51_50		GENMASK_ULL(9, 8)

static bool lpa2(void)
{
	return hx.info.host & HX_HOST_LPA2;
}

static u64 address_bits(void)
{
	if (lpa2())
		return GENMASK_ULL(49, PAGE_SHIFT) | DESC_PA_51_50;
	if (PAGE_SHIFT == 16)
		return GENMASK_ULL(47, PAGE_SHIFT) | DESC_PA_51_48;
	return GENMASK_ULL(47, PAGE_SHIFT);
}

static u64 output_address(u64 desc)
{
	if (lpa2())
		return (desc & GENMASK_ULL(49, PAGE_SHIFT)) |
		       FIELD_GET(DESC_PA_51_50, desc) << 50;
	if (PAGE_SHIFT == 16)
		return (desc & GENMASK_ULL(47, PAGE_SHIFT)) |
		       FIELD_GET(DESC_PA_51_48, desc) << 48;
	return desc & GENMASK_ULL(47, PAGE_SHIFT);
}

static u8 entry_shift(int level)
{
	return (PAGE_SHIFT - 3) * (4 - level) + 3;
}

static u8 attr_of(u64 bits, int level)
{
	u64 used = DESC_VALID | DESC_TABLE_OR_PAGE | DESC_MEMATTR | DESC_READ | DESC_WRITE |
		   DESC_AF | DESC_XN | DESC_SW | (lpa2() ? 0 : DESC_SH);
	u64 normal = hx.info.host & HX_HOST_FWB ? 0x6 : 0xf;
	u64 xn = FIELD_GET(DESC_XN, bits);
	u8 af = bits & DESC_AF ? HX_ATTR_AF : 0;

	if (bits & ~used || (xn != XN_NONE && xn != XN_ALL) ||
	    (!lpa2() && FIELD_GET(DESC_SH, bits) != SH_INNER) ||
	    !(bits & DESC_TABLE_OR_PAGE) == (level == LAST_LEVEL))
		return HX_ATTR_OTHER | af;
	if (FIELD_GET(DESC_MEMATTR, bits) == normal)
		return HX_ATTR_NORMAL | af;
	switch (FIELD_GET(DESC_MEMATTR, bits)) {
	case 0x5:
		return HX_ATTR_NC | af;
	case 0x1:
		return HX_ATTR_DEVICE | af;
	default:
		return HX_ATTR_OTHER | af;
	}
}

static u8 prot_of(u64 bits)
{
	return (bits & DESC_READ ? HX_PROT_R : 0) | (bits & DESC_WRITE ? HX_PROT_W : 0) |
	       (FIELD_GET(DESC_XN, bits) == XN_NONE ? HX_PROT_X : 0);
}

/* The run that the next leaf may continue. */
struct tail {
	struct hx_leaf_run *run;
	u64 next_ipa;
	u64 next_desc;
};

static bool continues(struct tail *tail, u64 desc, u64 ipa, u8 shift)
{
	const struct hx_leaf_run *run = tail->run;

	if (!run || ipa != tail->next_ipa || shift != run->shift)
		return false;
	return desc == tail->next_desc ||
	       ((desc & ~address_bits()) == run->bits &&
		output_address(desc) == run->pa + ((u64)run->count << shift));
}

static void add_leaf(struct hx_scan *scan, struct tail *tail, u64 desc, u64 ipa, int level)
{
	u8 shift = entry_shift(level);

	if (continues(tail, desc, ipa, shift)) {
		tail->run->count++;
	} else {
		u64 bits = desc & ~address_bits();

		tail->run = hx_list_add(&scan->leaves);
		if (!tail->run) {
			scan->incomplete = true;
			return;
		}
		*tail->run = (struct hx_leaf_run){
			.ipa = ipa,
			.pa = output_address(desc),
			.bits = bits,
			.count = 1,
			.shift = shift,
			.prot = prot_of(bits),
			.sw = FIELD_GET(DESC_SW, bits),
			.attr = attr_of(bits, level),
		};
	}
	tail->next_ipa = ipa + BIT_ULL(shift);
	tail->next_desc = desc + BIT_ULL(shift);
}

static void add_annotation(struct hx_scan *scan, u64 value, u64 ipa, int level)
{
	struct hx_annotation_run *run = NULL;
	u8 shift = entry_shift(level);

	if (scan->annotations.now.nr)
		run = (struct hx_annotation_run *)scan->annotations.now.items +
		      scan->annotations.now.nr - 1;
	if (run && run->value == value && run->shift == shift &&
	    run->ipa + ((u64)run->count << shift) == ipa) {
		run->count++;
		return;
	}
	run = hx_list_add(&scan->annotations);
	if (!run) {
		scan->incomplete = true;
		return;
	}
	*run = (struct hx_annotation_run){
		.ipa = ipa, .value = value, .count = 1, .shift = shift,
	};
}

static void add_bad(struct hx_scan *scan, u64 ipa, int level, int count, int expected)
{
	if (scan->nr_bad < HX_MAX_BAD)
		scan->bad[scan->nr_bad++] = (struct hx_bad_table){
			.ipa = ipa, .level = level, .count = count, .expected = expected,
		};
}

/* Where the next entry that is not 0 stands, or ENTRIES. */
static u32 next_used(const u64 *table, u32 i)
{
	for (; i < ENTRIES && i % 8; i++) {
		if (table[i])
			return i;
	}
	for (; i < ENTRIES; i += 8) {
		const u64 *at = table + i;

		if (at[0] | at[1] | at[2] | at[3] | at[4] | at[5] | at[6] | at[7])
			break;
	}
	while (i < ENTRIES && !table[i])
		i++;
	return i;
}

static void scan_page(struct hx_scan *scan, struct tail *tail, const u64 *table, u64 ipa,
		      int level)
{
	u64 size = BIT_ULL(entry_shift(level));
	int counted = 0, refs = hx_tables_refs(table);
	u32 i;

	for (i = next_used(table, 0); i < ENTRIES; i = next_used(table, i + 1)) {
		u64 desc = table[i], at = ipa + i * size;

		if (!(desc & DESC_VALID)) {
			/* 5.10 clears the valid bit alone: the rest means nothing. */
			if (IS_ENABLED(HX_HAS_MM_OPS)) {
				counted++;
				add_annotation(scan, desc, at, level);
			}
			continue;
		}
		counted++;
		if (level == LAST_LEVEL || !(desc & DESC_TABLE_OR_PAGE)) {
			add_leaf(scan, tail, desc, at, level);
			continue;
		}
		scan->tables++;
		hx_tables_mark(phys_to_virt(output_address(desc)));
		scan_page(scan, tail, phys_to_virt(output_address(desc)), at, level + 1);
	}
	if (refs != counted + 1)
		add_bad(scan, ipa, level, refs, counted + 1);
	cond_resched();
}

static void add_unreachable(int refs, void *arg)
{
	add_bad(arg, 0, HX_UNREACHABLE, refs, 0);
}

static u32 root_pages(void)
{
	u64 page_covers = BIT_ULL(entry_shift(hx.pgt.start_level - 1));

	return max_t(u64, 1, BIT_ULL(hx.pgt.ia_bits) / page_covers);
}

int hx_scan_table(struct hx_scan *scan)
{
	const u64 *root = (const u64 *)hx.pgt.pgd;
	struct tail tail = { .run = NULL };
	u32 i, pages = root ? root_pages() : 0;

	hx_list_next(&scan->leaves);
	hx_list_next(&scan->annotations);
	scan->nr_bad = 0;
	scan->tables = 0;
	hx_tables_mark_begin();
	for (i = 0; i < pages; i++)
		scan_page(scan, &tail, root + i * ENTRIES,
			  i * BIT_ULL(entry_shift(hx.pgt.start_level - 1)), hx.pgt.start_level);
	if (hx_tables_live() > scan->tables + pages)
		hx_tables_unmarked(add_unreachable, scan);
	return scan->incomplete ? -ENOMEM : 0;
}

void hx_scan_init(struct hx_scan *scan)
{
	memset(scan, 0, sizeof(*scan));
	scan->leaves.item_size = sizeof(struct hx_leaf_run);
	scan->annotations.item_size = sizeof(struct hx_annotation_run);
}

void hx_scan_free(struct hx_scan *scan)
{
	hx_list_free(&scan->leaves);
	hx_list_free(&scan->annotations);
}
