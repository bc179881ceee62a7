/* schedstate.c - see schedstate.h.
 *
 * Names and order are Go's where it has the same thing; what there is no such thing of here (gcwaiting, locks,
 * mallocing ...) is left out.  Statuses are Go's numbers: a P 0 idle, 1 running, 4 dead (here: retired); a G 1
 * runnable, 2 running, 3 in a system call (here also: running without a P), 4 waiting. */
#include "schedstate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- One look ------------------------------------------------------------------------------------- */

/* Between counting and reading more may come; room for a few, and the count read last holds. */
static int read_ms(struct sched_state *st)
{
	size_t cap = weft_read_sched_ms(NULL, 0) + 16, n;

	st->m = calloc(cap, sizeof *st->m);
	if (!st->m)
		return -ENOMEM;
	n = weft_read_sched_ms(st->m, cap);
	st->n_m = n < cap ? n : cap;
	return 0;
}

static int read_gs(struct sched_state *st)
{
	st->g = calloc(SCHED_GS_MAX, sizeof *st->g);
	if (!st->g)
		return -ENOMEM;
	st->all_g = weft_read_sched_gs(st->g, SCHED_GS_MAX);
	st->n_g = st->all_g < SCHED_GS_MAX ? st->all_g : SCHED_GS_MAX;
	return 0;
}

int sched_state_read(struct sched_state *st, bool detail)
{
	int rc = 0;

	memset(st, 0, sizeof *st);
	weft_read_sched(&st->s);
	if (detail)
		rc = read_ms(st);
	if (detail && rc == 0)
		rc = read_gs(st);
	if (rc < 0)
		sched_state_free(st);
	return rc;
}

void sched_state_free(struct sched_state *st)
{
	free(st->m);
	free(st->g);
	st->m = NULL;
	st->g = NULL;
}

/* --- Text --------------------------------------------------------------------------------------------- */

static int p_status(enum weft_p_status status)
{
	return status == WEFT_P_IDLE ? 0 : status == WEFT_P_RUNNING ? 1 : 4;
}

static int g_status(enum weft_g_status status)
{
	switch (status) {
	case WEFT_G_RUNNABLE:
		return 1;
	case WEFT_G_RUNNING:
		return 2;
	case WEFT_G_WAITING:
		return 4;
	case WEFT_G_DEAD:
		return 6;
	default:
		return 3;
	}
}

/* "nil" for what there is none of. */
static void number(struct buf *out, const char *name, long long n)
{
	if (n < 0)
		buf_fmt(out, " %s=nil", name);
	else
		buf_fmt(out, " %s=%lld", name, n);
}

static void head(struct buf *out, const struct weft_sched *s, bool detail)
{
	buf_fmt(out,
		"SCHED %lldms: gomaxprocs=%d idleprocs=%d threads=%d spinningthreads=%d needspinning=%d idlethreads=%d "
		"runqueue=%llu",
		(long long)(s->uptime / 1000000), s->maxprocs, s->idle_procs, s->threads, s->spinning, s->need_spinning,
		s->idle_threads, (unsigned long long)s->runq);
	for (int i = 0; !detail && i < s->n; i++)
		buf_fmt(out, "%s%u", i ? " " : " [", s->p[i].runq);
	buf_str(out, !detail && s->n ? "]\n" : "\n");
}

void sched_text(struct buf *out, const struct sched_state *st, bool detail)
{
	head(out, &st->s, detail);
	if (!detail)
		return;
	for (int i = 0; i < st->s.n; i++) {
		const struct weft_sched_p *p = &st->s.p[i];

		buf_fmt(out, "  P%d: status=%d schedtick=%llu", i, p_status(p->status), (unsigned long long)p->tick);
		number(out, "m", p->m);
		buf_fmt(out, " runqsize=%u gfreecnt=%u timerslen=%u\n", p->runq, p->gfree, p->timers);
	}
	for (size_t i = 0; i < st->n_m; i++) {
		const struct weft_sched_m *m = &st->m[i];

		buf_fmt(out, "  M%d:", m->id);
		number(out, "p", m->p);
		number(out, "curg", m->goid ? (long long)m->goid : -1);
		buf_fmt(out, " spinning=%s blocked=%s tid=%d\n", m->spinning ? "true" : "false",
			m->blocked ? "true" : "false", m->tid);
	}
	for (size_t i = 0; i < st->n_g; i++) {
		const struct weft_sched_g *g = &st->g[i];

		buf_fmt(out, "  G%llu: status=%d(%s)", (unsigned long long)g->id, g_status(g->status),
			g->status == WEFT_G_WAITING ? weft_read_reason(g->reason) : "");
		number(out, "m", g->m);
		buf_str(out, "\n");
	}
	if (st->all_g > st->n_g)
		buf_fmt(out, "  ... and %zu more goroutines\n", st->all_g - st->n_g);
}

