// SPDX-License-Identifier: GPL-2.0-only
/*
 * A bare loop of VM life cycles: what a machine can do at most, to hold the rate of
 * scenarios against. No process is made for a VM, nothing is traced or recorded.
 *
 * One life: a VM, a vCPU, SLOTS slots of 64 pages with dirty logging; ENTRIES times the
 * guest is entered, writes to PAGES new pages of one slot, in turns, and leaves by MMIO;
 * the dirty logs are read; all of it goes.
 *
 * Usage: lifecycle COUNT [SLOTS ENTRIES PAGES [beside]], else 1 1 16; prints
 * "lifecycle COUNT MICROSECONDS". "beside": a VM stands beside, so that none is the
 * first or the last, for which the kernel rewrites its code (preempt_notifier_key): two
 * loops at once stood still without it (docs/guests.md). It stands alone and is no part
 * of the runtime.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define SLOT_BASE	0x80000000UL
#define SLOT_PAGES	64
#define MAX_SLOTS	16
#define DOORBELL	0x09000000UL

#define CORE_REG(reg) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(reg))

/*
 * With the MMU off, at SLOT_BASE: x0 = page size, x1 = DOORBELL, x2 = the page before the
 * first that is written, x3 = how many are.
 */
static const uint32_t guest_code[] = {
	0x8b000042,	/* 1:	add	x2, x2, x0 */
	0xf9000043,	/*	str	x3, [x2] */
	0xf1000463,	/*	subs	x3, x3, #1 */
	0x54ffffa1,	/*	b.ne	1b */
	0xf900003f,	/*	str	xzr, [x1] */
	0x17fffffb,	/*	b	1b */
};

/* What one life does. */
struct life {
	long slots;
	long entries;
	long pages;
};

static void die(const char *what)
{
	fprintf(stderr, "lifecycle: %s: %s\n", what, strerror(errno));
	exit(1);
}

static int checked(int ret, const char *what)
{
	if (ret < 0)
		die(what);
	return ret;
}

static void set_reg(int vcpu, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uint64_t)&value };

	checked(ioctl(vcpu, KVM_SET_ONE_REG, &reg), "KVM_SET_ONE_REG");
}

/* Entry number `nr`: the slots in turns, and in each the pages behind those of the last. */
static void run_guest(int vcpu, const struct kvm_run *run, const struct life *life, long nr,
		      size_t page)
{
	uint64_t slot = SLOT_BASE + nr % life->slots * SLOT_PAGES * page;

	set_reg(vcpu, CORE_REG(regs.regs[2]), slot + nr / life->slots * life->pages * page);
	set_reg(vcpu, CORE_REG(regs.regs[3]), life->pages);
	checked(ioctl(vcpu, KVM_RUN, 0), "KVM_RUN");
	if (run->exit_reason != KVM_EXIT_MMIO || run->mmio.phys_addr != DOORBELL) {
		errno = EPROTO;
		die("the guest left another way");
	}
}

static void check_dirty(int vm, const struct life *life)
{
	long slot, pages = 0;

	for (slot = 0; slot < life->slots; slot++) {
		uint64_t bitmap[SLOT_PAGES / 64] = {};
		struct kvm_dirty_log log = { .slot = slot, .dirty_bitmap = bitmap };

		checked(ioctl(vm, KVM_GET_DIRTY_LOG, &log), "KVM_GET_DIRTY_LOG");
		pages += __builtin_popcountll(bitmap[0]);
	}
	if (pages != life->entries * life->pages) {
		errno = EPROTO;
		die("the dirty logs have another number of pages");
	}
}

static char *add_slot(int vm, uint32_t slot, size_t size)
{
	char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = KVM_MEM_LOG_DIRTY_PAGES,
		.guest_phys_addr = SLOT_BASE + slot * size,
		.memory_size = size,
		.userspace_addr = (uint64_t)memory,
	};

	if (memory == MAP_FAILED)
		die("mmap");
	checked(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	return memory;
}

static void one_life(int kvm, int run_size, const struct life *life)
{
	size_t page = sysconf(_SC_PAGESIZE), size = SLOT_PAGES * page;
	int vm = checked(ioctl(kvm, KVM_CREATE_VM, KVM_VM_TYPE_ARM_IPA_SIZE(40)), "KVM_CREATE_VM");
	char *memory[MAX_SLOTS];
	struct kvm_vcpu_init init;
	struct kvm_run *run;
	long i;
	int vcpu;

	for (i = 0; i < life->slots; i++)
		memory[i] = add_slot(vm, i, size);
	memcpy(memory[0], guest_code, sizeof(guest_code));
	__builtin___clear_cache(memory[0], memory[0] + sizeof(guest_code));
	vcpu = checked(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	checked(ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init), "KVM_ARM_PREFERRED_TARGET");
	checked(ioctl(vcpu, KVM_ARM_VCPU_INIT, &init), "KVM_ARM_VCPU_INIT");
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		die("mmap of the vCPU");

	set_reg(vcpu, CORE_REG(regs.pc), SLOT_BASE);
	set_reg(vcpu, CORE_REG(regs.regs[0]), page);
	set_reg(vcpu, CORE_REG(regs.regs[1]), DOORBELL);
	for (i = 0; i < life->entries; i++)
		run_guest(vcpu, run, life, i, page);
	check_dirty(vm, life);

	munmap(run, run_size);
	close(vcpu);
	close(vm);
	for (i = 0; i < life->slots; i++)
		munmap(memory[i], size);
}

static long number(const char *text)
{
	return strtol(text, NULL, 10);
}

/* Every slot has a page that is never written, the code's or its like. */
static int fits(const struct life *life)
{
	return life->slots >= 1 && life->slots <= MAX_SLOTS && life->entries >= 1 &&
	       life->pages >= 1 && life->pages < SLOT_PAGES &&
	       (life->entries + life->slots - 1) / life->slots <= (SLOT_PAGES - 1) / life->pages;
}

int main(int argc, char **argv)
{
	long count = argc == 2 || argc == 5 || argc == 6 ? number(argv[1]) : 0;
	struct life life = { .slots = 1, .entries = 1, .pages = 16 };
	int kvm = checked(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int run_size = checked(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	struct timespec begun, ended;
	long i, us;

	if (argc >= 5)
		life = (struct life){ number(argv[2]), number(argv[3]), number(argv[4]) };
	if (count < 1 || !fits(&life) || (argc == 6 && strcmp(argv[5], "beside"))) {
		fprintf(stderr, "usage: lifecycle COUNT [SLOTS ENTRIES PAGES [beside]]\n");
		return 2;
	}
	/* Open until the end of the program. */
	if (argc == 6)
		checked(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	clock_gettime(CLOCK_MONOTONIC, &begun);
	for (i = 0; i < count; i++)
		one_life(kvm, run_size, &life);
	clock_gettime(CLOCK_MONOTONIC, &ended);
	us = (ended.tv_sec - begun.tv_sec) * 1000000 + (ended.tv_nsec - begun.tv_nsec) / 1000;
	printf("lifecycle %ld %ld\n", count, us);
	return 0;
}
