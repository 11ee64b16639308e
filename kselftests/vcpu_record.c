// SPDX-License-Identifier: GPL-2.0-only
/* What KVM and the guest made of a vCPU's step, as its record. */
#include <linux/kvm.h>

#include "record.h"
#include "stats.h"
#include "vm.h"

#define ESR_EC(esr)	((esr) >> 26 & 0x3f)
#define ESR_FSC(esr)	((esr) & 0x3f)
#define ESR_FNV(esr)	((esr) >> 10 & 1)	/* the FAR is not valid */
#define EC_UNKNOWN	0x00
#define EC_IABT_CUR	0x21
#define EC_DABT_CUR	0x25

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
	{ 31 /* KVM_EXIT_DIRTY_RING_FULL */, "dirty_ring_full" },
	{ 39 /* KVM_EXIT_MEMORY_FAULT */, "memory_fault" },
	{ 41 /* KVM_EXIT_ARM_SEA */, "arm_sea" },
	{ 42 /* KVM_EXIT_ARM_LDST64B */, "arm_ldst64b" },
};

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
		record_word("{\"reason\":\"mmio\",\"gpa\":");
		record_u64(out->gpa);
		record_word(",\"len\":");
		record_u64(out->mmio_len);
		record_word(out->write ? ",\"write\":true,\"data\":" : ",\"write\":false");
		if (out->write)
			record_u64(out->mmio_data);
		record_word("}");
	} else if (out->reason == KVM_EXIT_ARM_NISV) {
		record_word("{\"reason\":\"arm_nisv\",\"gpa\":");
		record_u64(out->gpa);
		record_word(out->write ? ",\"write\":true}" : ",\"write\":false}");
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
		record_word(ec == EC_IABT_CUR ? "{\"ec\":\"iabt\",\"fsc\":" :
						"{\"ec\":\"dabt\",\"fsc\":");
		record_u64(ESR_FSC(mailbox->esr));
		if (!ESR_FNV(mailbox->esr)) {
			record_word(",\"far\":");
			record_u64(mailbox->far);
		}
		record_word("}");
	} else {
		step_key("injected");
		record_text("{\"ec\":\"%#x\"}", (u32)ec);
	}
}

void vcpu_record(struct vm *vm, u32 index, const struct outcome *out, bool has_data)
{
	const struct mailbox *mailbox = vm->vcpu[index].mailbox;

	step_s64("ret", out->ret);
	record_exit(out);
	if (has_data && mailbox->event == EVENT_DONE)
		step_u64("data", mailbox->data);
	else if (has_data)
		step_null("data");
	record_injected(mailbox);
	stats_of_vcpu(vm, index, out->rang);
	step_finish(vm);
}
