// SPDX-License-Identifier: GPL-2.0-only
/* The steps of a vCPU: one access each, and what KVM and the guest made of it. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>

#include "record.h"
#include "trace.h"
#include "vm.h"

#define CORE_REG(reg) \
	(KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(reg))

#define SCTLR_EL1	ARM64_SYS_REG(3, 0, 1, 0, 0)
#define TTBR0_EL1	ARM64_SYS_REG(3, 0, 2, 0, 0)
#define TCR_EL1		ARM64_SYS_REG(3, 0, 2, 0, 2)
#define MAIR_EL1	ARM64_SYS_REG(3, 0, 10, 2, 0)
#define VBAR_EL1	ARM64_SYS_REG(3, 0, 12, 0, 0)
#define TPIDR_EL1	ARM64_SYS_REG(3, 0, 13, 0, 4)

/* RES1 bits of ARMv8.0, MMU and caches on. */
#define SCTLR_VALUE	(0x30d00800UL | 1UL << 12 | 1UL << 2 | 1UL << 0)
/* 48-bit VA in TTBR0, 4K granule, walks inner shareable write-back, 48-bit PA. */
#define TCR_VALUE	(16UL | 1UL << 8 | 1UL << 10 | 3UL << 12 | 1UL << 23 | 5UL << 32)
#define MAIR_VALUE	0xffUL		/* attribute 0: Normal, write-back */

#define ESR_EC(esr)	((esr) >> 26 & 0x3f)
#define ESR_FSC(esr)	((esr) & 0x3f)
#define ESR_FNV(esr)	((esr) >> 10 & 1)	/* the FAR is not valid */
#define EC_UNKNOWN	0x00
#define EC_IABT_CUR	0x21
#define EC_DABT_CUR	0x25

#define MMIO_BYTE	0x5a		/* what loads from nowhere return */
#ifndef KVM_EXIT_MEMORY_FAULT
#define KVM_EXIT_MEMORY_FAULT	39
#endif

static const struct {
	u32 reason;
	const char *name;
} exit_names[] = {
	{ KVM_EXIT_UNKNOWN, "unknown" },
	{ KVM_EXIT_DEBUG, "debug" },
	{ KVM_EXIT_HYPERCALL, "hypercall" },
	{ KVM_EXIT_FAIL_ENTRY, "fail_entry" },
	{ KVM_EXIT_INTR, "intr" },
	{ KVM_EXIT_INTERNAL_ERROR, "internal_error" },
	{ KVM_EXIT_SYSTEM_EVENT, "system_event" },
	{ KVM_EXIT_ARM_NISV, "arm_nisv" },
	{ 31 /* KVM_EXIT_DIRTY_RING_FULL */, "dirty_ring_full" },
	{ KVM_EXIT_MEMORY_FAULT, "memory_fault" },
	{ 41 /* KVM_EXIT_ARM_SEA */, "arm_sea" },
	{ 42 /* KVM_EXIT_ARM_LDST64B */, "arm_ldst64b" },
};

_Static_assert(sizeof(struct mailbox) == MAILBOX_SIZE &&
	       offsetof(struct mailbox, op) == MAILBOX_OP &&
	       offsetof(struct mailbox, clean) == MAILBOX_CLEAN &&
	       offsetof(struct mailbox, gpa) == MAILBOX_GPA &&
	       offsetof(struct mailbox, value) == MAILBOX_VALUE &&
	       offsetof(struct mailbox, event) == MAILBOX_EVENT &&
	       offsetof(struct mailbox, data) == MAILBOX_DATA &&
	       offsetof(struct mailbox, esr) == MAILBOX_ESR &&
	       offsetof(struct mailbox, far) == MAILBOX_FAR,
	       "C and assembler see the same mailbox");

/* What KVM_RUN showed during one step. */
struct outcome {
	int ret;
	bool rang;		/* the doorbell: the guest's loop says the step is done */
	bool exited;		/* to userspace, other than by the doorbell */
	u32 reason;		/* of the first such exit */
	u64 mmio_gpa;
	u64 mmio_data;
	u32 mmio_len;
	bool mmio_write;
};

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

