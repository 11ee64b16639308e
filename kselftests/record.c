// SPDX-License-Identifier: GPL-2.0-only
/* Step records in memory that the runner shares with the scenario's child. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "record.h"

/* Reserved, not allocated: pages come as they are written. */
#define SHARED_SIZE	(512UL << 20)
/* What a large scenario used is given back down to this. */
#define SHARED_KEEP	(1UL << 20)
/* Text is written out after so many seconds, or when it is so much. */
#define DUE_SECONDS	0.15
#define DUE_BYTES	(64UL << 10)

struct shared *shared;

static size_t used;		/* committed bytes and the line being built */
static bool sync_lines;
static double last_flush;
static jmp_buf *end_to;

/* Where the steps of this thread go instead of into the record. */
static __thread struct {
	char *text;
	size_t size;
	size_t used;
	size_t step;		/* where the current one began */
} captured;

/* Steps at the scenario's start that stand in the record already. */
static u32 replayed, to_replay;
static bool muted;		/* in one of them */

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

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

/* Nothing of the text is needed any more once it is written. */
static void drop_written(void)
{
	if (shared->written < shared->committed)
		return;
	if (shared->committed > SHARED_KEEP)
		madvise((char *)shared + SHARED_KEEP, SHARED_SIZE - SHARED_KEEP, MADV_REMOVE);
	shared->committed = 0;
	shared->written = 0;
	used = 0;
}

void record_begin(u32 index)
{
	drop_written();
	shared->index = index;
	shared->steps = 0;
	to_replay = 0;
	muted = false;
	shared->status = STATUS_NONE;
	shared->full = false;
	shared->module_ns = 0;
	shared->api_ns = 0;
	shared->detail[0] = 0;
	shared->beats++;
	shared->start = now();
}

void record_set_end(jmp_buf *to)
{
	end_to = to;
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

void record_capture(char *text, size_t size)
{
	captured.text = text;
	captured.size = size;
	captured.used = 0;
	if (text)
		text[0] = '\0';
}

bool record_is_captured(void)
{
	return captured.text;
}

static void __noreturn capture_overflows(void)
{
	scenario_infra("the steps of a branch do not fit into %zu bytes", captured.size);
}

static void capture_text(const char *fmt, va_list args)
{
	size_t left = captured.size - captured.used;
	int length = vsnprintf(captured.text + captured.used, left, fmt, args);

	if (length < 0 || (size_t)length >= left)
		capture_overflows();
	captured.used += length;
}

void record_replay(u32 from)
{
	replayed = from;
	to_replay = shared->steps;
}

bool record_is_replay(void)
{
	return replayed < to_replay;
}

bool record_is_muted(void)
{
	return muted;
}

void record_beat(void)
{
	__atomic_add_fetch(&shared->beats, 1, __ATOMIC_RELEASE);
}

void record_text(const char *fmt, ...)
{
	va_list args;
	int length;

	if (muted && !captured.text)
		return;
	va_start(args, fmt);
	if (captured.text) {
		capture_text(fmt, args);
		va_end(args);
		return;
	}
	length = vsnprintf(shared->text + used, room(), fmt, args);
	va_end(args);
	if (length < 0 || (size_t)length >= room()) {
		shared->full = true;
		return;
	}
	used += length;
}

static void put(const char *text, size_t length)
{
	if (captured.text) {
		if (length >= captured.size - captured.used)
			capture_overflows();
		memcpy(captured.text + captured.used, text, length + 1);
		captured.used += length;
	} else if (muted) {
		return;
	} else if (length >= room()) {
		shared->full = true;
	} else {
		memcpy(shared->text + used, text, length + 1);
		used += length;
	}
}

void record_word(const char *text)
{
	put(text, strlen(text));
}

void record_u64(u64 value)
{
	char digits[DECIMAL_SIZE];

	record_word(decimal(value, digits));
}

void record_s64(s64 value)
{
	if (value < 0)
		put("-", 1);
	record_u64(value < 0 ? -(u64)value : (u64)value);
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
	record_word("\n");
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

bool record_flush_due(void)
{
	double time = now();

	if (time - last_flush < DUE_SECONDS && shared->committed - shared->written < DUE_BYTES)
		return true;
	last_flush = time;
	return record_flush();
}

void record_stream(void)
{
	if (end_to)
		record_flush_due();
}

void step_begin(void)
{
	if (captured.text) {
		record_text("%s", captured.used ? "," : "");
		captured.step = captured.used;
		return;
	}
	if (record_is_replay()) {
		replayed++;
		muted = true;
		record_beat();
		return;
	}
	record_word("# step {\"n\":");
	record_u64(shared->steps);
	__atomic_store_n(&shared->beats, shared->beats + 1, __ATOMIC_RELEASE);
	__atomic_store_n(&shared->steps, shared->steps + 1, __ATOMIC_RELEASE);
}

void step_key(const char *key)
{
	record_word(",\"");
	record_word(key);
	record_word("\":");
}

void step_s64(const char *key, s64 value)
{
	step_key(key);
	record_s64(value);
}

void step_u64(const char *key, u64 value)
{
	step_key(key);
	record_u64(value);
}

void step_null(const char *key)
{
	step_key(key);
	record_word("null");
}

void step_end(void)
{
	if (muted && !captured.text) {
		muted = false;
		return;
	}
	record_word("}");
	if (captured.text) {
		/* The comma in front of its first channel. */
		captured.text[captured.step] = '{';
		return;
	}
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
	if (end_to)
		longjmp(*end_to, 1);
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
