/* cgroup.h - what the control groups of this process allow (cgroup.c). */
#ifndef WEFT_RT_CGROUP_H
#define WEFT_RT_CGROUP_H

#include <stddef.h>
#include <stdint.h>

#define RT_CGROUP_PATH 512

struct rt_cgroup_limit {
	int64_t quota, period;   /* CPU time per period, any unit; quota 0: no limit */
	uint64_t memory;         /* bytes; 0: no limit */
	char by[RT_CGROUP_PATH]; /* the directory that sets it; "" */
};

/* The tightest CPU limit, and the tightest memory limit, over the group of the process and every ancestor
 * that can be seen.  proc: "/proc"; sysroot: "" or a prefix of every mount point (tests).  Reads about ten
 * small files (60 us); uses no libc state.  One caller at a time.  What cannot be read or understood is no
 * limit. */
void rt_cgroup_cpu(const char *proc, const char *sysroot, struct rt_cgroup_limit *out);
void rt_cgroup_memory(const char *proc, const char *sysroot, struct rt_cgroup_limit *out);

#endif
