// SPDX-License-Identifier: GPL-2.0-only
/* Creating a VM: IPA size, abilities, the runtime's memory, vCPUs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "live.h"
#include "record.h"
#include "stage1.h"
#include "stats.h"
#include "trace.h"
#include "vm.h"

#ifndef KVM_VM_TYPE_ARM_IPA_SIZE
#error "the kernel headers are too old: linux/kvm.h of 5.10 or newer is needed"
#endif

/* Not in the headers of older kernels. */
#ifndef KVM_CAP_DIRTY_LOG_RING_ACQ_REL
#define KVM_CAP_DIRTY_LOG_RING_ACQ_REL		223
#endif
#ifndef KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP
#define KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP	225
#endif
#ifndef KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE
#define KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE	228
#endif
#ifndef KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES
#define KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES	229
#endif
#define RING_ENTRY_SIZE		16

int kvm_ioctl(int fd, unsigned long request, const void *argument)
{
	int ret = ioctl(fd, request, argument);

	return ret < 0 ? -errno : ret;
}

int kvm_has(int fd, long capability)
{
	return kvm_ioctl(fd, KVM_CHECK_EXTENSION, (const void *)capability);
}

void step_finish(struct vm *vm)
{
	/* Trace and tables are of one step: of no use to a branch, beside which others run. */
	if (!record_is_captured()) {
		trace_record();
		live_record(vm);
		stats_record(vm);
	}
	step_end();
	/* A long scenario is heard of while it runs. */
	if (!record_is_captured())
		record_stream();
}

void step_counts_flushes(struct vm *vm)
{
	stats_before_host(vm);
	trace_expect_flushes();
}

/* --- the VM ------------------------------------------------------------------ */

char *runtime_memory(struct vm *vm, u64 gpa)
{
	return vm->runtime + (gpa - RESERVED_START);
}

/* The same memory for every VM of this process; what stood in it is cleared. */
static char *runtime_area(void)
{
	static char *area;

	if (!area)
		area = memory_private(RUNTIME_SIZE);
	return area;
}

/* To copy it costs more than to look: it is there since the last VM, unless a guest wrote to it. */
static void place_code(struct vm *vm)
{
	char *at = runtime_memory(vm, RUNTIME_CODE);
	size_t size = guest_code_end - guest_code;

	if (!memcmp(at, guest_code, size))
		return;
	memcpy(at, guest_code, size);
	memory_clean(at, size);
}

static void add_runtime_slot(struct vm *vm)
{
	struct kvm_userspace_memory_region region = {
		.slot = RUNTIME_SLOT,
		.guest_phys_addr = RESERVED_START,
		.memory_size = RUNTIME_SIZE,
	};
	int ret;

	vm->runtime = runtime_area();
	if (!vm->runtime)
		scenario_infra("no memory for the runtime: %s", strerror(errno));
	place_code(vm);
	memset(runtime_memory(vm, RUNTIME_MAILBOXES), 0, MAX_VCPUS * MAILBOX_SIZE);
	stage1_begin(vm);

	region.userspace_addr = (u64)vm->runtime;
	ret = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
	if (ret)
		scenario_infra("slot of the runtime: %s", strerror(-ret));
}

/* /dev/kvm, and what it says of itself: the same for every VM of this process. */
static struct {
	int fd;
	int run_size;		/* bytes to map of each vCPU */
	int ipa_bits;		/* at most; 0 or less: one size only */
} kvm = { .fd = -1 };

static void open_kvm(void)
{
	if (kvm.fd >= 0)
		return;
	kvm.fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm.fd < 0)
		scenario_infra("/dev/kvm: %s", strerror(errno));
	kvm.run_size = kvm_ioctl(kvm.fd, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (kvm.run_size < 0)
		scenario_infra("KVM_GET_VCPU_MMAP_SIZE: %s", strerror(-kvm.run_size));
	kvm.ipa_bits = kvm_has(kvm.fd, KVM_CAP_ARM_VM_IPA_SIZE);
}

static int create_vm(u32 ipa_bits)
{
	int limit = kvm.ipa_bits;
	int fd;

	/* 0: a kernel or CPU that knows one size only. */
	if (limit <= 0)
		limit = 40;
	if (ipa_bits > (u32)limit)
		scenario_skip("needs an IPA size of %u bits, this machine has %d", ipa_bits, limit);
	fd = kvm_ioctl(kvm.fd, KVM_CREATE_VM, (const void *)KVM_VM_TYPE_ARM_IPA_SIZE((u64)ipa_bits));
	if (fd < 0)
		scenario_infra("KVM_CREATE_VM: %s", strerror(-fd));
	return fd;
}

