// SPDX-License-Identifier: GPL-2.0-only
/*
 * Documentation/virt/kvm/api.rst, KVM_GET_STATS_FD: a header, descriptors that name
 * the counters, and the counters, all in one file for a VM and one for each vCPU.
 * Where a counter stands is the same for all VMs of a kernel.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "keeper.h"
#include "record.h"
#include "stats.h"
#include "vm.h"

/* Not in the headers of older kernels. */
#ifndef KVM_CAP_BINARY_STATS_FD
#define KVM_CAP_BINARY_STATS_FD	203
#endif
#ifndef KVM_GET_STATS_FD
#define KVM_GET_STATS_FD	_IO(KVMIO, 0xce)
#endif

#define MAX_DESCRIPTORS		(64UL << 10)	/* bytes */

/* struct kvm_stats_header, struct kvm_stats_desc */
struct header {
	u32 flags;
	u32 name_size;
	u32 descs;
	u32 id_offset;
	u32 desc_offset;
	u32 data_offset;
};

struct descriptor {
	u32 flags;
	u16 exponent;
	u16 size;
	u32 offset;
	u32 bucket_size;
	char name[];
};

/* Of a vCPU; they stand side by side in every kernel, or there is no channel. */
#define MMIO_USER	"mmio_exit_user"
#define MMIO_KERNEL	"mmio_exit_kernel"
/* Of a VM: kvm_flush_remote_tlbs(), in whole VMs. */
#define FLUSHES		"remote_tlb_flush_requests"

static off_t mmio_at, flushes_at;	/* in their files */
static bool have;

/* What the step that runs has to show. */
static const struct vcpu *ran;		/* NULL: no vCPU ran */
static struct {
	u64 user;
	u64 kernel;
} exits;
static bool host_step;
static u64 flushes_before;

/* --- where the counters are --------------------------------------------------------- */

static bool read_at(int fd, void *to, size_t size, off_t at)
{
	return pread(fd, to, size, at) == (ssize_t)size;
}

/* The place of a counter in the file, or -1. */
static off_t find(int fd, const char *name)
{
	struct header header;
	char *descriptors = NULL;
	off_t at = -1;
	size_t each, size, i;

	if (!read_at(fd, &header, sizeof(header), 0))
		return -1;
	each = sizeof(struct descriptor) + header.name_size;
	size = header.descs * each;
	if (size <= MAX_DESCRIPTORS)
		descriptors = malloc(size);
	if (descriptors && read_at(fd, descriptors, size, header.desc_offset)) {
		for (i = 0; at < 0 && i < header.descs; i++) {
			const struct descriptor *one = (void *)(descriptors + i * each);

			if (!strncmp(one->name, name, header.name_size) && one->size == 1)
				at = header.data_offset + one->offset;
		}
	}
	free(descriptors);
	return at;
}

static const char *learn(void)
{
	int vm, vcpu, of_vm, of_vcpu;

	if (!keeper_of(&vm, &vcpu))
		return "no VM to ask";
	if (kvm_has(vm, KVM_CAP_BINARY_STATS_FD) <= 0)
		return "this kernel has no KVM_CAP_BINARY_STATS_FD";
	of_vm = kvm_ioctl(vm, KVM_GET_STATS_FD, NULL);
	of_vcpu = kvm_ioctl(vcpu, KVM_GET_STATS_FD, NULL);
	flushes_at = find(of_vm, FLUSHES);
	mmio_at = find(of_vcpu, MMIO_USER);
	have = flushes_at >= 0 && mmio_at >= 0 &&
	       find(of_vcpu, MMIO_KERNEL) == mmio_at + (off_t)sizeof(u64);
	close(of_vm);
	close(of_vcpu);
	return have ? NULL : "KVM_GET_STATS_FD shows other counters than are known";
}

void stats_start(missing_fn missing)
{
	const char *failure = learn();

	if (failure)
		missing("stats", failure);
}

/* --- a step ----------------------------------------------------------------------------- */

/* The file of a VM or vCPU, opened where it is asked for first. */
static int stats_fd(int *fd, int owner)
{
	if (*fd < 0)
		*fd = kvm_ioctl(owner, KVM_GET_STATS_FD, NULL);
	if (*fd < 0)
		scenario_infra("KVM_GET_STATS_FD: %s", strerror(-*fd));
	return *fd;
}

void stats_of_vcpu(struct vm *vm, u32 index, bool rang)
{
	struct vcpu *vcpu = &vm->vcpu[index];
	u64 now[2];

	if (!have || record_is_captured())
		return;
	if (!read_at(stats_fd(&vcpu->stats, vcpu->fd), now, sizeof(now), mmio_at))
		scenario_infra("counters of vCPU %u: %s", index, strerror(errno));
	exits.user = now[0] - vcpu->mmio_exits[0] - rang;
	exits.kernel = now[1] - vcpu->mmio_exits[1];
	memcpy(vcpu->mmio_exits, now, sizeof(now));
	ran = vcpu;
}

static u64 flushes(struct vm *vm)
{
	u64 now;

	if (!read_at(stats_fd(&vm->stats, vm->fd), &now, sizeof(now), flushes_at))
		scenario_infra("counters of the VM: %s", strerror(errno));
	return now;
}

void stats_before_host(struct vm *vm)
{
	if (!have || record_is_captured())
		return;
	flushes_before = flushes(vm);
	host_step = true;
}

void stats_forget(void)
{
	ran = NULL;
	host_step = false;
}

void stats_record(struct vm *vm)
{
	if (ran) {
		step_key("stats");
		record_word("{\"" MMIO_USER "\":");
		record_s64(exits.user);
		record_word(",\"" MMIO_KERNEL "\":");
		record_s64(exits.kernel);
		record_word("}");
	} else if (host_step) {
		step_key("stats");
		record_word("{\"" FLUSHES "\":");
		record_u64(flushes(vm) - flushes_before);
		record_word("}");
	}
	stats_forget();
}
