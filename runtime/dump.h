/* dump.h - all goroutines as text, by code that may run in a signal handler. */
#ifndef WEFT_RT_DUMP_H
#define WEFT_RT_DUMP_H

#include "capture.h"
#include "out.h"
#include "rt.h"

#define RT_DUMP_GROUPS 4096  /* distinct stacks that are counted apart */
#define RT_DUMP_RUNNING 1024 /* running goroutines that are remembered as printed */
#define RT_DUMP_FRAMES 48    /* of a grouped stack that are kept */
#define RT_DUMP_DEEP 4096    /* of the stack that is the cause */

/* The stack that the dump begins with: the faulting code or the caller. */
struct rt_dump_first {
	const struct g *g; /* its goroutine; NULL: a thread that runs none */
	int tid;
	const char *thread; /* its name, where g is NULL */
	int depth;
	unsigned flags;
	uint64_t pc[RT_DUMP_DEEP];
};

struct rt_dump_group {
	uint64_t hash; /* 0: unused */
	uint64_t count, id;
	int64_t since; /* the longest */
	uint64_t start;
	uint32_t created, instance;
	uint64_t parent;
	const char *name;
	int status, reason, depth;
	unsigned flags;
	uint64_t pc[RT_DUMP_FRAMES];
};

/* Too large for a stack: static for crashes, mapped for others. */
struct rt_dump {
	struct rt_out out;
	int64_t now;
	uint64_t printed, limit; /* goroutines in full */
	uint64_t grouped, lost;  /* lost: neither fitted a group */
	uint32_t n_seen;
	uint64_t seen[RT_DUMP_RUNNING]; /* ids of the running ones */
	struct weft_goroutine g;        /* the one at hand */
	struct rt_captured answer;      /* of the one at hand */
	int64_t asking;                 /* ns that may still be spent waiting for answers */
	uint64_t labels;
	uint64_t created[WEFT_STACK_MAX];
	char name[256];
	struct rt_dump_group group[RT_DUMP_GROUPS];
};

/* d->out has been begun.  first may be NULL.  sig */
void rt_dump_goroutines(struct rt_dump *d, const struct rt_dump_first *first);
/* "name+0x1f" of a call address, or the address.  sig */
void rt_dump_name(struct rt_dump *d, uint64_t pc);

#endif
