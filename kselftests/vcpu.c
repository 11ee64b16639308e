// SPDX-License-Identifier: GPL-2.0-only
/* The steps of a vCPU: one access each. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record.h"
#include "stage1.h"
#include "trace.h"
#include "vm.h"

#define CORE_REG(reg) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(reg))

#define SCTLR_EL1	ARM64_SYS_REG(3, 0, 1, 0, 0)
#define TTBR0_EL1	ARM64_SYS_REG(3, 0, 2, 0, 0)
#define TCR_EL1		ARM64_SYS_REG(3, 0, 2, 0, 2)
#define MAIR_EL1	ARM64_SYS_REG(3, 0, 10, 2, 0)
#define ID_AA64MMFR1_EL1 ARM64_SYS_REG(3, 0, 0, 7, 1)
#define HAFDBS		0xfUL

/* RES1 bits of ARMv8.0, MMU and caches on. */
#define SCTLR_VALUE	(0x30d00800UL | 1UL << 12 | 1UL << 2 | 1UL << 0)
#define SCTLR_M		1UL
/* 4K granule, walks inner shareable write-back, 48-bit PA; T0SZ as the tables need it. */
#define TCR_TTBR0	(1UL << 8 | 1UL << 10 | 3UL << 12 | 5UL << 32)
#define TCR_EPD1	(1UL << 23)	/* no walks of TTBR1 */
#define TCR_TTBR1	(16UL << 16 | 1UL << 24 | 1UL << 26 | 3UL << 28 | 2UL << 30)
#define TCR_HA		(1UL << 39)	/* walks set the access flag */
#define TTBR1_BASE	0xffff000000000000UL
#define MAIR_VALUE	0xffUL		/* attribute 0: Normal, write-back */

#define PAR_F		1UL
#define PAR_FST		0x3fUL
#define PAR_PA		0x0000fffffffff000UL

#define DCZID_DZP	(1UL << 4)
#define DCZID_BS	0xfUL

#define ISS_WNR		(1UL << 6)	/* a write, not a read */
#define MMIO_BYTE	0x5a		/* what loads from nowhere return */
#ifndef HWCAP_ATOMICS
#define HWCAP_ATOMICS		(1 << 8)
#endif
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT	39
#endif

_Static_assert(sizeof(struct mailbox) == MAILBOX_SIZE &&
	       offsetof(struct mailbox, op) == MAILBOX_OP &&
	       offsetof(struct mailbox, clean) == MAILBOX_CLEAN &&
	       offsetof(struct mailbox, address) == MAILBOX_ADDRESS &&
	       offsetof(struct mailbox, value) == MAILBOX_VALUE &&
	       offsetof(struct mailbox, event) == MAILBOX_EVENT &&
	       offsetof(struct mailbox, data) == MAILBOX_DATA &&
	       offsetof(struct mailbox, esr) == MAILBOX_ESR &&
	       offsetof(struct mailbox, far) == MAILBOX_FAR &&
	       offsetof(struct mailbox, expected) == MAILBOX_EXPECTED &&
	       offsetof(struct mailbox, tcr) == MAILBOX_TCR &&
	       offsetof(struct mailbox, ttbr1) == MAILBOX_TTBR1,
	       "C and assembler see the same mailbox");

/* --- registers --------------------------------------------------------------- */

static void set_reg(struct vcpu *vcpu, u64 id, u64 value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (u64)&value };
	int ret = kvm_ioctl(vcpu->fd, KVM_SET_ONE_REG, &reg);

	if (ret)
		scenario_infra("KVM_SET_ONE_REG %#llx: %s", (unsigned long long)id,
			       strerror(-ret));
}

/* The next KVM_RUN takes the next command, whatever the vCPU was doing. */
static void restart(struct vcpu *vcpu)
{
	set_reg(vcpu, CORE_REG(regs.pstate), 0x3c5);
	set_reg(vcpu, CORE_REG(regs.pc), RUNTIME_CODE + (guest_next - guest_code));
}

/* TCR_EL1 for accesses by the tables of the runtime alone. */
static u64 own_tcr(const struct vm *vm)
{
	return TCR_TTBR0 | stage1_t0sz(vm) | TCR_EPD1;
}

