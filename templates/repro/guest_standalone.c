{# SPDX-License-Identifier: GPL-2.0-only #}
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

typedef uint64_t u64;
typedef uint32_t u32;
{% if vm.eager_split %}

#ifndef KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE
#define KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE	228
#endif
{% endif %}

#define STEPS		{{ steps | length }}
#define VCPUS		{{ vm.vcpus }}
#define IPA_BITS	{{ vm.ipa_bits }}
#define SLOT_ID(id)	(id)

/* --- KTAP ------------------------------------------------------------------- */

static int reported, failed;

static void report(bool ok, const char *what)
{
	printf("%s %d %s\n", ok ? "ok" : "not ok", ++reported, what);
	failed += !ok;
}

static void note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	printf("# ");
	vprintf(fmt, args);
	printf("\n");
	va_end(args);
}

/* Nothing is said of the kernel: the machine failed, or cannot have such a VM. */
static void give_up(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(4);
}

/* --- the guest ----------------------------------------------------------------
 *
 * Guest memory for the test's own use, in a slot of its own: vectors and code,
 * a mailbox for each vCPU, and stage-1 tables that map everything to itself. A
 * store to DOORBELL, which has no memory, says that an access is done.
 */
#define OWN_SLOT	500
#define OWN_BASE	0x08000000UL
#define MAILBOXES	0x08001000UL
#define TABLES		0x08002000UL
#define OWN_SIZE	0x00220000UL
#define DOORBELL	0x09000000UL

enum { LOAD = 0, STORE = 1, CALL = 2 };
enum { NOTHING = 0, DONE = 1, EXCEPTION = 2 };

struct mailbox {
	u32 op;			/* log2 of the size + 4 for a store; 8: a call; 9: nothing */
	u32 clean;
	u64 gpa;
	u64 value;
	u32 event;
	u32 unused;
	u64 data;
	u64 esr;
	u64 far;
} __attribute__((aligned(128)));

extern const char guest_code[], guest_next[], guest_end[];

asm(
"	.pushsection .rodata\n"
"	.balign	4096\n"
"	.globl	guest_code, guest_next, guest_end\n"
"guest_code:\n"				/* sixteen vectors, all alike */
"	.rept	16\n"
"	.balign	0x80\n"
"	mrs	x9, tpidr_el1\n"
"	mrs	x11, esr_el1\n"
"	mrs	x12, far_el1\n"
"	str	x11, [x9, #40]\n"
"	str	x12, [x9, #48]\n"
"	mov	w10, #2\n"
"	str	w10, [x9, #24]\n"
"	adr	x10, guest_ring\n"
"	mov	x11, #0x2c5\n"
"	msr	elr_el1, x10\n"
"	msr	spsr_el1, x11\n"
"	eret\n"
"	.endr\n"
"	.balign	0x80\n"
"guest_loaded:\n"
"	str	x12, [x9, #32]\n"
"	b	guest_done\n"
"guest_stored:\n"
"	ldr	w13, [x9, #4]\n"	/* perhaps code: let fetches see it */
"	cbz	w13, guest_done\n"
"	dc	cvau, x11\n"
"guest_done:\n"
"	dsb	sy\n"			/* a pending SError is taken here */
"	isb\n"
"	mov	w10, #1\n"
"	str	w10, [x9, #24]\n"
"guest_ring:\n"
"	mov	x10, #0x09000000\n"
"	str	wzr, [x10]\n"
"guest_next:\n"
"	msr	daifclr, #4\n"
"	mrs	x9, tpidr_el1\n"
"	ldr	w10, [x9]\n"
"	ldr	x11, [x9, #8]\n"
"	ldr	x12, [x9, #16]\n"
"	adr	x13, guest_accesses\n"
"	add	x13, x13, x10, lsl #3\n"
"	br	x13\n"
"guest_accesses:\n"
"	ldrb	w12, [x11]\n	b	guest_loaded\n"
"	ldrh	w12, [x11]\n	b	guest_loaded\n"
"	ldr	w12, [x11]\n	b	guest_loaded\n"
"	ldr	x12, [x11]\n	b	guest_loaded\n"
"	strb	w12, [x11]\n	b	guest_stored\n"
"	strh	w12, [x11]\n	b	guest_stored\n"
"	str	w12, [x11]\n	b	guest_stored\n"
"	str	x12, [x11]\n	b	guest_stored\n"
"	b	guest_call\n	nop\n"
"	b	guest_done\n	nop\n"
"guest_call:\n"
"	ic	iallu\n"
"	dsb	ish\n"
"	isb\n"
"	mov	x0, #0\n"
"	blr	x11\n"
"	mrs	x9, tpidr_el1\n"
"	mov	w12, w0\n"
"	b	guest_loaded\n"
"guest_end:\n"
"	.popsection\n");

