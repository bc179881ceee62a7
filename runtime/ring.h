/* ring.h - the recorder's hot side: one record into the M's chunk (ring.c). */
#ifndef WEFT_RT_RING_H
#define WEFT_RT_RING_H

#include "gmp.h"
#include "rec.h"

extern bool rt_rec_on;
int rt_rec_start(size_t bytes);
bool rt_rec_more(struct m *m); /* a fresh chunk; false: none to be had, event dropped and counted */
void rt_rec_release(struct m *m);
/* By a thread that is no M; p: whom it is about, or NULL. */
void rt_record_foreign(enum rt_event ev, struct p *p, uint64_t subject, uint32_t stack, uint32_t seq);
/* By a goroutine itself, which need not have entered the runtime and is not made to: who writes its records, stamped,
 * until the end. */
struct m *rt_anywhere_begin(bool *inside);
void rt_anywhere_end(struct m *by, bool inside);
/* Text of len bytes as TEXT records, padded with what lies behind it: RT_TEXT_BYTES zeros; how many. */
unsigned rt_record_text(struct m *by, uint64_t gid, const char *text, size_t len);
/* A CPU sample, by the sampler's reader, who ends a batch by rt_samples_end(). */
void rt_record_sample(int64_t time, uint64_t gid, int tid, uint32_t pid, uint32_t stack);
void rt_record_samples_end(void);
/* The pseudo M of all that, for several records in a row: stamped, and the caller's alone until the end. */
struct m *rt_foreign_begin(struct p *p);
void rt_foreign_end(void);
void rt_rec_counters(struct weft_counters *out);
/* For who reads: all chunks, and until when records may be missing there. */
struct rt_chunk *rt_rec_chunks(size_t *n);
uint64_t rt_rec_lost(void);
uint64_t rt_rec_lost_unlocked(void); /* about; sig */
void rt_rec_freeze(void);            /* nothing is written over from now on; sig */
#define RT_CHUNK_RECS 254
struct rt_chunk {
	_Atomic uint64_t generation;  /* odd while being recycled; readers look before and after */
	_Atomic uint64_t first_index; /* of its first record among all of that thread */
	uint64_t counted;             /* of its records, by who counts all; as `producer` */
	_Atomic uint32_t n;           /* records written: release by the producer */
	_Atomic int tid;              /* of the producer */
	/* The pool's list by when they were let go; CHUNK lock */
	struct rt_chunk *older, *newer;
	struct m *producer; /* NULL: nobody writes */
	struct m *owner;    /* whose records these are */
	struct rt_rec rec[RT_CHUNK_RECS];
};
_Static_assert(sizeof(struct rt_chunk) == 8192, "chunks are 8 KiB");
#if defined(RT_ASAN) || defined(RT_TSAN)
/* Tests: one time in so many the thread stops for a while, before or after it writes a record; 0: never. */
extern _Atomic uint32_t rt_rec_stops;
void rt_rec_stop(struct m *m);
#else
static inline void rt_rec_stop(struct m *m)
{
	(void)m;
}
#endif
/* One record, stamped m->tsc.  The caller has set that in this scheduler step. */
static inline void rt_record(struct m *m, enum rt_event ev, unsigned flags, uint64_t gid, uint64_t subject,
			     uint32_t stack, uint32_t seq)
{
	struct p *p = ld(&m->p);
	struct rt_rec *r;

	rt_rec_stop(m);
	if (unlikely(m->rec_at == m->rec_end) && !rt_rec_more(m))
		return;
	r = m->rec_at++;
	st(&r->tsc, m->tsc);
	st(&r->gid_type, gid << 16 | (uint64_t)ev << 8 | (flags & 0xff));
	st(&r->subject_pid, subject << 16 | (p ? p->id : 0xffffu));
	st(&r->stack_seq, (uint64_t)seq << 32 | stack);
	st_rel(&m->chunk->n, (uint32_t)(m->rec_at - m->chunk->rec)); /* pairs with the readers' acquire */
	rt_rec_stop(m);
}

#endif
