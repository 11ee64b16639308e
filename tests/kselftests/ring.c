// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints what trace_ring.c reads from a folder that looks like a trace instance:
 * a line for each event, its data in hex; then "complete" or "lost". With
 * further arguments FILE NAME: offset and size of that field.
 */
#include <stdio.h>

#include "trace_ring.h"

static void on_event(const char *data, size_t size)
{
	size_t i;

	printf("event ");
	for (i = 0; i < size; i++)
		printf("%02x", (unsigned char)data[i]);
	printf("\n");
}

int main(int argc, char **argv)
{
	struct trace_field field;
	int ret;

	if (argc == 4) {
		ret = trace_field_find(argv[2], argv[3], &field);
		if (ret)
			printf("%d\n", ret);
		else
			printf("%u %u\n", field.offset, field.size);
		return 0;
	}
	ret = trace_ring_open(argv[1], 0);
	if (ret) {
		printf("%d\n", ret);
		return 0;
	}
	printf("%s\n", trace_ring_read(on_event) ? "complete" : "lost");
	trace_ring_close();
	return 0;
}
