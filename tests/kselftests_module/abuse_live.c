// SPDX-License-Identifier: GPL-2.0-only
/* What a caller can do wrong with tables and memory of running VMs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "abuse.h"

#define RUNS	4

static struct hx_leaf_run runs[RUNS];

static int leaves(int vm, uint32_t room, void *buffer, struct hx_live *live)
{
	*live = (struct hx_live){ .vm = vm, .room = room, .runs = (uintptr_t)buffer };
	return ioctl(device, HX_IOCTL_LIVE, live) ? -errno : 0;
}

static int age(uint64_t start, uint64_t size)
{
	struct hx_age request = { .start = start, .size = size };

	return ioctl(device, HX_IOCTL_AGE, &request) ? -errno : 0;
}

static bool is(const char *what, int ret, int wanted)
{
	return ret == wanted || no("%s: %s, not %s", what, strerror(-ret), strerror(-wanted));
}

bool live_leaves(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm = ioctl(kvm, KVM_CREATE_VM, 0), vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct hx_live live;
	bool ok;

	if (vm < 0 || vcpu < 0)
		return no("a VM: %s", strerror(errno));
	ok = is("no file", leaves(-1, RUNS, runs, &live), -EBADF) &&
	     is("another file", leaves(device, RUNS, runs, &live), -EINVAL) &&
	     is("/dev/kvm itself", leaves(kvm, RUNS, runs, &live), -EINVAL) &&
	     is("a vCPU", leaves(vcpu, RUNS, runs, &live), -EINVAL) &&
	     is("too much room", leaves(vm, HX_MAX_LIVE_RUNS + 1, runs, &live), -EINVAL) &&
	     is("an empty VM", leaves(vm, RUNS, runs, &live), 0);
	if (ok && live.nr)
		ok = no("an empty VM has %u runs of leaves", live.nr);
	close(vcpu);
	close(vm);
	close(kvm);
	return ok && works();
}

bool live_age(void)
{
	char *memory = mmap(NULL, 4 * page(), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t start = (uintptr_t)memory;
	bool ok;

	if (memory == MAP_FAILED)
		return no("memory: %s", strerror(errno));
	memset(memory, 1, 4 * page());
	ok = is("memory without a VM", age(start, 4 * page()), 0) &&
	     is("nothing", age(start, 0), 0) &&
	     is("half a page", age(start, page() / 2), -EINVAL) &&
	     is("not at a page", age(start + 8, page()), -EINVAL) &&
	     is("too much", age(0, HX_MAX_AGE + page()), -EINVAL) &&
	     is("the kernel's", age(0xffff000000000000, page()), -EINVAL) &&
	     is("around the end", age(-page(), 2 * page()), -EINVAL);
	munmap(memory, 4 * page());
	return ok && works();
}