static void set_dirty_log_mode(struct vm *vm, enum manual_protect mode)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 };
	int ret;

	if (mode == PROTECT_AUTO)
		return;
	cap.args[0] = KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE;
	if (mode == INIT_SET)
		cap.args[0] |= KVM_DIRTY_LOG_INITIALLY_SET;
	ret = kvm_has(vm->fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	if (ret < 0 || (~(u64)ret & cap.args[0]))
		scenario_skip("needs manual dirty log protection %#llx, this kernel has %#x",
			      (unsigned long long)cap.args[0], ret < 0 ? 0 : ret);
	ret = kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	if (ret)
		scenario_infra("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: %s", strerror(-ret));
}

/* An ability that the kernel, or this machine, may lack: then the value of sign is 0. */
static void enable(struct vm *vm, u32 capability, u32 sign, u64 argument, const char *what)
{
	struct kvm_enable_cap cap = { .cap = capability, .args = { argument } };
	int ret;

	if (kvm_has(vm->fd, sign) <= 0)
		scenario_skip("needs %s, this kernel has none", what);
	ret = kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	if (ret)
		scenario_skip("needs %s %#llx, this kernel says: %s", what,
			      (unsigned long long)argument, strerror(-ret));
}

/* Before the first vCPU, and the bitmap beside the rings before the first slot. */
static void enable_rings(struct vm *vm, u32 entries, bool bitmap)
{
	int limit = kvm_has(vm->fd, KVM_CAP_DIRTY_LOG_RING_ACQ_REL);

	if (limit > 0 && entries * (u64)RING_ENTRY_SIZE > (u64)limit)
		scenario_skip("needs dirty rings of %u entries, this kernel has %d", entries,
			      limit / RING_ENTRY_SIZE);
	enable(vm, KVM_CAP_DIRTY_LOG_RING_ACQ_REL, KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
	       entries * (u64)RING_ENTRY_SIZE, "KVM_CAP_DIRTY_LOG_RING_ACQ_REL");
	if (bitmap)
		enable(vm, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP, KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP,
		       0, "KVM_CAP_DIRTY_LOG_RING_WITH_BITMAP");
	vm->ring_entries = entries;
}

static void set_abilities(struct vm *vm, const struct vm_config *config)
{
	if (config->dirty_ring)
		enable_rings(vm, config->dirty_ring, config->ring_bitmap);
	set_dirty_log_mode(vm, config->manual_protect);
	if (config->eager_split)
		enable(vm, KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE,
		       KVM_CAP_ARM_SUPPORTED_BLOCK_SIZES, config->eager_split,
		       "KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE");
	if (config->nisv_to_user)
		enable(vm, KVM_CAP_ARM_NISV_TO_USER, KVM_CAP_ARM_NISV_TO_USER, 0,
		       "KVM_CAP_ARM_NISV_TO_USER");
}

static struct vm *the_vm;	/* of the scenario that runs */

/* Nothing in it yet, so that it can be ended at any moment. */
static struct vm *new_vm(u32 vcpus)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	u32 i;

	if (!vm || vcpus < 1 || vcpus > MAX_VCPUS)
		scenario_infra("cannot have a VM with %u vCPUs", vcpus);
	vm->vcpus = vcpus;
	vm->fd = -1;
	vm->uffd = -1;
	vm->stats = -1;
	for (i = 0; i < vcpus; i++) {
		vm->vcpu[i].fd = -1;
		vm->vcpu[i].stats = -1;
	}
	the_vm = vm;
	return vm;
}

struct vm *vm_create(struct vm_config config)
{
	struct vm *vm = new_vm(config.vcpus);
	u32 i;

	open_kvm();
	vm->run_size = kvm.run_size;
	vm->page_size = sysconf(_SC_PAGESIZE);
	vm->clean_stores = memory_needs_cleaning();
	vm->stage1_off = config.stage1_off;
	vm->ipa_bits = config.ipa_bits;
	vm->fd = create_vm(config.ipa_bits);
	set_abilities(vm, &config);
	add_runtime_slot(vm);
	for (i = 0; i < vm->vcpus; i++)
		vcpu_create(vm, i);
	trace_begin();
	live_begin();
	stats_forget();
	return vm;
}

static void close_one(int fd)
{
	if (fd >= 0)
		close(fd);
}

void vm_end(void)
{
	struct vm *vm = the_vm;
	u32 i;

	the_vm = NULL;
	for (i = 0; vm && i < vm->vcpus; i++)
		vcpu_end(vm, i);
	if (vm) {
		close_one(vm->fd);
		close_one(vm->uffd);
		close_one(vm->stats);
	}
	for (i = 0; vm && i < vm->slots; i++)
		if (vm->slot[i].used)
			memory_free(&vm->slot[i].memory);
	free(vm);
	memory_end();
}
