// SPDX-License-Identifier: GPL-2.0-only
/* Creating a VM: IPA size, dirty log mode, the runtime's memory, vCPUs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record.h"
#include "trace.h"
#include "vm.h"

#ifndef KVM_VM_TYPE_ARM_IPA_SIZE
#error "the kernel headers are too old: linux/kvm.h of 5.10 or newer is needed"
#endif

/* Where slots' memory is mapped: far from everything, below 36 bits. */
#define MEMORY_BASE	0x400000000UL

/* Stage-1 descriptors: 4K granule, identity map, EL1 read-write-execute. */
#define DESC_VALID		(1UL << 0)
#define DESC_TABLE		(1UL << 1)
#define DESC_ATTR_NORMAL	(0UL << 2)	/* MAIR_EL1.Attr0 */
#define DESC_SH_INNER		(3UL << 8)
#define DESC_AF			(1UL << 10)
#define DESC_UXN		(1UL << 54)

#define TABLE_ENTRIES		512
#define MAX_TABLES		((RUNTIME_CODE + RUNTIME_SIZE - RUNTIME_TABLES) / SZ_4K)

#define CTR_EL0_IDC		(1UL << 28)

int kvm_ioctl(int fd, unsigned long request, const void *argument)
{
	int ret = ioctl(fd, request, argument);

	return ret < 0 ? -errno : ret;
}

static int check_extension(int fd, long capability)
{
	return kvm_ioctl(fd, KVM_CHECK_EXTENSION, (const void *)capability);
}

void *anon_memory(size_t size)
{
	static u64 next = MEMORY_BASE;
	void *memory;

	do {
		memory = mmap((void *)next, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
		/* A gap of 2M keeps the memory of two slots apart. */
		next += round_up(size, SZ_2M) + SZ_2M;
	} while (memory == MAP_FAILED && errno == EEXIST);
	if (memory == MAP_FAILED)
		return NULL;
	/* EINVAL: a kernel without huge pages has none to avoid. */
	if (madvise(memory, size, MADV_NOHUGEPAGE) && errno != EINVAL) {
		munmap(memory, size);
		return NULL;
	}
	return memory;
}

/* --- stage-1 tables --------------------------------------------------------- */

static u64 *runtime_memory(struct vm *vm, u64 gpa)
{
	return (u64 *)(vm->runtime + (gpa - RESERVED_START));
}

static u64 new_table(struct vm *vm)
{
	if (vm->tables == MAX_TABLES)
		scenario_infra("no room for another stage-1 table");
	return RUNTIME_TABLES + SZ_4K * vm->tables++;
}

void stage1_cover(struct vm *vm, u64 gpa)
{
	u64 *level0 = runtime_memory(vm, RUNTIME_TABLES) + (gpa >> 39) % TABLE_ENTRIES;
	u64 *level1;

	if (!*level0)
		*level0 = new_table(vm) | DESC_VALID | DESC_TABLE;
	level1 = runtime_memory(vm, *level0 & ~(SZ_4K - 1)) + (gpa >> 30) % TABLE_ENTRIES;
	if (*level1)
		return;
	*level1 = (gpa & ~(SZ_1G - 1)) | DESC_VALID | DESC_ATTR_NORMAL | DESC_SH_INNER |
		  DESC_AF | DESC_UXN;
	/* An invalid entry is in no TLB; the walker only has to see the new one. */
	asm volatile("dsb ish" : : : "memory");
}

/* --- the VM ------------------------------------------------------------------ */

static void add_runtime_slot(struct vm *vm)
{
	struct kvm_userspace_memory_region region = {
		.slot = RUNTIME_SLOT,
		.guest_phys_addr = RESERVED_START,
		.memory_size = RUNTIME_SIZE,
	};
	size_t code = guest_code_end - guest_code;
	int ret;

	vm->runtime = anon_memory(RUNTIME_SIZE);
	if (!vm->runtime)
		scenario_infra("no memory for the runtime: %s", strerror(errno));
	memcpy(runtime_memory(vm, RUNTIME_CODE), guest_code, code);
	__builtin___clear_cache(vm->runtime, vm->runtime + code);
	/* Written to now, or the guest would find the read-only zero page. */
	memset(runtime_memory(vm, RUNTIME_MAILBOXES), 0, SZ_4K);
	new_table(vm);
	stage1_cover(vm, RUNTIME_CODE);

	region.userspace_addr = (u64)vm->runtime;
	ret = kvm_ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region);
	if (ret)
		scenario_infra("slot of the runtime: %s", strerror(-ret));
}

static int create_vm(int kvm, u32 ipa_bits)
{
	int limit = check_extension(kvm, KVM_CAP_ARM_VM_IPA_SIZE);
	int fd;

	/* 0: a kernel or CPU that knows one size only. */
	if (limit <= 0)
		limit = 40;
	if (ipa_bits > (u32)limit)
		scenario_skip("needs an IPA size of %u bits, this machine has %d", ipa_bits, limit);
	fd = kvm_ioctl(kvm, KVM_CREATE_VM, (const void *)KVM_VM_TYPE_ARM_IPA_SIZE((u64)ipa_bits));
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
	ret = check_extension(vm->fd, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2);
	if (ret < 0 || (~(u64)ret & cap.args[0]))
		scenario_skip("needs manual dirty log protection %#llx, this kernel has %#x",
			      (unsigned long long)cap.args[0], ret < 0 ? 0 : ret);
	ret = kvm_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
	if (ret)
		scenario_infra("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2: %s", strerror(-ret));
}

static bool stores_need_cleaning(void)
{
	u64 ctr;

	asm("mrs %0, ctr_el0" : "=r"(ctr));
	return !(ctr & CTR_EL0_IDC);
}

struct vm *vm_create(struct vm_config config)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int run_size;
	u32 i;

	if (!vm || config.vcpus < 1 || config.vcpus > MAX_VCPUS)
		scenario_infra("cannot have a VM with %u vCPUs", config.vcpus);
	if (kvm < 0)
		scenario_infra("/dev/kvm: %s", strerror(errno));
	run_size = kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	if (run_size < 0)
		scenario_infra("KVM_GET_VCPU_MMAP_SIZE: %s", strerror(-run_size));

	vm->page_size = sysconf(_SC_PAGESIZE);
	vm->clean_stores = stores_need_cleaning();
	vm->vcpus = config.vcpus;
	vm->fd = create_vm(kvm, config.ipa_bits);
	set_dirty_log_mode(vm, config.manual_protect);
	add_runtime_slot(vm);
	for (i = 0; i < vm->vcpus; i++)
		vcpu_create(vm, i, run_size);
	/* What one vCPU touched is mapped for all. */
	vcpu_warm(vm, 0);
	trace_begin();
	return vm;
}
