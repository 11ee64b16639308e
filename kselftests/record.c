// SPDX-License-Identifier: GPL-2.0-only
/* Step records in memory that the runner shares with the scenario's child. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "record.h"

/* Reserved, not allocated: pages come as they are written. */
#define SHARED_SIZE	(512UL << 20)
/* What a large scenario used is given back down to this. */
#define SHARED_KEEP	(1UL << 20)

struct shared *shared;

static size_t used;		/* committed bytes and the line being built */
static bool sync_lines;

int record_init(void)
{
	void *memory = mmap(NULL, SHARED_SIZE, PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		return -errno;
	shared = memory;
	return 0;
}

void record_set_sync(bool on)
{
	sync_lines = on;
}

bool record_is_sync(void)
{
	return sync_lines;
}

void record_reset(void)
{
	if (shared->committed > SHARED_KEEP)
		madvise((char *)shared + SHARED_KEEP, SHARED_SIZE - SHARED_KEEP, MADV_REMOVE);
	memset(shared, 0, sizeof(*shared));
	used = 0;
}

void record_adopt(void)
{
	used = shared->committed;
	shared->full = false;
}

static size_t room(void)
{
	return SHARED_SIZE - sizeof(*shared) - used;
}

void record_text(const char *fmt, ...)
{
	va_list args;
	int length;

	va_start(args, fmt);
	length = vsnprintf(shared->text + used, room(), fmt, args);
	va_end(args);
	if (length < 0 || (size_t)length >= room()) {
		shared->full = true;
		return;
	}
	used += length;
}

void record_json_string(const char *text)
{
	record_text("\"");
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			record_text("\\%c", *text);
		else if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
			record_text("\\u%04x", (unsigned char)*text);
		else
			record_text("%c", *text);
	}
	record_text("\"");
}

void record_commit(void)
{
	record_text("\n");
	__atomic_store_n(&shared->committed, used, __ATOMIC_RELEASE);
	if (sync_lines)
		record_flush();
}

bool record_flush(void)
{
	size_t committed = __atomic_load_n(&shared->committed, __ATOMIC_ACQUIRE);

	while (shared->written < committed) {
		ssize_t n = write(STDOUT_FILENO, shared->text + shared->written,
				  committed - shared->written);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		shared->written += n;
	}
	return true;
}

void step_begin(void)
{
	record_text("# step {\"n\":%u", shared->steps);
	__atomic_store_n(&shared->steps, shared->steps + 1, __ATOMIC_RELEASE);
}

void step_key(const char *key)
{
	record_text(",\"%s\":", key);
}

void step_s64(const char *key, s64 value)
{
	record_text(",\"%s\":%lld", key, (long long)value);
}

void step_u64(const char *key, u64 value)
{
	record_text(",\"%s\":%llu", key, (unsigned long long)value);
}

void step_null(const char *key)
{
	record_text(",\"%s\":null", key);
}

void step_end(void)
{
	record_text("}");
	if (shared->full)
		scenario_infra("the record of step %u does not fit", shared->steps - 1);
	record_commit();
}

/* One line, whatever it was made of: it also stands in the KTAP result. */
static void set_detail(const char *fmt, va_list args)
{
	char *at;

	vsnprintf(shared->detail, sizeof(shared->detail), fmt, args);
	for (at = shared->detail; *at; at++)
		if ((unsigned char)*at < 0x20)
			*at = ' ';
}

static void __noreturn end(enum status status)
{
	shared->status = status;
	_exit(0);
}

void scenario_done(void)
{
	end(STATUS_DONE);
}

void scenario_skip(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	set_detail(fmt, args);
	va_end(args);
	end(STATUS_SKIP);
}

void scenario_infra(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	set_detail(fmt, args);
	va_end(args);
	end(STATUS_INFRA);
}
