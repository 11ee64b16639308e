{# SPDX-License-Identifier: GPL-2.0-only #}
int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("KTAP version 1\n1..%d\n", STEPS);
	create_vm();
	test();
	return failed ? 1 : 0;
}
