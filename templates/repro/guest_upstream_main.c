{# SPDX-License-Identifier: GPL-2.0-only #}
int main(void)
{
	ksft_print_header();
	ksft_set_plan(STEPS);
	create_vm();
	test();
	kvm_vm_free(vm);
	ksft_finished();
}
