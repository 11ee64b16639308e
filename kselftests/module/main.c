// SPDX-License-Identifier: GPL-2.0-only
/*
 * Runs programs of stage-2 page-table operations inside the kernel, on private
 * tables that no CPU ever uses. One device node, root only, one ioctl.
 */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/wait.h>

#include "hx.h"

/* For running VMs alone: no function of the kernel's has a probe then. */
static bool live_only;
module_param(live_only, bool, 0400);

/* Held while a step runs: there is one table. */
static DEFINE_MUTEX(lock);
/* The open file whose program runs or stands; others wait. */
static struct file *owner;
static DECLARE_WAIT_QUEUE_HEAD(free_again);

static int acquire(struct file *file)
{
	for (;;) {
		if (mutex_lock_interruptible(&lock))
			return -EINTR;
		if (!owner || owner == file)
			break;
		mutex_unlock(&lock);
		if (wait_event_interruptible(free_again, !READ_ONCE(owner)))
			return -EINTR;
	}
	WRITE_ONCE(owner, file);
	return 0;
}

static void release(void)
{
	if (!hx_session_stands())
		WRITE_ONCE(owner, NULL);
	mutex_unlock(&lock);
	wake_up_interruptible(&free_again);
}

static long ioctl_run(struct file *file, void __user *arg)
{
	struct hx_run *run;
	int error;

	run = memdup_user(arg, sizeof(*run));
	if (IS_ERR(run))
		return PTR_ERR(run);
	run->leaked = 0;
	run->verdict = 0;
	run->nanoseconds = 0;
	run->api_nanoseconds = 0;
	memset(run->message, 0, sizeof(run->message));
	error = acquire(file);
	if (!error) {
		error = hx_session_run(run);
		release();
	}
	if (copy_to_user(arg, run, sizeof(*run)))
		error = -EFAULT;
	kfree(run);
	return error;
}

static int device_release(struct inode *inode, struct file *file)
{
	mutex_lock(&lock);
	if (owner == file) {
		hx_session_end();
		release();
	} else {
		mutex_unlock(&lock);
	}
	return 0;
}

static long device_ioctl(struct file *file, unsigned int command, unsigned long arg)
{
	void __user *user = (void __user *)arg;

	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	switch (command) {
	case HX_IOCTL_INFO:
		return copy_to_user(user, &hx.info, sizeof(hx.info)) ? -EFAULT : 0;
	case HX_IOCTL_RUN:
		if (live_only)
			return -ENOTTY;
		return ioctl_run(file, user);
	case HX_IOCTL_LIVE:
		return hx_live_leaves(user);
	case HX_IOCTL_AGE:
		return hx_live_age(user);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations device_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= device_ioctl,
	.release	= device_release,
};

static struct miscdevice device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= HX_DEVICE,
	.fops	= &device_fops,
	.mode	= 0600,
};

static void undo(void)
{
	if (!live_only)
		hx_divert_exit();
	hx_tables_exit();
	hx_host_exit();
}

static int __init hx_init(void)
{
	int error = hx_host_init();

	if (!error)
		error = hx_tables_init();
	if (!error && !live_only)
		error = hx_divert_init();
	if (!error)
		error = misc_register(&device);
	if (error)
		undo();
	return error;
}

static void __exit hx_exit(void)
{
	misc_deregister(&device);
	undo();
}

module_init(hx_init);
module_exit(hx_exit);

MODULE_DESCRIPTION("Programs of KVM/arm64 stage-2 page-table operations on a private table");
MODULE_LICENSE("GPL v2");
