// SPDX-License-Identifier: GPL-2.0-only
/* userfaultfd on the memory behind slots, in the form that fails at once (SIGBUS). */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "record.h"
#include "vm.h"

/* Of linux/userfaultfd.h: not all in the headers of older kernels. */
#define FEATURE_WP			(1UL << 0)
#define FEATURE_MISSING_HUGETLBFS	(1UL << 4)
#define FEATURE_MISSING_SHMEM		(1UL << 5)
#define FEATURE_SIGBUS			(1UL << 7)
#define FEATURE_MINOR_HUGETLBFS		(1UL << 9)
#define FEATURE_MINOR_SHMEM		(1UL << 10)
#define FEATURE_WP_HUGETLBFS_SHMEM	(1UL << 12)
#define FEATURES	(FEATURE_WP | FEATURE_MISSING_HUGETLBFS | FEATURE_MISSING_SHMEM | \
			 FEATURE_SIGBUS | FEATURE_MINOR_HUGETLBFS | FEATURE_MINOR_SHMEM | \
			 FEATURE_WP_HUGETLBFS_SHMEM)

struct continue_range {
	struct uffdio_range range;
	u64 mode;
	s64 mapped;
};

struct protect_range {
	struct uffdio_range range;
	u64 mode;
};

#define IOCTL_CONTINUE	_IOWR(UFFDIO, 0x07, struct continue_range)
#define IOCTL_PROTECT	_IOWR(UFFDIO, 0x06, struct protect_range)
#define PROTECT_WP	1UL

/* --- one for each VM ------------------------------------------------------------- */

static int open_with(u64 features, u64 *offered)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		scenario_skip("needs userfaultfd: %s", strerror(errno));
	if (kvm_ioctl(fd, UFFDIO_API, &api))
		scenario_skip("needs userfaultfd: UFFDIO_API with features %#llx: %s",
			      (unsigned long long)features, strerror(errno));
	*offered = api.features;
	return fd;
}

static void open_uffd(struct vm *vm)
{
	u64 all;

	if (vm->uffd >= 0)
		return;
	close(open_with(0, &all));
	vm->uffd_features = all & FEATURES;
	vm->uffd = open_with(vm->uffd_features, &all);
}

/* What the kernel must offer for these modes on this kind of memory. */
static u64 needed_features(u32 kind, u32 modes)
{
	bool shared = kind == BACKING_SHMEM || kind == BACKING_MEMFD;
	u64 needed = FEATURE_SIGBUS;

	if (modes & UFFD_WP)
		needed |= FEATURE_WP;
	if ((modes & UFFD_WP) && (shared || kind == BACKING_HUGETLB))
		needed |= FEATURE_WP_HUGETLBFS_SHMEM;
	if ((modes & UFFD_MISSING) && shared)
		needed |= FEATURE_MISSING_SHMEM;
	if ((modes & UFFD_MISSING) && kind == BACKING_HUGETLB)
		needed |= FEATURE_MISSING_HUGETLBFS;
	if ((modes & UFFD_MINOR) && shared)
		needed |= FEATURE_MINOR_SHMEM;
	if ((modes & UFFD_MINOR) && kind == BACKING_HUGETLB)
		needed |= FEATURE_MINOR_HUGETLBFS;
	return needed;
}

static struct uffdio_range range_of(struct vm *vm, u64 gpa, u64 size)
{
	return (struct uffdio_range){ .start = (u64)host_mapping(vm, gpa, size), .len = size };
}

static void record_ret(struct vm *vm, int ret)
{
	step_s64("ret", ret);
	step_finish(vm);
}

/* An ioctl that says how far it came, or that it failed there: 0 or -errno. */
static int result(int ret, s64 done)
{
	if (ret)
		return ret;
	return done < 0 ? (int)done : 0;
}

/* --- the steps ---------------------------------------------------------------------- */

void uffd_register(struct vm *vm, u64 gpa, u64 size, u32 modes)
{
	struct uffdio_register request = { .range = range_of(vm, gpa, size), .mode = modes };
	u64 needed = needed_features(slot_at(vm, gpa, size)->memory.kind, modes);

	open_uffd(vm);
	if (needed & ~vm->uffd_features)
		scenario_skip("needs userfaultfd with features %#llx, this kernel has %#llx",
			      (unsigned long long)needed,
			      (unsigned long long)vm->uffd_features);
	step_begin();
	record_ret(vm, kvm_ioctl(vm->uffd, UFFDIO_REGISTER, &request));
}

void uffd_copy(struct vm *vm, u64 gpa, u64 size, u64 value)
{
	struct uffdio_range range = range_of(vm, gpa, size);
	u64 *source = aligned_alloc(vm->page_size, round_up(size, vm->page_size));
	struct uffdio_copy copy = {
		.dst = range.start,
		.src = (u64)source,
		.len = size,
	};
	u64 i;
	int ret;

	if (!source)
		scenario_infra("no memory for %llu bytes", (unsigned long long)size);
	for (i = 0; i < size / sizeof(*source); i++)
		source[i] = value;
	step_begin();
	ret = kvm_ioctl(vm->uffd, UFFDIO_COPY, &copy);
	record_ret(vm, result(ret, copy.copy));
	free(source);
}

void uffd_zero(struct vm *vm, u64 gpa, u64 size)
{
	struct uffdio_zeropage zero = { .range = range_of(vm, gpa, size) };
	int ret;

	step_begin();
	ret = kvm_ioctl(vm->uffd, UFFDIO_ZEROPAGE, &zero);
	record_ret(vm, result(ret, zero.zeropage));
}

void uffd_continue(struct vm *vm, u64 gpa, u64 size)
{
	struct continue_range request = { .range = range_of(vm, gpa, size) };
	int ret;

	step_begin();
	ret = kvm_ioctl(vm->uffd, IOCTL_CONTINUE, &request);
	record_ret(vm, result(ret, request.mapped));
}

static void protect(struct vm *vm, u64 gpa, u64 size, u64 mode)
{
	struct protect_range request = { .range = range_of(vm, gpa, size), .mode = mode };

	step_begin();
	record_ret(vm, kvm_ioctl(vm->uffd, IOCTL_PROTECT, &request));
}

void uffd_protect(struct vm *vm, u64 gpa, u64 size)
{
	protect(vm, gpa, size, PROTECT_WP);
}

void uffd_unprotect(struct vm *vm, u64 gpa, u64 size)
{
	protect(vm, gpa, size, 0);
}
