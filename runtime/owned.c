/* owned.c - what an instance has made and did not free: freed with it.
 *
 * Channels, timers, error groups and tasks stand on a list of the P they were made on (shard of the instance, under its
 * lock of rank CTXS), as families of contexts do (ctx.c); so no lock is shared by workers.  Descriptors name their
 * instance in their record (netpoll.c), keys of goroutine-local values in theirs (local.c), profiles too
 * (prof_custom.c).  What a thread makes that is in no instance is nobody's.
 *
 * weft_inst_free() is for an instance that has no goroutine left and that no thread is inside of; what such a thread,
 * or another instance, still waits on is left to it: a channel like that is closed, and its memory lost. */
#include "chan.h"
#include "net.h"
#include "rt.h"

void rt_own(struct rt_owned *o, enum rt_owned_kind kind)
{
	struct m *m = rt_self();
	struct p *p = m ? ld(&m->p) : NULL; /* which list is the best, not more: it may be lost any time */
	struct rt_inst_shard *shard;

	*o = (struct rt_owned){ .inst = weft_instance_self(), .shard = p ? p->id : WEFT_MAXPROCS_LIMIT, .kind = kind };
	if (!o->inst)
		return;
	shard = &o->inst->shard[o->shard];
	rt_lock(&shard->ctx_lock);
	o->link = &shard->owned;
	o->next = shard->owned;
	if (o->next)
		o->next->link = &o->next;
	shard->owned = o;
	rt_unlock(&shard->ctx_lock);
}

/* Under the lock of its shard. */
static void unlink_owned(struct rt_owned *o)
{
	*o->link = o->next;
	if (o->next)
		o->next->link = o->link;
	o->link = NULL;
}

void rt_disown(struct rt_owned *o)
{
	struct rt_lock *lock;

	if (!o->inst)
		return;
	lock = &o->inst->shard[o->shard].ctx_lock;
	rt_lock(lock);
	if (o->link)
		unlink_owned(o);
	rt_unlock(lock);
}

/* Take one off shard i. */
static struct rt_owned *pop(struct weft_inst *inst, uint32_t i)
{
	struct rt_owned *o;

	rt_lock(&inst->shard[i].ctx_lock);
	o = inst->shard[i].owned;
	if (o)
		unlink_owned(o);
	rt_unlock(&inst->shard[i].ctx_lock);
	return o;
}

static void free_owned(struct rt_owned *o)
{
	switch (o->kind) {
	case RT_OWNED_CHAN:
		rt_chan_drop(o);
		break;
	case RT_OWNED_TIMER:
		rt_timer_drop(o);
		break;
	case RT_OWNED_GROUP:
		rt_group_drop(o);
		break;
	case RT_OWNED_TASK:
		rt_task_drop(o);
		break;
	}
}

int weft_inst_free(weft_inst *inst)
{
	struct rt_owned *o;

	if (!weft_inst_cancelled(inst) || weft_inst_live(inst))
		return -EBUSY;
	for (uint32_t i = 0; i <= WEFT_MAXPROCS_LIMIT; i++)
		while ((o = pop(inst, i)))
			free_owned(o);
	if (weft_inst_live(inst))
		return -EBUSY; /* a timer's function was just about to be started */
	rt_fds_free(inst->number);
	rt_ctx_free_all(inst);
	rt_locals_free(inst->number);
	rt_profiles_free(inst->number);
	rt_traces_end(inst->number);
	rt_inst_retire(inst);
	return 0;
}
