/* ctx.h - what hangs on a context, and what waits on a queue: the records that gmp.h embeds (ctx.c, chan.c, timer.c).
 */
#ifndef WEFT_RT_CTX_H
#define WEFT_RT_CTX_H

#include "lock.h"

/* What an instance may forget to free (owned.c), embedded in the thing. */
enum rt_owned_kind { RT_OWNED_CHAN, RT_OWNED_TIMER, RT_OWNED_GROUP, RT_OWNED_TASK };
struct rt_owned {
	struct rt_owned *next, **link; /* link NULL: on no list any more */
	struct weft_inst *inst;        /* NULL: nobody's; constant, as are the others */
	uint32_t shard;
	enum rt_owned_kind kind;
};

struct waiter; /* chan.h */
struct queue {
	struct waiter *first, *last;
};

/* What a timer heap can fire other than a goroutine's wait: part of a record that is never freed, only
 * reused for its kind (cell.c).  Changed under its owner's lock; heaps read `armed` without. */
struct rt_alarm {
	_Atomic uint64_t armed; /* number of the entry that counts; 0: none */
	uint64_t last;          /* number given out last; never starts anew */
	/* Called by whoever found the entry due, without locks: takes its lock, looks whether `number` still is
	 * the armed one, and acts.  m: a scheduler's, with a P.  Constant for the cell. */
	void (*fire)(struct m *m, struct rt_alarm *a, uint64_t number, int64_t now);
};

/* A context: the root embedded in an instance, or a cell of ctx.c. */
struct weft_ctx {
	_Atomic uint32_t over;             /* 0, or ECANCELED, ETIMEDOUT: set once */
	uint32_t refs;                     /* the handle, carriers, births, children */
	struct weft_ctx *_Atomic family;   /* whose lock guards this one; NULL: a root, or nobody's */
	struct weft_ctx *next;             /* of a free cell, or of one about to be */
	struct weft_inst *inst;            /* constant for its life, as are deadline and parent */
	int64_t deadline;                  /* the earliest of its own and its ancestors' */
	struct weft_ctx *parent;           /* NULL: a root */
	struct weft_ctx *children, **link; /* link: what points at us in the parent's (or the shard's) list */
	struct weft_ctx *sibling;
	struct g *carriers; /* goroutines that it is the current one of, by ctx_next */
	struct queue done;  /* selects that wait for its end */
	struct ctx_value *values;
	struct rt_alarm alarm; /* of its deadline */
	bool timed;            /* that was set in this life: it counts among the instance's wakers */
	uint32_t shard;        /* of the instance, whose list a family's head is on */
	struct rt_lock lock;   /* of the family, in its head */
};

#endif
