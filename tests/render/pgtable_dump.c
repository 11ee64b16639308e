// SPDX-License-Identifier: GPL-2.0-only
/* Stands in for the runtime: prints what the rendered steps are, as JSON lines. */
#include <inttypes.h>
#include <stdio.h>

#include "pgtable.h"

const struct suite pgtable_suite = { .name = "pgtable" };

static void print_cache(const char *key, u32 memcache)
{
	if (!memcache)
		return;
	if (memcache == NO_CACHE)
		printf(",\"%s\":null", key);
	else
		printf(",\"%s\":%u", key, memcache - SMALLEST_CACHE);
}

void run(const struct table *table, const struct step *steps, u32 count)
{
	u32 i;

	printf("{\"granule\":%" PRIu64 ",\"ipa_bits\":%u", table->granule, table->ipa_bits);
	print_cache("memcache", table->memcache);
	printf(",\"steps\":[");
	for (i = 0; i < count; i++) {
		printf("%s{\"code\":%d,\"prot\":%u,\"ipa\":%" PRIu64 ",\"size\":%" PRIu64
		       ",\"pa\":%" PRIu64 ",\"sw\":%u,\"flags\":%u",
		       i ? "," : "", steps[i].code, steps[i].prot, steps[i].ipa, steps[i].size,
		       steps[i].pa_or_owner, steps[i].sw, steps[i].flags);
		print_cache("memcache", steps[i].memcache);
		printf("}");
	}
	printf("]}\n");
}

int selftest_main(int argc, char **argv, const struct suite *suite,
		  const struct scenario *scenarios, unsigned int count)
{
	unsigned int i;

	(void)argc;
	(void)argv;
	(void)suite;
	for (i = 0; i < count; i++)
		scenarios[i].run();
	return 0;
}