static void set_tables(struct vm *vm, struct vcpu *vcpu)
{
	set_reg(vcpu, TCR_EL1, own_tcr(vm));
	set_reg(vcpu, TTBR0_EL1, stage1_base(vm));
}

void vcpu_new_tables(struct vm *vm, u32 index)
{
	set_tables(vm, &vm->vcpu[index]);
	vm->vcpu[index].stale = true;
}

void vcpu_create(struct vm *vm, u32 index)
{
	struct vcpu *vcpu = &vm->vcpu[index];
	struct kvm_vcpu_init init;
	int ret;

	vcpu->fd = kvm_ioctl(vm->fd, KVM_CREATE_VCPU, (const void *)(u64)index);
	if (vcpu->fd < 0)
		scenario_infra("KVM_CREATE_VCPU %u: %s", index, strerror(-vcpu->fd));
	ret = kvm_ioctl(vm->fd, KVM_ARM_PREFERRED_TARGET, &init);
	if (!ret)
		ret = kvm_ioctl(vcpu->fd, KVM_ARM_VCPU_INIT, &init);
	if (ret)
		scenario_infra("KVM_ARM_VCPU_INIT %u: %s", index, strerror(-ret));
	vcpu->run = mmap(NULL, vm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		scenario_infra("mmap of vCPU %u: %s", index, strerror(errno));
	vcpu->mailbox = (struct mailbox *)runtime_memory(vm, RUNTIME_MAILBOXES) + index;
	ring_map(vm, index);

	set_reg(vcpu, MAIR_EL1, MAIR_VALUE);
	set_tables(vm, vcpu);
	set_reg(vcpu, SCTLR_EL1, vm->stage1_off ? SCTLR_VALUE & ~SCTLR_M : SCTLR_VALUE);
	set_reg(vcpu, CORE_REG(regs.pc), RUNTIME_CODE + (guest_start - guest_code));
}

void vcpu_end(struct vm *vm, u32 index)
{
	struct vcpu *vcpu = &vm->vcpu[index];

	ring_unmap(vm, index);
	if (vcpu->run && vcpu->run != MAP_FAILED)
		munmap(vcpu->run, vm->run_size);
	if (vcpu->stats >= 0)
		close(vcpu->stats);
	if (vcpu->fd >= 0)
		close(vcpu->fd);
}

/* --- running one step -------------------------------------------------------- */

static bool at_doorbell(const struct kvm_run *run)
{
	return run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write &&
	       run->mmio.phys_addr == RUNTIME_DOORBELL;
}

static void keep_exit(struct outcome *out, const struct kvm_run *run)
{
	if (out->exited)
		return;
	out->exited = true;
	out->reason = run->exit_reason;
	if (out->reason == KVM_EXIT_MMIO) {
		out->gpa = run->mmio.phys_addr;
		out->mmio_len = run->mmio.len;
		out->write = run->mmio.is_write;
		memcpy(&out->mmio_data, run->mmio.data, out->mmio_len <= 8 ? out->mmio_len : 8);
	} else if (out->reason == KVM_EXIT_ARM_NISV) {
		out->gpa = run->arm_nisv.fault_ipa;
		out->write = run->arm_nisv.esr_iss & ISS_WNR;
	}
}

static void run_step(struct vcpu *vcpu, struct outcome *out)
{
	struct kvm_run *run = vcpu->run;

	memset(out, 0, sizeof(*out));
	for (;;) {
		/* KVM completes an MMIO exit by what stands here. */
		if (run->exit_reason != KVM_EXIT_MMIO)
			run->exit_reason = KVM_EXIT_UNKNOWN;
		out->ret = kvm_ioctl(vcpu->fd, KVM_RUN, NULL);
		if (out->ret == -EINTR)
			continue;
		if (out->ret == 0 && at_doorbell(run)) {
			out->rang = true;
			return;
		}
		if (out->ret == 0 && run->exit_reason == KVM_EXIT_MMIO) {
			keep_exit(out, run);
			if (!run->mmio.is_write)
				memset(run->mmio.data, MMIO_BYTE, sizeof(run->mmio.data));
			continue;
		}
		if (out->ret == 0 || run->exit_reason == KVM_EXIT_MEMORY_FAULT)
			keep_exit(out, run);
		restart(vcpu);
		return;
	}
}

/* A command, as the host thinks of it. */
struct command {
	u32 op;
	struct access access;
	u64 value;
	u64 expected;
};

/*
 * What TCR_EL1 has to be for the access; 0: as it is. Tables whose descriptors have no
 * access flag need a walker that sets it.
 */
static u64 wanted_tcr(struct vm *vm, struct vcpu *vcpu, const struct access *access)
{
	u64 tcr = 0;

	if (access->walk) {
		tcr = TCR_TTBR0 | stage1_t0sz(vm) | TCR_TTBR1;
		if (vm->walks_without_af == access->tables + 1)
			tcr |= TCR_HA;
	} else if (vcpu->walks || vcpu->stale) {
		tcr = own_tcr(vm);
	}
	vcpu->walks = access->walk;
	vcpu->stale = false;
	return tcr;
}

/* With stage 1 off the guest sees memory, and the host what may be newer in a cache. */
static void share_mailbox(struct vm *vm, const struct mailbox *mailbox)
{
	const char *at = (const char *)mailbox;

	asm volatile("dmb ish" : : : "memory");
	for (; vm->stage1_off && at < (const char *)(mailbox + 1); at += 16)
		asm volatile("dc civac, %0" : : "r"(at) : "memory");
	if (vm->stage1_off)
		asm volatile("dsb sy" : : : "memory");
}

static void command(struct vm *vm, u32 index, const struct command *command, struct outcome *out)
{
	const struct access *access = &command->access;
	struct mailbox *mailbox;
	struct slot *slot;
	struct vcpu *vcpu;

	if (index >= vm->vcpus)
		scenario_infra("there is no vCPU %u", index);
	stage1_cover(vm, access->gpa);
	vcpu = &vm->vcpu[index];
	mailbox = vcpu->mailbox;
	slot = slot_at(vm, access->gpa, 1);
	mailbox->op = command->op;
	mailbox->clean = vm->clean_stores && slot && !(slot->flags & READONLY) &&
			 slot->memory.kind != BACKING_DEVICE;
	mailbox->address = access->gpa | (access->walk ? TTBR1_BASE : 0);
	mailbox->value = command->value;
	mailbox->expected = command->expected;
	mailbox->tcr = wanted_tcr(vm, vcpu, access);
	mailbox->ttbr1 = access->walk ? access->tables : 0;
	mailbox->event = EVENT_NONE;
	share_mailbox(vm, mailbox);
	run_step(vcpu, out);
	share_mailbox(vm, mailbox);
	if (out->rang && (mailbox->event == EVENT_NONE || mailbox->event == EVENT_OTHER))
		scenario_infra("the guest lost its way: event %u, esr %#llx", mailbox->event,
			       (unsigned long long)mailbox->esr);
}

void vcpu_warm(struct vm *vm, u32 index)
{
	const struct command nop = { .op = GUEST_NOP, .access.gpa = RUNTIME_CODE };
	struct outcome out;

	command(vm, index, &nop, &out);
	if (!out.rang || out.exited || vm->vcpu[index].mailbox->event != EVENT_DONE)
		scenario_infra("the guest does not start: KVM_RUN %d, exit reason %d, event %u",
			       out.ret, out.exited ? (int)out.reason : -1,
			       vm->vcpu[index].mailbox->event);
}

/* --- the steps --------------------------------------------------------------- */

/* The command of that size, in a row of four. */
static u32 sized(u32 op, u32 size)
{
	u32 shift = __builtin_ctz(size);

	if (size != 1u << shift || size > 8)
		scenario_infra("there is no access of %u bytes", size);
	return op + shift;
}

static u32 formed(const struct access *access, u32 size, u32 plain, u32 pair, u32 post, u32 simd)
{
	switch (access->form) {
	case PAIR:
		if (size != 8)
			scenario_infra("a pair of words has 8 bytes, not %u", size);
		return pair;
	case WRITEBACK:
		return sized(post, size);
	case SIMD:
		return sized(simd, size);
	default:
		return sized(plain, size);
	}
}

/*
 * ID_AA64MMFR1_EL1.HAFDBS as the guest sees it; the host's own is hidden from programs.
 * KVM shows it as it is, and lets it be read as one of the vCPU's registers.
 */
static bool has_hardware_af(const struct vcpu *vcpu)
{
	u64 value = 0;
	struct kvm_one_reg reg = { .id = ID_AA64MMFR1_EL1, .addr = (u64)&value };

	return !kvm_ioctl(vcpu->fd, KVM_GET_ONE_REG, &reg) && (value & HAFDBS);
}

/* One step: the command, and its record. */
static void step(struct vm *vm, u32 vcpu, const struct command *what, bool has_data)
{
	struct outcome out;

	if (what->access.walk && vm->walks_without_af == what->access.tables + 1 &&
	    !has_hardware_af(&vm->vcpu[0]))
		scenario_skip("needs a CPU whose walks set the access flag (FEAT_HAFDBS)");
	step_begin();
	trace_expect_guest();
	command(vm, vcpu, what, &out);
	vcpu_record(vm, vcpu, &out, has_data);
}

void guest_load(struct vm *vm, u32 vcpu, u32 size, struct access access)
{
	const struct command load = {
		.op = formed(&access, size, GUEST_LDRB, GUEST_LDP, GUEST_LDRB_POST,
			     GUEST_LDR_SIMD),
		.access = access,
		/* In the register before: what a load leaves of it shows. */
		.value = ~0ULL,
	};

	step(vm, vcpu, &load, true);
}

void guest_store(struct vm *vm, u32 vcpu, u32 size, u64 value, struct access access)
{
	const struct command store = {
		.op = formed(&access, size, GUEST_STRB, GUEST_STP, GUEST_STRB_POST,
			     GUEST_STR_SIMD),
		.access = access,
		.value = value,
	};

	step(vm, vcpu, &store, false);
}

void guest_call(struct vm *vm, u32 vcpu, struct access access)
{
	const struct command call = { .op = GUEST_BLR, .access = access };

	step(vm, vcpu, &call, true);
}

void guest_cas(struct vm *vm, u32 vcpu, u64 gpa, u32 size, u64 expected, u64 value)
{
	const struct command cas = {
		.op = sized(GUEST_CASAB, size),
		.access.gpa = gpa,
		.value = value,
		.expected = expected,
	};

	if (!(getauxval(AT_HWCAP) & HWCAP_ATOMICS))
		scenario_skip("needs a CPU with CAS (FEAT_LSE)");
	step(vm, vcpu, &cas, true);
}

void guest_dc_zva(struct vm *vm, u32 vcpu, u64 gpa, u64 size)
{
	const struct command zva = {
		.op = GUEST_DC_ZVA,
		.access.gpa = gpa,
		.expected = gpa + size,
	};
	u64 dczid;

	asm("mrs %0, dczid_el0" : "=r"(dczid));
	if (dczid & DCZID_DZP)
		scenario_skip("needs a CPU with DC ZVA (DCZID_EL0.DZP is set)");
	if (size % (4UL << (dczid & DCZID_BS)))
		scenario_skip("needs DC ZVA blocks of at most %llu bytes, this CPU's have %lu",
			      (unsigned long long)size, 4UL << (dczid & DCZID_BS));
	step(vm, vcpu, &zva, false);
}

void guest_dc_civac(struct vm *vm, u32 vcpu, u64 gpa)
{
	const struct command civac = { .op = GUEST_DC_CIVAC, .access.gpa = gpa };

	step(vm, vcpu, &civac, false);
}

void guest_at(struct vm *vm, u32 vcpu, bool write, struct access access)
{
	const struct command at = {
		.op = write ? GUEST_AT_WRITE : GUEST_AT_READ,
		.access = access,
	};
	struct mailbox *mailbox = vm->vcpu[vcpu < vm->vcpus ? vcpu : 0].mailbox;
	struct outcome out;

	step_begin();
	trace_expect_guest();
	command(vm, vcpu, &at, &out);
	mailbox->data = mailbox->data & PAR_F ? 1 | (mailbox->data >> 1 & PAR_FST) << 1 :
						mailbox->data & PAR_PA;
	vcpu_record(vm, vcpu, &out, true);
}
