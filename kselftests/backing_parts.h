/* SPDX-License-Identifier: GPL-2.0-only */
/* What backing.c, device.c, huge.c and kept.c are to each other. */
#ifndef HX_BACKING_PARTS_H
#define HX_BACKING_PARTS_H

#include "backing.h"

/* backing.c */

/* What a level-2 entry of the host's own tables maps. */
u64 pmd_size(void);
/* Room that nothing is mapped in, of a multiple of align at one, with a gap behind it. */
char *room_at(u64 *next, size_t size, u64 align);
/* Maps exactly there; NULL with errno. */
char *map_at(char *area, size_t size, int prot, int flags, int fd);
/* The same, of a file from an offset on. */
char *map_part_at(char *area, size_t size, int prot, int flags, int fd, u64 offset);
/* The same, private and of small pages. */
char *map_fresh(char *area, size_t size);
/* Page n holds n. */
void prefill(char *memory, size_t size);
u64 page_code(size_t n);
/* A page holds one value over and over. */
void fill_page(char *page, size_t page_size, u64 value);
bool page_is_filled(const char *page, size_t page_size, u64 value);

/* device.c */

/* Maps memory->area and zeroes it, or leaves NULL there with errno; SKIP without a device. */
void map_device(struct memory *memory);
/* A scenario ended: all of the device is free again. */
void device_end(void);

/* huge.c */

/* Maps memory->area, or leaves NULL there with errno. */
void map_thp(struct memory *memory, u32 what);
void map_hugetlb(struct memory *memory, u64 page_size);
/* Touches every block, and ends the scenario where one is not a huge page then. */
void fill_with_thp(const struct memory *memory);

/* kept.c */

bool is_kept(const char *area);
/* Memory for a slot from what is kept, where that can be. */
bool from_kept(struct memory *memory, const struct backing *backing, u64 size);
void give_back(const struct memory *memory);

#endif /* HX_BACKING_PARTS_H */