void vcpu_create(struct vm *vm, u32 index, int run_size)
{
	struct vcpu *vcpu = &vm->vcpu[index];
	u64 mailbox = RUNTIME_MAILBOXES + index * MAILBOX_SIZE;
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
	vcpu->run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		scenario_infra("mmap of vCPU %u: %s", index, strerror(errno));
	vcpu->mailbox = (struct mailbox *)(vm->runtime + (mailbox - RESERVED_START));

	set_reg(vcpu, MAIR_EL1, MAIR_VALUE);
	set_reg(vcpu, TCR_EL1, TCR_VALUE);
	set_reg(vcpu, TTBR0_EL1, RUNTIME_TABLES);
	set_reg(vcpu, VBAR_EL1, RUNTIME_CODE);
	set_reg(vcpu, TPIDR_EL1, mailbox);
	set_reg(vcpu, SCTLR_EL1, SCTLR_VALUE);
	restart(vcpu);
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
	if (out->reason != KVM_EXIT_MMIO)
		return;
	out->mmio_gpa = run->mmio.phys_addr;
	out->mmio_len = run->mmio.len;
	out->mmio_write = run->mmio.is_write;
	memcpy(&out->mmio_data, run->mmio.data, out->mmio_len <= 8 ? out->mmio_len : 8);
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

static void command(struct vm *vm, u32 index, u32 op, u64 gpa, u64 value, struct outcome *out)
{
	struct mailbox *mailbox;
	struct slot *slot;

	if (index >= vm->vcpus)
		scenario_infra("there is no vCPU %u", index);
	stage1_cover(vm, gpa);
	mailbox = vm->vcpu[index].mailbox;
	slot = slot_at(vm, gpa, 1);
	mailbox->op = op;
	mailbox->clean = vm->clean_stores && slot && !(slot->flags & READONLY);
	mailbox->gpa = gpa;
	mailbox->value = value;
	mailbox->event = EVENT_NONE;
	asm volatile("dmb ish" : : : "memory");
	run_step(&vm->vcpu[index], out);
	asm volatile("dmb ish" : : : "memory");
	if (out->rang && (mailbox->event == EVENT_NONE || mailbox->event == EVENT_OTHER))
		scenario_infra("the guest lost its way: event %u, esr %#llx", mailbox->event,
			       (unsigned long long)mailbox->esr);
}

void vcpu_warm(struct vm *vm, u32 index)
{
	struct outcome out;

	command(vm, index, GUEST_NOP, RUNTIME_CODE, 0, &out);
	if (!out.rang || out.exited || vm->vcpu[index].mailbox->event != EVENT_DONE)
		scenario_infra("the guest does not start: KVM_RUN %d, exit reason %d, event %u",
			       out.ret, out.exited ? (int)out.reason : -1,
			       vm->vcpu[index].mailbox->event);
}

/* --- records ----------------------------------------------------------------- */

static const char *exit_name(u32 reason)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(exit_names); i++)
		if (exit_names[i].reason == reason)
			return exit_names[i].name;
	return NULL;
}

static void record_exit(const struct outcome *out)
{
	if (!out->exited) {
		step_null("exit");
		return;
	}
	step_key("exit");
	if (out->reason == KVM_EXIT_MMIO) {
		record_text("{\"reason\":\"mmio\",\"gpa\":%llu,\"len\":%u,\"write\":%s",
			    (unsigned long long)out->mmio_gpa, out->mmio_len,
			    out->mmio_write ? "true" : "false");
		if (out->mmio_write)
			record_text(",\"data\":%llu", (unsigned long long)out->mmio_data);
		record_text("}");
	} else if (exit_name(out->reason)) {
		record_text("{\"reason\":\"%s\"}", exit_name(out->reason));
	} else {
		record_text("{\"reason\":\"exit-%u\"}", out->reason);
	}
}

static void record_injected(const struct mailbox *mailbox)
{
	u64 ec = ESR_EC(mailbox->esr);

	if (mailbox->event == EVENT_SERROR) {
		step_key("injected");
		record_text("{\"ec\":\"serror\"}");
	} else if (mailbox->event != EVENT_SYNC) {
		step_null("injected");
	} else if (ec == EC_UNKNOWN) {
		step_key("injected");
		record_text("{\"ec\":\"undef\"}");
	} else if (ec == EC_IABT_CUR || ec == EC_DABT_CUR) {
		step_key("injected");
		record_text("{\"ec\":\"%s\",\"fsc\":%u", ec == EC_IABT_CUR ? "iabt" : "dabt",
			    (u32)ESR_FSC(mailbox->esr));
		if (!ESR_FNV(mailbox->esr))
			record_text(",\"far\":%llu", (unsigned long long)mailbox->far);
		record_text("}");
	} else {
		step_key("injected");
		record_text("{\"ec\":\"%#x\"}", (u32)ec);
	}
}

static void record_step(struct vm *vm, u32 index, const struct outcome *out, bool has_data)
{
	const struct mailbox *mailbox = vm->vcpu[index].mailbox;

	step_s64("ret", out->ret);
	record_exit(out);
	if (has_data && mailbox->event == EVENT_DONE)
		step_u64("data", mailbox->data);
	else if (has_data)
		step_null("data");
	record_injected(mailbox);
	trace_record();
	step_end();
}

/* --- the steps --------------------------------------------------------------- */

static u32 sized(u32 op, u32 size)
{
	u32 shift = __builtin_ctz(size);

	if (size != 1u << shift || size > 8)
		scenario_infra("there is no access of %u bytes", size);
	return op + shift;
}

void guest_read(struct vm *vm, u32 vcpu, u64 gpa, u32 size)
{
	struct outcome out;

	step_begin();
	command(vm, vcpu, sized(GUEST_LDRB, size), gpa, 0, &out);
	record_step(vm, vcpu, &out, true);
}

void guest_write(struct vm *vm, u32 vcpu, u64 gpa, u32 size, u64 value)
{
	struct outcome out;

	step_begin();
	command(vm, vcpu, sized(GUEST_STRB, size), gpa, value, &out);
	record_step(vm, vcpu, &out, false);
}

void guest_exec(struct vm *vm, u32 vcpu, u64 gpa)
{
	struct outcome out;

	step_begin();
	command(vm, vcpu, GUEST_BLR, gpa, 0, &out);
	record_step(vm, vcpu, &out, true);
}
