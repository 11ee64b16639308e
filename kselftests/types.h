/* SPDX-License-Identifier: GPL-2.0-only */
/* Short names for fixed-width types and sizes, as the kernel spells them. */
#ifndef HX_TYPES_H
#define HX_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int32_t s32;
typedef int64_t s64;

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

#define SZ_4K		0x1000UL
#define SZ_16K		0x4000UL
#define SZ_64K		0x10000UL
#define SZ_1M		0x100000UL
#define SZ_2M		0x200000UL
#define SZ_32M		0x2000000UL
#define SZ_512M		0x20000000UL
#define SZ_1G		0x40000000UL

#define __printf(fmt, args)	__attribute__((format(printf, fmt, args)))
#define __noreturn		__attribute__((noreturn))

static inline u64 round_up(u64 value, u64 multiple)
{
	return (value + multiple - 1) / multiple * multiple;
}

#endif /* HX_TYPES_H */
