// SPDX-License-Identifier: GPL-2.0-only
/* Faults that wait in userfaultfd, so that others overtake them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "race_hold.h"
#include "race_team.h"
#include "record.h"
#include "vm.h"

#define MAX_HELD	16
#define TICK_MS		1
/* A branch may wait for one that is held: for the end of its fault, say. */
#define PATIENCE_TICKS	8

struct held {
	char *page;
	char *content;
	u32 waiting;		/* faults on it since the block began */
};

static struct {
	int fd;
	size_t page_size;
	u32 branches;
	u32 count;
	struct held page[MAX_HELD];
	pthread_t thread;
	bool ending;
} hold = { .fd = -1 };

static void open_uffd(void)
{
	struct uffdio_api api = { .api = UFFD_API };

	if (hold.fd >= 0)
		return;
	hold.fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (hold.fd < 0)
		scenario_skip("no userfaultfd to hold a fault with: %s", strerror(errno));
	if (ioctl(hold.fd, UFFDIO_API, &api))
		scenario_skip("userfaultfd: %s", strerror(errno));
}

static void take_away(struct held *held, char *page)
{
	struct uffdio_register range = {
		.range = { .start = (u64)page, .len = hold.page_size },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	held->page = page;
	held->waiting = 0;
	if (!held->content)
		held->content = malloc(hold.page_size);
	if (!held->content)
		scenario_infra("no memory for a held page");
	memcpy(held->content, page, hold.page_size);
	if (madvise(page, hold.page_size, MADV_DONTNEED))
		scenario_infra("madvise of a held page: %s", strerror(errno));
	if (ioctl(hold.fd, UFFDIO_REGISTER, &range))
		scenario_infra("UFFDIO_REGISTER: %s", strerror(errno));
}

static void give_back(struct held *held)
{
	struct uffdio_copy copy = {
		.dst = (u64)held->page,
		.src = (u64)held->content,
		.len = hold.page_size,
	};
	struct uffdio_range range = { .start = (u64)held->page, .len = hold.page_size };

	if (!held->page)
		return;
	/* Wakes all that wait for it. */
	if (ioctl(hold.fd, UFFDIO_COPY, &copy) && errno != EEXIST)
		scenario_infra("UFFDIO_COPY: %s", strerror(errno));
	ioctl(hold.fd, UFFDIO_UNREGISTER, &range);
	held->page = NULL;
}

/* Faults that have come in since last asked. */
static u32 new_faults(void)
{
	struct uffd_msg message;
	u32 found = 0, i;

	while (read(hold.fd, &message, sizeof(message)) == sizeof(message)) {
		if (message.event != UFFD_EVENT_PAGEFAULT)
			continue;
		for (i = 0; i < hold.count; i++)
			if (message.arg.pagefault.address - (u64)hold.page[i].page <
			    hold.page_size)
				hold.page[i].waiting++;
		found++;
	}
	return found;
}

static void give_all_back(void)
{
	u32 i;

	for (i = 0; i < hold.count; i++)
		give_back(&hold.page[i]);
}

static void *watch(void *unused)
{
	struct pollfd poller = { .fd = hold.fd, .events = POLLIN };
	u32 waiting = 0, done = 0, idle = 0;

	(void)unused;
	while (!__atomic_load_n(&hold.ending, __ATOMIC_ACQUIRE)) {
		u32 found;

		poll(&poller, 1, TICK_MS);
		found = new_faults();
		waiting += found;
		idle = found || team_done() != done ? 0 : idle + 1;
		done = team_done();
		if (waiting && (waiting + done >= hold.branches || idle > PATIENCE_TICKS)) {
			give_all_back();
			break;
		}
	}
	return NULL;
}

void hold_pages(struct vm *vm, const struct race_block *block)
{
	size_t i;
	int error;

	open_uffd();
	if (block->hold->count > MAX_HELD)
		scenario_infra("a block can hold %d pages, not %zu", MAX_HELD, block->hold->count);
	hold.page_size = vm->page_size;
	hold.branches = block->branches;
	hold.count = block->hold->count;
	hold.ending = false;
	for (i = 0; i < hold.count; i++) {
		u64 gpa = block->hold->pages[i] / vm->page_size * vm->page_size;

		take_away(&hold.page[i], host_address(vm, gpa, vm->page_size));
	}
	error = pthread_create(&hold.thread, NULL, watch, NULL);
	if (error)
		scenario_infra("thread that holds faults: %s", strerror(error));
}

void hold_end(void)
{
	__atomic_store_n(&hold.ending, true, __ATOMIC_RELEASE);
	pthread_join(hold.thread, NULL);
	/* A page that nobody asked for. */
	give_all_back();
}
