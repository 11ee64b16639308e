// SPDX-License-Identifier: GPL-2.0-only
/*
 * debugfs kvm/PID-FD/stage2_page_tables (arch/arm64/kvm/ptdump.c): a heading, and a
 * line for each run of entries of one level and of equal permissions. Neither output
 * addresses nor memory types are told.
 *
 *	---[ Guest IPA ]---
 *	0x0000000080000000-0x0000000080002000           8K 3   R W   AF
 *
 * 6.12 writes X for an entry that must *not* be executed (the bit is XN); from 7.0 on
 * it is px or PXN for EL1, and ux or UXN for EL0. The last run of all is not printed
 * before another begins: a leaf at the very end of the IPA space is not seen. In 6.12
 * the state of a dump is not set up again where the text outgrows the buffer of its
 * seq_file: what is printed then lacks the heading.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "live_dump.h"

#define FOLDER		"/sys/kernel/debug/kvm"
#define FILE_NAME	"stage2_page_tables"
#define HEADING		"---[ Guest IPA ]---\n"
#define MAX_TEXT	(256UL << 10)
#define LAST_LEVEL	3

bool dump_start(void)
{
	struct dirent *entry;
	DIR *folder = opendir(FOLDER);
	char path[320], own[16];
	bool found = false;

	if (!folder)
		return false;
	snprintf(own, sizeof(own), "%d-", getpid());
	while (!found && (entry = readdir(folder))) {
		if (strncmp(entry->d_name, own, strlen(own)))
			continue;
		snprintf(path, sizeof(path), FOLDER "/%s/" FILE_NAME, entry->d_name);
		found = !access(path, R_OK);
	}
	closedir(folder);
	return found;
}

/* The whole of a file as text; NULL where it cannot be read, or is too long. */
static const char *read_text(const char *path)
{
	static char *text;
	size_t used = 0;
	ssize_t n = -1;
	int fd;

	if (!text)
		text = malloc(MAX_TEXT);
	/* Opened anew for each dump: see above. */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (!text || fd < 0)
		goto out;
	while (used < MAX_TEXT - 1 && (n = read(fd, text + used, MAX_TEXT - 1 - used)) > 0)
		used += n;
	text[used] = '\0';
out:
	if (fd >= 0)
		close(fd);
	return n ? NULL : text;
}

/* What stands behind the level of a line; of an invalid entry nothing does. */
static void parse_bits(const char *bits, struct hx_leaf_run *run)
{
	bool el1 = strstr(bits, "px") || strstr(bits, "PXN");

	run->prot = strstr(bits, " R ") ? HX_PROT_R : 0;
	if (strstr(bits, " W "))
		run->prot |= HX_PROT_W;
	if (el1 ? !!strstr(bits, "px") : !strstr(bits, " X "))
		run->prot |= HX_PROT_X;
	run->attr = strstr(bits, " AF") ? HX_ATTR_AF : 0;
}

/* A line as a run; false where it has no leaf. */
static bool parse_line(const char *line, u32 page_shift, struct hx_leaf_run *run)
{
	unsigned long long from, to;
	char bits[64];
	u32 level;

	memset(run, 0, sizeof(*run));
	if (sscanf(line, "0x%llx-0x%llx %*s %u%63[^\n]", &from, &to, &level, bits) != 4)
		return false;
	if (level > LAST_LEVEL || !strncmp(bits, " F", 2))
		return false;
	run->ipa = from;
	run->shift = page_shift + (LAST_LEVEL - level) * (page_shift - 3);
	run->count = (to - from) >> run->shift;
	parse_bits(bits, run);
	return true;
}

int dump_leaves(int vm, u64 skip_from, u64 skip_to, struct hx_leaf_run *runs, u32 room)
{
	u32 page_shift = __builtin_ctz((unsigned int)sysconf(_SC_PAGESIZE));
	const char *text;
	char path[96];
	u32 nr = 0;

	snprintf(path, sizeof(path), FOLDER "/%d-%d/" FILE_NAME, getpid(), vm);
	text = read_text(path);
	if (!text || strncmp(text, HEADING, strlen(HEADING)))
		return -1;
	for (; (text = strchr(text, '\n')); ) {
		if (nr == room)
			return -1;
		if (parse_line(++text, page_shift, &runs[nr]) &&
		    (runs[nr].ipa < skip_from || runs[nr].ipa >= skip_to))
			nr++;
	}
	return nr;
}
