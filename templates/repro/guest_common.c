{# SPDX-License-Identifier: GPL-2.0-only #}
/* --- what a step showed, and what it should have --------------------------- */

static const char *title;
static bool step_ok = true;

static void end(void)
{
	if (title)
		report(step_ok, title);
	title = NULL;
}

static void begin(const char *what)
{
	end();
	title = what;
	step_ok = true;
}

#define EXPECT(same, ...)				\
	do {						\
		if (!(same)) {				\
			step_ok = false;		\
			note(__VA_ARGS__);		\
		}					\
	} while (0)

static void expect_ret(int ret)
{
	EXPECT(seen.ret == ret, "ret: expected %d, got %d (%s)", ret, seen.ret,
	       seen.ret < 0 ? strerror(-seen.ret) : "no error");
}

{% if 'data' in uses %}
static void expect_data(u64 data)
{
	EXPECT(seen.done, "data: the access did not complete");
	EXPECT(!seen.done || seen.data == data, "data: expected %#llx, got %#llx",
	       (unsigned long long)data, (unsigned long long)seen.data);
}

{% endif %}
{% if 'no_exit' in uses %}
/* The vCPU went on without leaving for userspace. */
static void expect_no_exit(void)
{
	EXPECT(!seen.exited, "exit: expected none, got reason %u at %#llx", seen.reason,
	       (unsigned long long)seen.exit_gpa);
}

{% endif %}
{% if 'exit' in uses %}
static void expect_exit(u32 reason)
{
	EXPECT(seen.exited && seen.reason == reason, "exit: expected reason %u, got %d", reason,
	       seen.exited ? (int)seen.reason : -1);
}

{% endif %}
{% if 'mmio' in uses %}
static void expect_mmio(bool write, u64 gpa, u32 len, u64 data)
{
	EXPECT(seen.exited && seen.reason == KVM_EXIT_MMIO, "exit: expected MMIO, got %d",
	       seen.exited ? (int)seen.reason : -1);
	EXPECT(seen.exit_write == write && seen.exit_gpa == gpa && seen.exit_len == len,
	       "exit: expected MMIO %s of %u bytes at %#llx, got %s of %u bytes at %#llx",
	       write ? "write" : "read", len, (unsigned long long)gpa,
	       seen.exit_write ? "write" : "read", seen.exit_len,
	       (unsigned long long)seen.exit_gpa);
	EXPECT(!write || seen.exit_data == data, "exit: expected MMIO data %#llx, got %#llx",
	       (unsigned long long)data, (unsigned long long)seen.exit_data);
}

{% endif %}
{% if 'no_abort' in uses %}
/* The guest's own vectors saw nothing. */
static void expect_no_abort(void)
{
	EXPECT(!seen.aborted, "guest: expected no exception, got EC %#x, FSC %#x, FAR %#llx",
	       (u32)(seen.esr >> 26 & 0x3f), (u32)(seen.esr & 0x3f), (unsigned long long)seen.far);
}

{% endif %}
{% if 'abort' in uses %}
/* fsc < 0: of no interest; far == ~0: the FAR is not valid. */
static void expect_abort(u32 ec, int fsc, u64 far)
{
	u32 got = seen.esr >> 26 & 0x3f;

	EXPECT(seen.aborted && got == ec, "guest: expected an exception of EC %#x, got %#x", ec,
	       seen.aborted ? got : 0);
	EXPECT(fsc < 0 || (int)(seen.esr & 0x3f) == fsc, "guest: expected FSC %#x, got %#x", fsc,
	       (u32)(seen.esr & 0x3f));
	EXPECT(far == ~0ULL || seen.far == far, "guest: expected FAR %#llx, got %#llx",
	       (unsigned long long)far, (unsigned long long)seen.far);
}

{% endif %}
{% if 'slots' in uses %}
/* --- memslots, and the memory behind them ----------------------------------- */

struct slot {
	bool used;
	u32 flags;
	u64 gpa;
	u64 size;
	char *memory;		/* of the slot, in whole pages */
	size_t mapped;
	char *area;		/* what was mapped for it: out to whole huge pages */
	size_t area_size;
};

static struct slot slots[512];

static int set_region(u32 id, const struct slot *wanted)
{
	struct kvm_userspace_memory_region region = {
		.slot = SLOT_ID(id),
		.flags = wanted->flags,
		.guest_phys_addr = wanted->gpa,
		.memory_size = wanted->size,
		.userspace_addr = (unsigned long)wanted->memory,
	};

	return call_vm(KVM_SET_USER_MEMORY_REGION, &region);
}

{% endif %}
{% if 'slot_add' in uses %}
/* The host memory behind a slot. Zero: private, anonymous, small pages, untouched. */
struct backing {
	enum { ANON, HUGE, SHMEM, MEMFD, HUGETLB, ZERO } kind;	/* HUGE: MADV_HUGEPAGE */
	bool prefill;		/* each page holds "movz w0, #page number; ret", over and over */
	size_t page_size;	/* of hugetlb */
	size_t offset;		/* behind a boundary of a block */
};

#define BACKING(...)	((struct backing){ __VA_ARGS__ })
#define PREFILL		BACKING(.prefill = true)
#define UNTOUCHED	BACKING(ANON)

static void prefill(struct slot *slot)
{
	size_t page_size = getpagesize(), at;

	/* A first write into each block, for a huge page. */
	for (at = 0; at < slot->area_size; at += page_size * page_size / 8)
		*(volatile char *)(slot->area + at) = 0;
	for (at = 0; slot->area_size > slot->mapped && at < slot->area_size; at += page_size)
		*(volatile char *)(slot->area + at) = 0;
	for (at = 0; at < slot->mapped; at += 8) {
		unsigned long code = 0xd65f03c052800000UL | (at / page_size & 0xffff) << 5;

		memcpy(slot->memory + at, &code, 8);
	}
	__builtin___clear_cache(slot->memory, slot->memory + slot->mapped);
}

static void *map_there(void *where, size_t size, struct backing backing)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS, fd = -1;

	if (backing.kind == SHMEM)
		flags = MAP_SHARED | MAP_ANONYMOUS;
	if (backing.kind == HUGETLB)
		flags |= MAP_HUGETLB | __builtin_ctzl(backing.page_size) << 26;
	if (backing.kind == MEMFD) {
		flags = MAP_SHARED;
		fd = memfd_create("slot", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, size))
			give_up("memfd");
	}
	return mmap(where, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);
}

