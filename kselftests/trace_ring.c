// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pages of the trace ring buffer, as trace_pipe_raw gives them: a time stamp,
 * the number of bytes that follow, and events of a 32-bit header and data.
 * See Documentation/trace/ring-buffer-design.rst and events/header_{page,event}.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "trace_ring.h"

#define HEADER_BYTES		4
#define TYPE_LEN(header)	((header) & 0x1f)
#define TIME_DELTA(header)	((header) >> 5)
#define TYPE_LARGE		0	/* the length follows */
#define TYPE_PADDING		29
#define TYPE_TIME_EXTEND	30
#define TYPE_TIME_STAMP		31

#define COMMIT_LENGTH(commit)	((commit) & 0xfffff)
#define COMMIT_MISSED		(1UL << 31)

static int ring_fd = -1;
static char *page;
static size_t page_size;
static struct trace_field commit_field, data_field;

/* --- format files ------------------------------------------------------------ */

static int read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	while (used < size - 1 && (n = read(fd, text + used, size - 1 - used)) > 0)
		used += n;
	close(fd);
	text[used] = '\0';
	return 0;
}

/* Lines such as "	field:unsigned long long ipa;	offset:32;	size:8;	signed:0;". */
int trace_field_find(const char *format_path, const char *name, struct trace_field *field)
{
	char text[4096], wanted[40];
	const char *at;
	int ret = read_file(format_path, text, sizeof(text));

	if (ret)
		return ret;
	snprintf(wanted, sizeof(wanted), " %s;", name);
	at = strstr(text, wanted);
	if (!at || sscanf(at + strlen(wanted), " offset:%u; size:%u;", &field->offset,
			  &field->size) != 2)
		return -ENOENT;
	return 0;
}

int trace_event_id(const char *id_path)
{
	char text[32];
	int ret = read_file(id_path, text, sizeof(text));

	return ret ? ret : atoi(text);
}

u64 trace_field_value(const char *data, size_t size, const struct trace_field *field)
{
	u64 value = 0;

	if (field->size <= sizeof(value) && field->offset + field->size <= size)
		memcpy(&value, data + field->offset, field->size);
	return value;
}

/* --- the buffer --------------------------------------------------------------- */

int trace_ring_open(const char *instance, int cpu)
{
	char path[160];
	int ret;

	snprintf(path, sizeof(path), "%s/events/header_page", instance);
	ret = trace_field_find(path, "commit", &commit_field);
	if (!ret)
		ret = trace_field_find(path, "data", &data_field);
	if (ret)
		return ret;
	page_size = data_field.offset + data_field.size;
	page = malloc(page_size);
	if (!page)
		return -ENOMEM;
	snprintf(path, sizeof(path), "%s/per_cpu/cpu%d/trace_pipe_raw", instance, cpu);
	ring_fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return ring_fd < 0 ? -errno : 0;
}

void trace_ring_close(void)
{
	if (ring_fd >= 0)
		close(ring_fd);
	ring_fd = -1;
}

/* Walks the events in [at, end). */
static void walk(const char *at, const char *end, event_fn event)
{
	while (at + HEADER_BYTES <= end) {
		u32 header, word = 0;
		size_t length;

		memcpy(&header, at, sizeof(header));
		at += HEADER_BYTES;
		length = TYPE_LEN(header) * 4;
		if (TYPE_LEN(header) == TYPE_LARGE || TYPE_LEN(header) >= TYPE_PADDING) {
			if (at + sizeof(word) > end)
				return;
			memcpy(&word, at, sizeof(word));
		}
		switch (TYPE_LEN(header)) {
		case TYPE_TIME_EXTEND:
		case TYPE_TIME_STAMP:
			at += sizeof(word);
			continue;
		case TYPE_PADDING:
			length = TIME_DELTA(header) ? word : (size_t)(end - at);
			break;
		case TYPE_LARGE:
			if (word < sizeof(word))
				return;
			at += sizeof(word);
			length = word - sizeof(word);
			break;
		}
		if (length > (size_t)(end - at))
			return;
		if (TYPE_LEN(header) != TYPE_PADDING)
			event(at, length);
		at += length;
	}
}

bool trace_ring_read(event_fn event)
{
	return trace_ring_read_from(ring_fd, event);
}

bool trace_ring_read_from(int fd, event_fn event)
{
	bool complete = true;

	while (fd >= 0) {
		ssize_t n = read(fd, page, page_size);
		u64 commit;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= (ssize_t)data_field.offset)
			break;
		commit = trace_field_value(page, n, &commit_field);
		if (commit & COMMIT_MISSED)
			complete = false;
		n -= data_field.offset;
		if (COMMIT_LENGTH(commit) < (size_t)n)
			n = COMMIT_LENGTH(commit);
		walk(page + data_field.offset, page + data_field.offset + n, event);
	}
	return complete;
}