/* --- the VM --------------------------------------------------------------------- */

static int vm_fd;
static char *own_memory;
static u32 tables_used;

static struct {
	int fd;
	struct kvm_run *run;
	struct mailbox *mailbox;
} vcpus[VCPUS];

/* What one step showed. */
static struct {
	int ret;
	bool done;		/* the access completed: data is what it gave */
	u64 data;
	bool exited;		/* to userspace, on the way */
	u32 reason;
	bool exit_write;
	u64 exit_gpa;
	u32 exit_len;
	u64 exit_data;
	bool aborted;		/* the guest's vectors saw an exception */
	u64 esr;
	u64 far;
} seen;

static int call(int fd, unsigned long request, const void *argument)
{
	int ret = ioctl(fd, request, argument);

	return ret < 0 ? -errno : ret;
}

static int __attribute__((unused)) call_vm(unsigned long request, const void *argument)
{
	return call(vm_fd, request, argument);
}

static u64 *own(u64 gpa)
{
	return (u64 *)(own_memory + (gpa - OWN_BASE));
}

/* Stage 1 maps the gigabyte around gpa to itself. */
static void cover(u64 gpa)
{
	u64 *level0 = own(TABLES) + (gpa >> 39) % 512, *level1;

	if (!*level0)
		*level0 = (TABLES + 4096UL * ++tables_used) | 3;
	level1 = own(*level0 & ~4095UL) + (gpa >> 30) % 512;
	if (!*level1)	/* Normal memory, inner shareable, AF, UXN */
		*level1 = (gpa & ~0x3fffffffUL) | 1UL << 54 | 1 << 10 | 3 << 8 | 1;
	asm volatile("dsb ish" : : : "memory");
}

static void set_reg(int fd, u64 id, u64 value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (unsigned long)&value };

	if (call(fd, KVM_SET_ONE_REG, &reg))
		give_up("KVM_SET_ONE_REG");
}

#define CORE_REG(reg) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(reg))

static void restart(u32 vcpu)
{
	set_reg(vcpus[vcpu].fd, CORE_REG(regs.pstate), 0x3c5);
	set_reg(vcpus[vcpu].fd, CORE_REG(regs.pc), OWN_BASE + (guest_next - guest_code));
}

/* Until the guest rings the doorbell, or cannot go on. */
static void run(u32 vcpu)
{
	struct kvm_run *run = vcpus[vcpu].run;
	struct mailbox *mailbox = vcpus[vcpu].mailbox;

	for (;;) {
		if (run->exit_reason != KVM_EXIT_MMIO)
			run->exit_reason = KVM_EXIT_UNKNOWN;
		seen.ret = call(vcpus[vcpu].fd, KVM_RUN, NULL);
		if (seen.ret == -EINTR)
			continue;
		if (!seen.ret && run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
		    run->mmio.phys_addr == DOORBELL)
			break;
		if (!seen.exited && (!seen.ret || run->exit_reason == 39 /* MEMORY_FAULT */)) {
			seen.exited = true;
			seen.reason = run->exit_reason;
			if (seen.reason == KVM_EXIT_MMIO) {
				seen.exit_gpa = run->mmio.phys_addr;
				seen.exit_len = run->mmio.len;
				seen.exit_write = run->mmio.is_write;
				memcpy(&seen.exit_data, run->mmio.data, run->mmio.len);
			}
		}
		if (!seen.ret && run->exit_reason == KVM_EXIT_MMIO) {
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0x5a, sizeof(run->mmio.data));
			continue;
		}
		restart(vcpu);
		return;
	}
	seen.done = mailbox->event == DONE;
	seen.data = mailbox->data;
	seen.aborted = mailbox->event == EXCEPTION;
	seen.esr = mailbox->esr;
	seen.far = mailbox->far;
}

