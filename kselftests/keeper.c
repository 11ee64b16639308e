// SPDX-License-Identifier: GPL-2.0-only
/* A VM that only exists. */
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "keeper.h"

#define SMALLEST_IPA	32

static int kept_vm = -1, kept_vcpu = -1;

/* Runs, as far as the kernel is concerned, and never enters the guest. */
static void run_once(int kvm, int vm)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	struct kvm_vcpu_init init;
	struct kvm_run *run;

	kept_vcpu = vcpu;
	if (size < 0 || vcpu < 0 || ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) ||
	    ioctl(vcpu, KVM_ARM_VCPU_INIT, &init))
		return;
	run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return;
	run->immediate_exit = 1;
	/* Fails with EINTR, as it should. */
	ioctl(vcpu, KVM_RUN, 0);
}

bool keeper_of(int *vm, int *vcpu)
{
	*vm = kept_vm;
	*vcpu = kept_vcpu;
	return kept_vm >= 0 && kept_vcpu >= 0;
}

/* The descriptors stay open for as long as the process lives. */
void keeper_start(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	int vm;

	if (kvm < 0)
		return;
	vm = ioctl(kvm, KVM_CREATE_VM, KVM_VM_TYPE_ARM_IPA_SIZE(SMALLEST_IPA));
	kept_vm = vm;
	if (vm >= 0)
		run_once(kvm, vm);
	close(kvm);
}
