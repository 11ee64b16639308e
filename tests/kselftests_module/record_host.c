// SPDX-License-Identifier: GPL-2.0-only
/* Stands in for the runner's records: lines go to stdout at once. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "pgtable_record.h"
#include "record.h"

void record_text(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
}

void step_begin(void)
{
	printf("{\"n\":0");
}

void step_end(void)
{
	printf("}\n");
}

void scenario_infra(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	exit(1);
}

/* Steps as the module writes them come in on stdin; argv: channels, and bad tables to add. */
int main(int argc, char **argv)
{
	static const struct hx_bad_table extra = { .level = HX_UNREACHABLE, .count = 3 };
	struct hx_step head, *step;
	size_t rest;

	if (argc != 3)
		return 2;
	while (fread(&head, sizeof(head), 1, stdin) == 1) {
		rest = head.size - sizeof(head);
		step = malloc(head.size);
		*step = head;
		if (rest && fread(step + 1, rest, 1, stdin) != 1)
			return 3;
		pgtable_record(step, strtoul(argv[1], NULL, 0), *argv[2] == '1' ? &extra : NULL);
		free(step);
	}
	return 0;
}
