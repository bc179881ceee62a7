/* gotrace_said.c - what plugins say of themselves: tasks, regions, log lines, labels; and the counter of memory.
 *
 * The format has such events only of goroutines that run.  What one says in a system call is said once it is back, what
 * a thread says that is no goroutine by the next that runs.  Regions of a goroutine lie in one another in the trace
 * whatever was lost: a depth tells which are still open. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gotrace_impl.h"

#define LABELS_TEXT 512

static struct gt_said *said_new(struct gotrace *t)
{
	struct gt_said *s = t->free_said;

	if (s)
		t->free_said = s->next;
	else
		s = arena_alloc(&t->arena, sizeof *s);
	if (!s)
		t->failed = 1;
	return s;
}

static void said_free(struct gotrace *t, struct gt_said *s)
{
	s->next = t->free_said;
	t->free_said = s;
}

static void drop_all(struct gotrace *t, struct gt_said **list)
{
	while (*list) {
		struct gt_said *s = *list;

		*list = s->next;
		said_free(t, s);
	}
}

void gt_said_forget(struct gotrace *t, struct gt_g *g)
{
	drop_all(t, &g->said);
	drop_all(t, &g->regions);
}

/* --- Regions ------------------------------------------------------------------------------------------ */

static void end_region(struct gotrace *t, struct gt_m *m, uint32_t stack)
{
	struct gt_said *top = m->g->regions;

	GT_EVENT(t, m, GT_EV_USER_REGION_END, top->task, top->name, gt_stack_id(t, stack));
	m->g->regions = top->next;
	said_free(t, top);
}

static void region_begin(struct gotrace *t, struct gt_m *m, const struct gt_said *s)
{
	struct gt_said *region;

	while (m->g->regions && m->g->regions->flags >= s->flags)
		end_region(t, m, 0);
	region = said_new(t);
	if (!region)
		return;
	*region = *s;
	region->next = m->g->regions;
	m->g->regions = region;
	GT_EVENT(t, m, GT_EV_USER_REGION_BEGIN, s->task, s->name, gt_stack_id(t, s->stack));
}

static void region_end(struct gotrace *t, struct gt_m *m, const struct gt_said *s)
{
	while (m->g->regions && m->g->regions->flags > s->flags)
		end_region(t, m, 0);
	if (!m->g->regions)
		GT_EVENT(t, m, GT_EV_USER_REGION_END, s->task, s->name, gt_stack_id(t, s->stack));
	else if (m->g->regions->flags == s->flags)
		end_region(t, m, s->stack);
}

/* --- Saying it ------------------------------------------------------------------------------------------ */

/* By the goroutine that m runs. */
static void say(struct gotrace *t, struct gt_m *m, const struct gt_said *s)
{
	uint64_t stack = gt_stack_id(t, s->stack);

	switch (s->event) {
	case WEFT_EV_LABELS:
		GT_EVENT(t, m, GT_EV_GO_LABEL, s->text);
		break;
	case WEFT_EV_TASK_BEGIN:
		GT_EVENT(t, m, GT_EV_USER_TASK_BEGIN, s->task, s->parent, s->name, stack);
		break;
	case WEFT_EV_TASK_END:
		GT_EVENT(t, m, GT_EV_USER_TASK_END, s->task, stack);
		break;
	case WEFT_EV_REGION_BEGIN:
		region_begin(t, m, s);
		break;
	case WEFT_EV_REGION_END:
		region_end(t, m, s);
		break;
	default:
		GT_EVENT(t, m, GT_EV_USER_LOG, s->task, s->name, s->text, stack);
	}
}

static void say_all(struct gotrace *t, struct gt_m *m, struct gt_said **list)
{
	while (*list) {
		struct gt_said *s = *list;

		*list = s->next;
		say(t, m, s);
		said_free(t, s);
	}
}

static bool may_say(const struct gt_m *m)
{
	return m && m->g && m->g->wanted && m->g->state == GT_G_RUNNING && m->p && m->p->state == GT_P_RUNNING;
}

void gt_said_flush(struct gotrace *t, struct gt_m *m)
{
	if ((!t->said && (!m->g || !m->g->said)) || !may_say(m))
		return;
	say_all(t, m, &m->g->said);
	say_all(t, m, &t->said);
}

static void put_last(struct gotrace *t, struct gt_said **list, const struct gt_said *s)
{
	struct gt_said *copy = said_new(t);

	if (!copy)
		return;
	*copy = *s;
	copy->next = NULL;
	while (*list)
		list = &(*list)->next;
	*list = copy;
}

/* --- Records ---------------------------------------------------------------------------------------------- */

static uint32_t text_of(struct gotrace *t, const struct weft_rec *r)
{
	char text[WEFT_TRACE_TEXT + 1];

	return weft_rec_text(t->first, r, text, sizeof text) < 0 ? 0 : gt_string(t, text);
}

uint32_t gt_labels(struct gotrace *t, const struct weft_labels *labels)
{
	char text[LABELS_TEXT] = "";
	size_t at = 0;

	for (int i = 0; i < labels->n && at < sizeof text; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%s=%s", i ? ", " : "", labels->l[i].key,
				       labels->l[i].value);
	return gt_string(t, text);
}

