// SPDX-License-Identifier: GPL-2.0-only
/* Loading the module, and talking to it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pgtable_module.h"

#define NODE	"/dev/" HX_DEVICE
#define FILE_	HX_DEVICE ".ko"

#define SMALLEST_IPA	32	/* bits, of a VM that any KVM can make */

static int device = -1;
static int vm = -1;
static bool loaded;
static struct hx_info info;
static char reason[256];

static const char *because(const char *what, int error)
{
	snprintf(reason, sizeof(reason), "%s: %s", what, strerror(error));
	return reason;
}

/*
 * The file beside the program; -1 where there is none. It is locked until it is closed: a
 * program that runs beside this one neither removes the module nor loads it meanwhile.
 */
static int open_file(void)
{
	char path[1024];
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof(FILE_) - 1);
	char *slash;
	int file;

	if (length < 0)
		return -1;
	path[length] = 0;
	slash = strrchr(path, '/');
	strcpy(slash ? slash + 1 : path, FILE_);
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file >= 0)
		flock(file, LOCK_EX);
	return file;
}

/* In the words of who has to mend it. */
static const char *load_failure(int error)
{
	switch (error) {
	case EPERM:
	case EACCES:
	case EKEYREJECTED:
		return because(FILE_ " is refused (not root, lockdown, or signatures are wanted)",
			       error);
	case ENOEXEC:
		return because(FILE_ " is not for this kernel", error);
	case EOPNOTSUPP:
		return because(FILE_ " does not run here (protected mode, or no KVM)", error);
	default:
		return because(FILE_ " does not load", error);
	}
}

static const char *load(int file, const char *parameters)
{
	int error = 0;

	/* What an earlier program left loaded may be another build. */
	syscall(SYS_delete_module, HX_DEVICE, O_NONBLOCK);
	if (syscall(SYS_finit_module, file, parameters, 0))
		error = errno;
	/* One that a program beside this one has in use is removed by the last of them. */
	loaded = !error || error == EEXIST;
	return loaded ? NULL : load_failure(error);
}

/*
 * Without VHE a kernel may have KVM at EL2 only while there is a VM, and TLB
 * invalidation that the module does not take over goes there.
 */
static const char *keep_vm(void)
{
	int kvm;

	if (info.host & HX_HOST_VHE || info.channels & HX_CHANNEL_TLBI)
		return NULL;
	kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return because("/dev/kvm", errno);
	vm = ioctl(kvm, KVM_CREATE_VM, KVM_VM_TYPE_ARM_IPA_SIZE(SMALLEST_IPA));
	if (vm < 0)
		because("KVM_CREATE_VM", errno);
	close(kvm);
	return vm < 0 ? reason : NULL;
}

static const char *load_and_open(const char *parameters)
{
	int file = open_file();
	const char *failure = file < 0 ? NULL : load(file, parameters);

	if (!failure)
		device = open(NODE, O_RDWR | O_CLOEXEC);
	if (!failure && device < 0)
		failure = because(errno == ENOENT ? "no module " HX_DEVICE : NODE, errno);
	if (file >= 0)
		close(file);
	return failure;
}

static const char *open_device(const char *parameters)
{
	const char *failure = load_and_open(parameters);

	if (failure)
		return failure;
	if (ioctl(device, HX_IOCTL_INFO, &info))
		return because(NODE, errno);
	if (info.abi != HX_ABI) {
		snprintf(reason, sizeof(reason), "module " HX_DEVICE " has ABI %u, not %u",
			 info.abi, HX_ABI);
		return reason;
	}
	return NULL;
}

const char *module_open(void)
{
	const char *failure = open_device("");

	return failure ? failure : keep_vm();
}

const char *module_open_live(void)
{
	return open_device("live_only=1");
}

static void unload(void)
{
	int file = open_file();

	syscall(SYS_delete_module, HX_DEVICE, O_NONBLOCK);
	if (file >= 0)
		close(file);
}

void module_close(void)
{
	if (vm >= 0)
		close(vm);
	vm = -1;
	if (device >= 0)
		close(device);
	device = -1;
	if (loaded)
		unload();
	loaded = false;
}

const struct hx_info *module_info(void)
{
	return &info;
}

int module_run(struct hx_run *run)
{
	return ioctl(device, HX_IOCTL_RUN, run) ? -errno : 0;
}

int module_ioctl(unsigned long request, void *argument)
{
	return ioctl(device, request, argument) ? -errno : 0;
}
