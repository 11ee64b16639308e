/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stage-2 descriptors as the architecture lays them out (Arm ARM, VMSAv8-64), and
 * not as the kernel's headers say: a second opinion on what the kernel wrote.
 */
#ifndef HX_DESC_H
#define HX_DESC_H

#include <linux/bitfield.h>
#include <linux/bits.h>

#include "hx.h"

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

static inline bool desc_lpa2(void)
{
	return hx.info.host & HX_HOST_LPA2;
}

/* The bits that hold the output address. */
static inline u64 desc_address_bits(void)
{
	if (desc_lpa2())
		return GENMASK_ULL(49, PAGE_SHIFT) | DESC_PA_51_50;
	if (PAGE_SHIFT == 16)
		return GENMASK_ULL(47, PAGE_SHIFT) | DESC_PA_51_48;
	return GENMASK_ULL(47, PAGE_SHIFT);
}

static inline u64 desc_address(u64 desc)
{
	if (desc_lpa2())
		return (desc & GENMASK_ULL(49, PAGE_SHIFT)) |
		       FIELD_GET(DESC_PA_51_50, desc) << 50;
	if (PAGE_SHIFT == 16)
		return (desc & GENMASK_ULL(47, PAGE_SHIFT)) |
		       FIELD_GET(DESC_PA_51_48, desc) << 48;
	return desc & GENMASK_ULL(47, PAGE_SHIFT);
}

/* Valid, at a level where a table may stand, and a table. */
static inline bool desc_is_table(u64 desc, int level)
{
	return level != LAST_LEVEL && (desc & DESC_VALID) && (desc & DESC_TABLE_OR_PAGE);
}

/* 5.10 clears the valid bit alone: what is left behind there means nothing. */
static inline bool desc_is_counted(u64 desc)
{
	return IS_ENABLED(HX_HAS_MM_OPS) ? desc : desc & DESC_VALID;
}

/* log2 of what one entry at this level covers. */
static inline u8 desc_shift(int level)
{
	return (PAGE_SHIFT - 3) * (4 - level) + 3;
}

static inline u8 desc_prot(u64 bits)
{
	return (bits & DESC_READ ? HX_PROT_R : 0) | (bits & DESC_WRITE ? HX_PROT_W : 0) |
	       (FIELD_GET(DESC_XN, bits) == XN_NONE ? HX_PROT_X : 0);
}

/* Of a leaf: HX_ATTR_OTHER where any bit is not as the kernel's API can make it. */
static inline u8 desc_attr(u64 bits, int level)
{
	u64 used = DESC_VALID | DESC_TABLE_OR_PAGE | DESC_MEMATTR | DESC_READ | DESC_WRITE |
		   DESC_AF | DESC_XN | DESC_SW | (desc_lpa2() ? 0 : DESC_SH);
	u64 normal = hx.info.host & HX_HOST_FWB ? 0x6 : 0xf;
	u64 xn = FIELD_GET(DESC_XN, bits);
	u8 af = bits & DESC_AF ? HX_ATTR_AF : 0;

	if (bits & ~used || (xn != XN_NONE && xn != XN_ALL) ||
	    (!desc_lpa2() && FIELD_GET(DESC_SH, bits) != SH_INNER) ||
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

#endif /* HX_DESC_H */