void gt_said_labels(struct gotrace *t, struct gt_g *g, uint32_t label)
{
	g->label = label;
	if (g->wanted && label)
		put_last(t, &g->said, &(struct gt_said){ .event = WEFT_EV_LABELS, .text = label });
}

/* As the record has it, or as the set is still known. */
static uint32_t labels_of(struct gotrace *t, const struct weft_rec *r)
{
	struct weft_labels labels;
	bool known;

	if (r->flags)
		return text_of(t, r);
	known = t->opts.labels ? t->opts.labels(t->opts.user, r->subject, r->stack, &labels)
			       : weft_read_labels(r->subject, r->stack, &labels);
	return known ? gt_labels(t, &labels) : 0;
}

static uint32_t name_of(struct gotrace *t, const struct weft_rec *r)
{
	return gt_string(t, t->opts.name ? t->opts.name(t->opts.user, r->seq) : weft_read_trace_name(r->seq));
}

static struct gt_said said_of(struct gotrace *t, const struct gt_m *m, const struct weft_rec *r)
{
	struct gt_said s = { .event = r->event, .flags = r->flags };

	if (r->event == WEFT_EV_LABELS) {
		s.text = labels_of(t, r);
		return s;
	}
	s.task = r->subject;
	s.stack = r->stack;
	s.name = r->event == WEFT_EV_TASK_END ? 0 : name_of(t, r);
	if (r->event == WEFT_EV_TASK_BEGIN && r->flags & 1)
		s.parent = m->parent;
	if (r->event == WEFT_EV_LOG)
		s.text = text_of(t, r);
	return s;
}

bool gt_is_said(const struct weft_rec *r)
{
	switch (r->event) {
	case WEFT_EV_LABELS:
	case WEFT_EV_TASK_BEGIN:
	case WEFT_EV_TASK_END:
	case WEFT_EV_REGION_BEGIN:
	case WEFT_EV_REGION_END:
	case WEFT_EV_LOG:
		return true;
	}
	return false;
}

void gt_said_apply(struct gotrace *t, struct gt_m *m, const struct weft_rec *r)
{
	struct gt_g *g = r->gid ? gt_g_find(t, r->gid) : NULL;
	struct gt_said s;

	if (r->event == WEFT_EV_TASK_PARENT) {
		m->parent = r->subject;
		return;
	}
	if (r->event == WEFT_EV_HEAP && m->p && m->p->state == GT_P_RUNNING)
		GT_EVENT(t, m, GT_EV_HEAP_ALLOC, r->subject);
	if (!gt_is_said(r) || (r->gid && (!g || !g->wanted)))
		return;
	s = said_of(t, m, r);
	if (g && r->event == WEFT_EV_LABELS)
		g->label = s.text;
	if (!g)
		put_last(t, &t->said, &s);
	else if (may_say(g->m) && !g->said)
		say(t, g->m, &s);
	else if (g->m)
		put_last(t, &g->said, &s);
}

/* --- CPU samples --------------------------------------------------------------------------------------------- */

/* Samples come up to half a second late, so most goroutines that live shorter have ended by then. */
void gt_samples_gone(struct gotrace *t, const struct gt_g *g)
{
	if (!t->opts.passes || !g->wanted)
		return;
	if (!t->gone)
		t->gone = calloc(GT_GONE, sizeof *t->gone);
	if (t->gone)
		t->gone[g->id % GT_GONE] = g->id;
	else
		t->failed = 1;
}

static bool sample_wanted(const struct gotrace *t, uint64_t id)
{
	const struct gt_g *g;

	if (!t->opts.passes)
		return !t->opts.g || t->opts.g == id;
	g = id ? gt_g_find(t, id) : NULL;
	return g ? g->wanted : id && t->gone && t->gone[id % GT_GONE] == id;
}

void gt_samples_take(struct gotrace *t, const struct weft_rec *r, const struct weft_rec *end)
{
	for (; r < end; r++) {
		if (r->event != WEFT_EV_CPU_SAMPLE || r->at < t->samples_done)
			continue;
		t->samples_done = r->at + 1;
		if (r->time < t->opts.from)
			continue;
		if (array_room(&t->sample, t->n_samples, &t->cap_samples, sizeof *t->sample) < 0) {
			t->failed = 1;
			return;
		}
		t->sampled = true;
		t->sample[t->n_samples++] = (struct gt_sample){ .time = r->time,
								.tid = (int64_t)r->subject,
								.p = r->pid == WEFT_REC_NO_P ? -1 : (int64_t)r->pid,
								.g = r->gid,
								.stack = r->stack };
	}
}

/* The order of samples does not matter. */
void gt_samples_settle(struct gotrace *t, int64_t until)
{
	for (uint32_t i = t->n_settled; i < t->n_samples;) {
		struct gt_sample s = t->sample[i];

		if (s.time > until) {
			i++;
		} else if (sample_wanted(t, s.g)) {
			t->sample[i++] = t->sample[t->n_settled];
			s.stack = gt_stack_sample(t, (uint32_t)s.stack);
			t->sample[t->n_settled++] = s;
		} else {
			t->sample[i] = t->sample[--t->n_samples];
		}
	}
}
