{# SPDX-License-Identifier: GPL-2.0-only #}
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kvm_util.h"
#include "processor.h"
#include "test_util.h"
#include "ucall_common.h"

#define STEPS		{{ steps | length }}
#define VCPUS		{{ vm.vcpus }}
/* Slot 0 is the library's. */
#define SLOT_ID(id)	((id) + 1)

#define EC_UNKNOWN	0x00
#define EC_IABT_CUR	0x21
#define EC_DABT_CUR	0x25

#define report(ok, what)	ksft_test_result(ok, "%s\n", what)
#define note(fmt, ...)		ksft_print_msg(fmt "\n", ##__VA_ARGS__)
#define give_up(what)		TEST_FAIL("%s: %s", what, strerror(errno))

/* --- the guest ------------------------------------------------------------- */

enum { LOAD, STORE, CALL };

/* What a vCPU is asked to do, and what came of it. */
static struct command {
	u32 kind;
	u32 size;
	u64 gpa;
	u64 value;
	u32 clean;
	u32 done;
	u64 data;
	u32 aborted;
	u64 esr;
	u64 far;
} commands[VCPUS];

/* By one instruction each, so that an MMIO exit has a valid syndrome. */
static u64 guest_load(u64 gpa, u32 size)
{
	u64 data = 0;

	if (size == 1)
		asm volatile("ldrb %w0, [%1]" : "=r"(data) : "r"(gpa) : "memory");
	else if (size == 2)
		asm volatile("ldrh %w0, [%1]" : "=r"(data) : "r"(gpa) : "memory");
	else if (size == 4)
		asm volatile("ldr %w0, [%1]" : "=r"(data) : "r"(gpa) : "memory");
	else
		asm volatile("ldr %0, [%1]" : "=r"(data) : "r"(gpa) : "memory");
	return data;
}

static void guest_store(u64 gpa, u32 size, u64 value)
{
	if (size == 1)
		asm volatile("strb %w0, [%1]" : : "r"(value), "r"(gpa) : "memory");
	else if (size == 2)
		asm volatile("strh %w0, [%1]" : : "r"(value), "r"(gpa) : "memory");
	else if (size == 4)
		asm volatile("str %w0, [%1]" : : "r"(value), "r"(gpa) : "memory");
	else
		asm volatile("str %0, [%1]" : : "r"(value), "r"(gpa) : "memory");
}

static u64 guest_call(u64 gpa)
{
	asm volatile("ic iallu; dsb ish; isb" : : : "memory");
	return (u32)((u64 (*)(void))gpa)();
}

static void guest_code(u64 index)
{
	struct command *command = &commands[index];

	for (;;) {
		u64 data = 0;

		if (command->kind == LOAD)
			data = guest_load(command->gpa, command->size);
		else if (command->kind == STORE)
			guest_store(command->gpa, command->size, command->value);
		else
			data = guest_call(command->gpa);
		if (command->clean && !command->aborted)
			asm volatile("dc cvau, %0" : : "r"(command->gpa) : "memory");
		asm volatile("dsb sy; isb" : : : "memory");
		command->data = data;
		command->done = !command->aborted;
		GUEST_SYNC(index);
	}
}

/* Notes it, and goes on behind the access: at the caller of what was called. */
static void guest_exception(struct ex_regs *regs)
{
	u64 esr = read_sysreg(esr_el1), far = read_sysreg(far_el1), gpa;
	u32 i;

	gpa = esr >> 26 == EC_DABT_CUR ? far : regs->pc;
	for (i = 0; i < VCPUS; i++) {
		if (VCPUS > 1 && commands[i].gpa >> 12 != gpa >> 12)
			continue;
		commands[i].aborted = 1;
		commands[i].esr = esr;
		commands[i].far = far;
		break;
	}
	if (esr >> 26 == EC_DABT_CUR)
		regs->pc += 4;
	else
		regs->pc = regs->regs[30];
}

/* --- the VM ------------------------------------------------------------------ */

static struct kvm_vm *vm;
static struct kvm_vcpu *vcpus[VCPUS];

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

static int __maybe_unused call_vm(unsigned long request, void *argument)
{
	return ioctl(vm->fd, request, argument) ? -errno : 0;
}

static void keep_exit(struct kvm_run *run)
{
	if (seen.exited)
		return;
	seen.exited = true;
	seen.reason = run->exit_reason;
	if (seen.reason != KVM_EXIT_MMIO)
		return;
	seen.exit_gpa = run->mmio.phys_addr;
	seen.exit_len = run->mmio.len;
	seen.exit_write = run->mmio.is_write;
	memcpy(&seen.exit_data, run->mmio.data, run->mmio.len);
}

/* One access by one instruction. */
static void __maybe_unused access_by(u32 index, u32 kind, u64 gpa, u32 size, u64 value, bool clean)
{
	struct kvm_vcpu *vcpu = vcpus[index];
	struct kvm_run *run = vcpu->run;
	struct ucall uc;

	memset(&seen, 0, sizeof(seen));
	commands[index] = (struct command){
		.kind = kind,
		.size = size,
		.gpa = gpa,
		.value = value,
		.clean = clean,
	};
	sync_global_to_guest(vm, commands);
	for (;;) {
		if (run->exit_reason != KVM_EXIT_MMIO)
			run->exit_reason = KVM_EXIT_UNKNOWN;
		seen.ret = _vcpu_run(vcpu) ? -errno : 0;
		if (!seen.ret && get_ucall(vcpu, &uc) == UCALL_SYNC)
			break;
		if (!seen.ret && run->exit_reason == KVM_EXIT_MMIO) {
			keep_exit(run);
			if (!run->mmio.is_write)
				memset(run->mmio.data, 0x5a, sizeof(run->mmio.data));
			continue;
		}
		if (!seen.ret || run->exit_reason == 39 /* KVM_EXIT_MEMORY_FAULT */)
			keep_exit(run);
		/* The next access of this vCPU starts afresh. */
		vcpu_set_reg(vcpu, ARM64_CORE_REG(regs.pc), (unsigned long)guest_code);
		vcpu_args_set(vcpu, 1, (u64)index);
		return;
	}
	sync_global_from_guest(vm, commands);
	seen.done = commands[index].done;
	seen.data = commands[index].data;
	seen.aborted = commands[index].aborted;
	seen.esr = commands[index].esr;
	seen.far = commands[index].far;
}

{% if pages %}
/* What the guest touches, in pages of 4K: stage 1 maps it to itself. */
static const u64 touched[] = {
{% for page in pages %}
	{{ page }},
{% endfor %}
};

{% endif %}
static void create_vm(void)
{
	struct vm_shape shape = { .mode = {{ vm.mode }} };
	u32 i;

	vm = __vm_create_with_vcpus(shape, VCPUS, 256, guest_code, vcpus);
	vm_init_descriptor_tables(vm);
	for (i = 0; i < VCPUS; i++) {
		vcpu_init_descriptor_tables(vcpus[i]);
		vcpu_args_set(vcpus[i], 1, (u64)i);
	}
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, EC_UNKNOWN, guest_exception);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, EC_IABT_CUR, guest_exception);
	vm_install_sync_handler(vm, VECTOR_SYNC_CURRENT, EC_DABT_CUR, guest_exception);
{% if vm.manual_protect %}
	vm_enable_cap(vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, {{ vm.manual_protect }});
{% endif %}
{% if pages %}
	for (i = 0; i < ARRAY_SIZE(touched); i++)
		virt_pg_map(vm, touched[i], touched[i]);
{% endif %}
}