/* --- JSON ----------------------------------------------------------------------------------------------- */

static const char *g_word(enum weft_g_status status)
{
	static const char *const words[] = {
		[WEFT_G_DEAD] = "dead",
		[WEFT_G_RUNNABLE] = "runnable",
		[WEFT_G_RUNNING] = "running",
		[WEFT_G_WAITING] = "waiting",
		[WEFT_G_DETACHED] = "running without a P",
	};

	return (size_t)status < sizeof words / sizeof *words && words[status] ? words[status] : "syscall";
}

/* "null" for what there is none of. */
static void json_number(struct buf *out, const char *name, long long n)
{
	if (n < 0)
		buf_fmt(out, ",\"%s\":null", name);
	else
		buf_fmt(out, ",\"%s\":%lld", name, n);
}

static const char *truth(bool b)
{
	return b ? "true" : "false";
}

static void json_ps(struct buf *out, const struct weft_sched *s)
{
	static const char *const words[] = { "idle", "running", "retired" };

	for (int i = 0; i < s->n; i++) {
		const struct weft_sched_p *p = &s->p[i];

		buf_fmt(out, "%s\n{\"id\":%d,\"status\":\"%s\",\"schedtick\":%llu", i ? "," : "", i, words[p->status],
			(unsigned long long)p->tick);
		json_number(out, "m", p->m);
		buf_fmt(out, ",\"runqsize\":%u,\"gfreecnt\":%u,\"timerslen\":%u}", p->runq, p->gfree, p->timers);
	}
}

static void json_ms(struct buf *out, const struct sched_state *st)
{
	for (size_t i = 0; i < st->n_m; i++) {
		const struct weft_sched_m *m = &st->m[i];

		buf_fmt(out, "%s\n{\"id\":%d,\"tid\":%d", i ? "," : "", m->id, m->tid);
		json_number(out, "p", m->p);
		json_number(out, "curg", m->goid ? (long long)m->goid : -1);
		buf_fmt(out, ",\"spinning\":%s,\"blocked\":%s}", truth(m->spinning), truth(m->blocked));
	}
}

static void json_gs(struct buf *out, const struct sched_state *st)
{
	for (size_t i = 0; i < st->n_g; i++) {
		const struct weft_sched_g *g = &st->g[i];

		buf_fmt(out, "%s\n{\"id\":%llu,\"status\":\"%s\"", i ? "," : "", (unsigned long long)g->id,
			g_word(g->status));
		if (g->status == WEFT_G_WAITING)
			buf_fmt(out, ",\"reason\":\"%s\"", weft_read_reason(g->reason)); /* plain words */
		json_number(out, "m", g->m);
		buf_str(out, "}");
	}
}

void sched_json(struct buf *out, const struct sched_state *st)
{
	const struct weft_sched *s = &st->s;

	buf_fmt(out,
		"{\"uptime_ms\":%lld,\"gomaxprocs\":%d,\"idleprocs\":%d,\"threads\":%d,\"spinningthreads\":%d,"
		"\"needspinning\":%s,\"idlethreads\":%d,\"runqueue\":%llu,\"goroutines\":%zu,\n\"ps\":[",
		(long long)(s->uptime / 1000000), s->maxprocs, s->idle_procs, s->threads, s->spinning,
		truth(s->need_spinning), s->idle_threads, (unsigned long long)s->runq, st->all_g);
	json_ps(out, s);
	buf_str(out, "],\n\"ms\":[");
	json_ms(out, st);
	buf_str(out, "],\n\"gs\":[");
	json_gs(out, st);
	buf_str(out, "]}\n");
}
