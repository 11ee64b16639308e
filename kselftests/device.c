// SPDX-License-Identifier: GPL-2.0-only
/*
 * Device memory: the shared-memory BAR of an ivshmem device, mapped through sysfs.
 *
 * It is behind no struct page and mapped uncached (VM_PFNMAP, VM_IO), as any BAR is, and
 * it keeps what is stored, as few are: that is what a scenario needs of it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backing.h"
#include "backing_parts.h"
#include "record.h"

#define PCI_DEVICES	"/sys/bus/pci/devices"
#define IVSHMEM_VENDOR	0x1af4
#define IVSHMEM_DEVICE	0x1110

static struct {
	int fd;			/* of its BAR, open for as long as the process lives */
	u64 size;
	u64 used;		/* by the scenario that runs */
} bar = { .fd = -1 };

static long pci_number(const char *device, const char *file)
{
	char path[320], text[16] = "";
	long value = -1;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", device, file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	if (read(fd, text, sizeof(text) - 1) > 0)
		sscanf(text, "%lx", &value);
	close(fd);
	return value;
}

/* One that no driver has taken for something else; false where there is none. */
static bool find_device(char *name, size_t size)
{
	DIR *devices = opendir(PCI_DEVICES);
	struct dirent *entry;
	char driver[320];
	bool found = false;

	while (devices && !found && (entry = readdir(devices))) {
		if (pci_number(entry->d_name, "vendor") != IVSHMEM_VENDOR ||
		    pci_number(entry->d_name, "device") != IVSHMEM_DEVICE)
			continue;
		snprintf(driver, sizeof(driver), PCI_DEVICES "/%s/driver", entry->d_name);
		found = access(driver, F_OK);
		snprintf(name, size, "%s", entry->d_name);
	}
	if (devices)
		closedir(devices);
	return found;
}

/* Without this the device does not answer at its addresses. */
static void enable_device(const char *name)
{
	char path[320];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/enable", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		scenario_skip("needs device memory: %s: %s", path, strerror(errno));
	close(fd);
}

static void open_bar(void)
{
	char name[256], path[320];
	struct stat status;

	if (!find_device(name, sizeof(name)))
		scenario_skip("needs device memory, and none is known on this machine "
			      "(PCI device %04x:%04x, ivshmem)", IVSHMEM_VENDOR, IVSHMEM_DEVICE);
	enable_device(name);
	snprintf(path, sizeof(path), PCI_DEVICES "/%s/resource2", name);
	bar.fd = open(path, O_RDWR | O_CLOEXEC);
	if (bar.fd < 0 || fstat(bar.fd, &status))
		scenario_skip("needs device memory: %s: %s", path, strerror(errno));
	bar.size = status.st_size;
}

/* Nothing of what was there before; by plain stores, which is all that a device takes. */
static void zero(const struct memory *memory)
{
	size_t at;

	for (at = 0; at < memory->area_size; at += sizeof(u64))
		*(volatile u64 *)(memory->area + at) = 0;
}

void map_device(struct memory *memory)
{
	if (bar.fd < 0)
		open_bar();
	if (memory->area_size > bar.size - bar.used)
		scenario_skip("needs %zu bytes of device memory, %llu of %llu are left",
			      memory->area_size, (unsigned long long)(bar.size - bar.used),
			      (unsigned long long)bar.size);
	memory->area = map_part_at(memory->area, memory->area_size, PROT_READ | PROT_WRITE,
				   MAP_SHARED, bar.fd, bar.used);
	if (!memory->area && errno == EPERM)
		scenario_skip("needs device memory: the kernel is locked down");
	if (!memory->area)
		return;
	bar.used += memory->area_size;
	zero(memory);
}

void device_end(void)
{
	bar.used = 0;
}