static void new_memory(struct slot *slot, struct backing backing)
{
	size_t page = getpagesize(), block = page * page / 8, reach = page, begin, end;
	volatile char *at;
	char *base;

	if (backing.page_size > block)
		block = backing.page_size;
	if (backing.kind == HUGETLB)
		reach = backing.page_size;
	else if (backing.kind == HUGE)
		reach = block;
	begin = backing.offset & -reach;
	end = (backing.offset + slot->size + reach - 1) & -reach;
	base = mmap(NULL, end + block, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (base == MAP_FAILED)
		give_up("mmap");
	base = (char *)(((unsigned long)base + block - 1) & -block);
	slot->mapped = (slot->size + page - 1) & -page;
	slot->memory = base + backing.offset;
	slot->area_size = end - begin;
	slot->area = map_there(base + begin, slot->area_size, backing);
	if (slot->area == MAP_FAILED)
		give_up("memory of that kind");
	if (backing.kind == ANON || backing.kind == ZERO)
		madvise(slot->area, slot->area_size, MADV_NOHUGEPAGE);
	else if (backing.kind == HUGE && madvise(slot->area, slot->area_size, MADV_HUGEPAGE))
		give_up("MADV_HUGEPAGE");
	if (backing.prefill)
		prefill(slot);
	if (backing.kind == ZERO)
		for (at = slot->memory; at < slot->memory + slot->mapped; at += page)
			(void)*at;
}

static void slot_add(u32 id, u64 gpa, u64 size, struct backing backing, u32 flags)
{
	struct slot wanted = { .used = true, .flags = flags, .gpa = gpa, .size = size };

	memset(&seen, 0, sizeof(seen));
	new_memory(&wanted, backing);
	seen.ret = set_region(id, &wanted);
	if (!seen.ret)
		slots[id] = wanted;
}

{% endif %}
{% if 'slot_flags' in uses %}
static void slot_flags(u32 id, u32 flags)
{
	struct slot wanted = slots[id];

	memset(&seen, 0, sizeof(seen));
	wanted.flags = flags;
	seen.ret = wanted.used ? set_region(id, &wanted) : -ENOENT;
	if (!seen.ret)
		slots[id] = wanted;
}

{% endif %}
{% if 'slot_move' in uses %}
static void slot_move(u32 id, u64 gpa)
{
	struct slot wanted = slots[id];

	memset(&seen, 0, sizeof(seen));
	wanted.gpa = gpa;
	seen.ret = wanted.used ? set_region(id, &wanted) : -ENOENT;
	if (!seen.ret)
		slots[id] = wanted;
}

{% endif %}
{% if 'slot_delete' in uses %}
static void slot_delete(u32 id)
{
	struct slot wanted = slots[id];

	memset(&seen, 0, sizeof(seen));
	wanted.size = 0;
	wanted.flags = 0;
	seen.ret = set_region(id, &wanted);
	if (!seen.ret && slots[id].used) {
		munmap(slots[id].area, slots[id].area_size);
		memset(&slots[id], 0, sizeof(slots[id]));
	}
}

{% endif %}
{% if 'dirty' in uses %}
/* --- the dirty log ------------------------------------------------------------ */

static u64 slot_pages(u32 id)
{
	return slots[id].used ? slots[id].size / getpagesize() : 0;
}

{% endif %}
{% if 'dirty_get' in uses %}
static u64 *dirty_bitmap;
static u64 dirty_words;

static void dirty_get(u32 id)
{
	struct kvm_dirty_log log = { .slot = SLOT_ID(id) };

	memset(&seen, 0, sizeof(seen));
	free(dirty_bitmap);
	dirty_words = slot_pages(id) / 64 + 512;
	dirty_bitmap = calloc(dirty_words, 8);
	if (!dirty_bitmap)
		give_up("calloc");
	log.dirty_bitmap = dirty_bitmap;
	seen.ret = call_vm(KVM_GET_DIRTY_LOG, &log);
}

{% endif %}
{% if 'expect_dirty' in uses %}
/* Exactly these pages of the slot are reported as dirty. */
static void expect_dirty(size_t count, const u64 *pages)
{
	u64 page;
	size_t i;

	for (page = 0; page < dirty_words * 64; page++) {
		bool got = dirty_bitmap[page / 64] >> page % 64 & 1, wanted = false;

		for (i = 0; i < count; i++)
			wanted |= pages[i] == page;
		EXPECT(got == wanted, "dirty: expected page %llu %s, it is %s",
		       (unsigned long long)page, wanted ? "dirty" : "clean",
		       got ? "dirty" : "clean");
	}
}

#define PAGES(...)	sizeof((u64[]){ __VA_ARGS__ }) / 8, (u64[]){ __VA_ARGS__ }
#define NO_PAGES	0, NULL

{% endif %}
{% if 'dirty_clear' in uses %}
#define TO_SLOT_END	(~0ULL)
#define ALL_PAGES	0, NULL
#define THESE(...)	sizeof((u64[]){ __VA_ARGS__ }) / 8, (u64[]){ __VA_ARGS__ }

static void dirty_clear(u32 id, u64 first, u64 pages, size_t count, const u64 *list)
{
	u64 all = slot_pages(id), *bitmap = calloc(all / 64 + 512, 8), page, span;
	struct kvm_clear_dirty_log log = {
		.slot = SLOT_ID(id),
		.first_page = first,
		.dirty_bitmap = bitmap,
	};
	size_t i;

	memset(&seen, 0, sizeof(seen));
	if (!bitmap)
		give_up("calloc");
	if (pages == TO_SLOT_END)
		pages = first < all ? all - first : 0;
	log.num_pages = pages < UINT32_MAX ? pages : UINT32_MAX;
	span = pages < all ? pages : all;
	for (page = 0; !list && page < span; page++)
		bitmap[page / 64] |= 1ULL << page % 64;
	span = (span + 63) / 64 * 64;
	for (i = 0; i < count; i++)
		if (list[i] >= first && list[i] - first < span)
			bitmap[(list[i] - first) / 64] |= 1ULL << (list[i] - first) % 64;
	seen.ret = call_vm(KVM_CLEAR_DIRTY_LOG, &log);
	free(bitmap);
}

{% endif %}
{% if 'host' in uses %}
/* --- the host's own accesses ---------------------------------------------------- */

static void *host_address(u64 gpa, u64 size)
{
	struct slot *slot;

	for (slot = slots; slot < slots + 512; slot++)
		if (slot->used && gpa >= slot->gpa && gpa + size <= slot->gpa + slot->size)
			return slot->memory + (gpa - slot->gpa);
	give_up("no slot holds the address");
	return NULL;
}

{% endif %}
{% if 'host_read' in uses %}
static void host_read(u64 gpa, u32 size)
{
	const void *at = host_address(gpa, size);

	memset(&seen, 0, sizeof(seen));
	memcpy(&seen.data, at, size);
	seen.done = true;
}

{% endif %}
{% if 'host_write' in uses %}
static void host_write(u64 gpa, u32 size, u64 value)
{
	char *at = host_address(gpa, size);

	memset(&seen, 0, sizeof(seen));
	memcpy(at, &value, size);
	__builtin___clear_cache(at, at + size);
}

{% endif %}
{% if 'host_madvise' in uses %}
static void host_madvise(u64 gpa, u64 size, int advice)
{
	memset(&seen, 0, sizeof(seen));
	seen.ret = madvise(host_address(gpa, size), size, advice) ? -errno : 0;
}

{% endif %}
{% if 'punch_hole' in uses %}
static void punch_hole(u64 gpa, u64 size)
{
	host_madvise(gpa, size, MADV_REMOVE);
}

{% endif %}
{% if 'host_remap' in uses %}
/* Fresh pages in the place of the old ones. */
static void host_remap(u64 gpa, u64 size)
{
	void *address = host_address(gpa, size);

	memset(&seen, 0, sizeof(seen));
	if (mmap(address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED,
		 -1, 0) == MAP_FAILED)
		seen.ret = -errno;
	else
		madvise(address, size, MADV_NOHUGEPAGE);
}

{% endif %}
{% if 'fork_touch' in uses %}
/* A child writes a byte into each page, and is gone. */
static void fork_touch(u64 gpa, u64 size)
{
	volatile char *address = host_address(gpa, size);
	pid_t child;
	u64 at;

	memset(&seen, 0, sizeof(seen));
	child = fork();
	if (child < 0)
		give_up("fork");
	if (!child) {
		for (at = 0; at < size; at += getpagesize())
			address[at] = 1;
		_exit(0);
	}
	while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
		;
}

{% endif %}
{% if 'host_mprotect' in uses %}
static void host_mprotect(u64 gpa, u64 size, int prot)
{
	memset(&seen, 0, sizeof(seen));
	seen.ret = mprotect(host_address(gpa, size), size, prot) ? -errno : 0;
}

{% endif %}
{% if 'guest_write' in uses %}
/* Where the guest may write code: its caches are cleaned, so that fetches see it. */
static bool needs_clean(u64 gpa)
{
{% if 'slots' in uses %}
	const struct slot *slot;

	for (slot = slots; slot < slots + 512; slot++)
		if (slot->used && gpa >= slot->gpa && gpa < slot->gpa + slot->size)
			return !(slot->flags & KVM_MEM_READONLY);
	return false;
{% else %}
	(void)gpa;
	return false;
{% endif %}
}

{% endif %}
{% if 'guest_read' in uses %}
static void guest_read(u32 vcpu, u64 gpa, u32 size)
{
	access_by(vcpu, LOAD, gpa, size, 0, false);
}

{% endif %}
{% if 'guest_write' in uses %}
static void guest_write(u32 vcpu, u64 gpa, u32 size, u64 value)
{
	access_by(vcpu, STORE, gpa, size, value, needs_clean(gpa));
}

{% endif %}
{% if 'guest_exec' in uses %}
/* Calls the address: what the function there returns is the data. */
static void guest_exec(u32 vcpu, u64 gpa)
{
	access_by(vcpu, CALL, gpa, 4, 0, false);
}

{% endif %}