/* One access by one instruction. */
static void __attribute__((unused)) access_by(u32 vcpu, int kind, u64 gpa, u32 size, u64 value,
					      bool clean)
{
	struct mailbox *mailbox = vcpus[vcpu].mailbox;

	memset(&seen, 0, sizeof(seen));
	cover(gpa);
	mailbox->op = kind == CALL ? 8 : __builtin_ctz(size) + (kind == STORE ? 4 : 0);
	mailbox->clean = clean;
	mailbox->gpa = gpa;
	mailbox->value = value;
	mailbox->event = NOTHING;
	asm volatile("dmb ish" : : : "memory");
	run(vcpu);
	asm volatile("dmb ish" : : : "memory");
}

static void create_vcpu(u32 index, int run_size)
{
	struct kvm_vcpu_init init;
	int fd = call(vm_fd, KVM_CREATE_VCPU, (void *)(unsigned long)index);

	if (fd < 0 || call(vm_fd, KVM_ARM_PREFERRED_TARGET, &init) ||
	    call(fd, KVM_ARM_VCPU_INIT, &init))
		give_up("creating a vCPU");
	vcpus[index].fd = fd;
	vcpus[index].run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (vcpus[index].run == MAP_FAILED)
		give_up("mmap of a vCPU");
	vcpus[index].mailbox = (struct mailbox *)own(MAILBOXES + index * sizeof(struct mailbox));
	set_reg(fd, ARM64_SYS_REG(3, 0, 10, 2, 0), 0xff);	/* MAIR_EL1: Normal */
	/* TCR_EL1: 48-bit addresses through TTBR0_EL1, 4K granule */
	set_reg(fd, ARM64_SYS_REG(3, 0, 2, 0, 2),
		16 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 5UL << 32);
	set_reg(fd, ARM64_SYS_REG(3, 0, 2, 0, 0), TABLES);	/* TTBR0_EL1 */
	set_reg(fd, ARM64_SYS_REG(3, 0, 12, 0, 0), OWN_BASE);	/* VBAR_EL1 */
	set_reg(fd, ARM64_SYS_REG(3, 0, 13, 0, 4),		/* TPIDR_EL1 */
		MAILBOXES + index * sizeof(struct mailbox));
	/* SCTLR_EL1: MMU and caches on */
	set_reg(fd, ARM64_SYS_REG(3, 0, 1, 0, 0), 0x30d00800 | 1 << 12 | 1 << 2 | 1);
	restart(index);
}

static void create_vm(void)
{
	struct kvm_userspace_memory_region region = {
		.slot = OWN_SLOT,
		.guest_phys_addr = OWN_BASE,
		.memory_size = OWN_SIZE,
	};
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), run_size;
	u32 i;

	if (kvm < 0)
		give_up("/dev/kvm");
	run_size = call(kvm, KVM_GET_VCPU_MMAP_SIZE, NULL);
	vm_fd = call(kvm, KVM_CREATE_VM, (void *)KVM_VM_TYPE_ARM_IPA_SIZE(IPA_BITS));
	if (run_size < 0 || vm_fd < 0)
		give_up("KVM_CREATE_VM");
{% if vm.eager_split %}
	struct kvm_enable_cap split = {
		.cap = KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE,
		.args[0] = {{ vm.eager_split }},
	};

	if (call(vm_fd, KVM_ENABLE_CAP, &split))
		give_up("KVM_CAP_ARM_EAGER_SPLIT_CHUNK_SIZE");
{% endif %}
{% if vm.manual_protect %}
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args[0] = {{ vm.manual_protect }},
	};

	if (call(vm_fd, KVM_ENABLE_CAP, &cap))
		give_up("KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2");
{% endif %}
	own_memory = mmap(NULL, OWN_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			  0);
	if (own_memory == MAP_FAILED)
		give_up("mmap");
	memset(own_memory, 0, OWN_SIZE);
	memcpy(own_memory, guest_code, guest_end - guest_code);
	__builtin___clear_cache(own_memory, own_memory + 4096);
	cover(OWN_BASE);
	region.userspace_addr = (unsigned long)own_memory;
	if (call(vm_fd, KVM_SET_USER_MEMORY_REGION, &region))
		give_up("KVM_SET_USER_MEMORY_REGION");
	for (i = 0; i < VCPUS; i++)
		create_vcpu(i, run_size);
	/* The guest touches what is its own before the test begins. */
	vcpus[0].mailbox->op = 9;
	run(0);
	if (seen.ret || seen.exited || !seen.done)
		give_up("the guest does not start");
}
