/* instance.c - one configured instance, from its plugin's file to its last goroutine.
 *
 *	NEW -> LOADING -> INIT -> RUNNING -> STOPPING -> ENDING -> FINI -> GONE
 *	                    \________________________/^
 *	                      refused, or stopped before it ran
 *
 * Phases change on the main thread only.  Every callback of a plugin runs on a goroutine of the
 * instance, which leaves the result in in->rc and posts to the loop; it touches nothing else here.  A
 * callback that never returns therefore never posts, and the phase stays: the limits in lifecycle.c go
 * on from there.
 *
 * ENDING: the context is ended (on the pool), then goroutines are counted until none is left.  What a
 * callback may still use (state, configuration) is freed after that, or never.  FINI: likewise until fini's goroutine
 * is gone; then what the instance made and did not free is freed (on the pool). */
#include "daemon.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATE_ALIGN 64 /* a plugin may have cache line aligned members */

static void set_phase(struct instance *in, enum instance_phase phase)
{
	atomic_store(&in->phase, phase);
}

static const struct weft_plugin *entry(const struct instance *in)
{
	return &in->load.plugin->entry;
}

/* Start one of the goroutines below, which calls back: a function of the plugin's, by which it is known; and ends in
 * post(). */
static int call(struct instance *in, weft_fn fn, void *callback)
{
	int rc = weft_inst_call(in->inst, fn, in, (weft_fn)callback);

	if (rc == 0)
		in->calls++;
	return rc;
}

/* goroutine: the last thing a callback's goroutine does */
static void post(struct instance *in, void (*fn)(void *arg))
{
	in->d->hl->post(in->d->hl->user, fn, in);
}

/* No goroutine is left, nor the news of one on its way here: that could be that fini is due. */
static bool is_empty(const struct instance *in)
{
	return in->calls == 0 && weft_inst_live(in->inst) == 0;
}

static void gone(struct instance *in)
{
	free(in->state);
	in->state = NULL;
	set_phase(in, INSTANCE_GONE);
	weftd_gone(in->d, in);
}

/* --- The end -------------------------------------------------------------------------------------- */

/* pool */
static void free_work(void *arg)
{
	struct instance *in = arg;

	in->rc = weft_inst_free(in->inst);
}

static void free_done(void *arg)
{
	struct instance *in = arg;

	in->freeing = false;
	if (in->rc < 0)
		weftd_watch(in->d); /* a timer has started a goroutine at the last moment */
	else
		gone(in);
}

static void free_rest(struct instance *in)
{
	const struct http_loop *hl = in->d->hl;

	in->freeing = true;
	if (hl->offload(hl->user, 0, free_work, free_done, in) < 0) {
		free_work(in);
		free_done(in);
	}
}

static void fini_returned(void *arg)
{
	struct instance *in = arg;

	in->calls--;
	instance_poll(in);
	weftd_watch(in->d);
}

/* goroutine */
static void instance_fini(void *arg)
{
	struct instance *in = arg;

	entry(in)->fini(in->state);
	post(in, fini_returned);
}

static void call_fini(struct instance *in)
{
	int rc = 0;

	set_phase(in, INSTANCE_FINI);
	if (in->inited && entry(in)->fini) {
		rc = call(in, instance_fini, (void *)entry(in)->fini);
		if (rc == 0)
			return;
		log_warn("instance \"%s\": fini is left out, no goroutine can be started: %s", in->conf->name,
			 weft_strerror(rc));
	}
	free_rest(in);
}

/* pool */
static void cancel_work(void *arg)
{
	struct instance *in = arg;

	weft_inst_cancel(in->inst);
}

static void cancel_done(void *arg)
{
	struct instance *in = arg;

	in->cancelled = true;
	instance_poll(in);
	weftd_watch(in->d);
}

static void end_context(struct instance *in)
{
	const struct http_loop *hl = in->d->hl;

	set_phase(in, INSTANCE_ENDING);
	if (hl->offload(hl->user, 0, cancel_work, cancel_done, in) < 0) {
		cancel_work(in); /* no memory for a task: better slowly than never */
		cancel_done(in);
	}
}

static void stop_returned(void *arg)
{
	struct instance *in = arg;

	in->calls--;
	if (in->phase == INSTANCE_STOPPING)
		end_context(in);
}

/* goroutine */
static void instance_stop_callback(void *arg)
{
	struct instance *in = arg;

	entry(in)->stop(in->state);
	post(in, stop_returned);
}

void instance_stop(struct instance *in)
{
	enum instance_phase phase = in->phase;
	int rc;

	switch (phase) {
	case INSTANCE_NEW:
	case INSTANCE_LOADING: /* its load never calls back into a phase that is over */
		gone(in);
		return;
	case INSTANCE_INIT:
		end_context(in);
		return;
	case INSTANCE_RUNNING:
		break;
	default:
		return; /* already on its way */
	}
	if (!entry(in)->stop) {
		end_context(in);
		return;
	}
	set_phase(in, INSTANCE_STOPPING);
	rc = call(in, instance_stop_callback, (void *)entry(in)->stop);
	if (rc < 0) {
		log_warn("instance \"%s\": stop is left out, no goroutine can be started: %s", in->conf->name,
			 weft_strerror(rc));
		end_context(in);
	}
}

void instance_hurry(struct instance *in)
{
	if (in->phase != INSTANCE_STOPPING)
		return;
	log_warn("instance \"%s\": stop has not returned; its context ends now", in->conf->name);
	end_context(in);
}

void instance_poll(struct instance *in)
{
	if (in->phase == INSTANCE_RUNNING && in->ran && is_empty(in)) {
		log_info("instance \"%s\": its last goroutine has returned", in->conf->name);
		end_context(in);
	} else if (in->phase == INSTANCE_ENDING && in->cancelled && is_empty(in)) {
		call_fini(in);
	} else if (in->phase == INSTANCE_FINI && !in->freeing && is_empty(in)) {
		free_rest(in);
	}
}

/* --- The beginning ------------------------------------------------------------------------------------ */

static void refuse(struct instance *in, const char *why)
{
	in->refused = true;
	if (in->phase == INSTANCE_INIT)
		end_context(in);
	else
		gone(in);
	weftd_refuse(in->d, "%s:%d: instance \"%s\": %s; weftd does not run without it", in->d->conf_file,
		     in->conf->line, in->conf->name, why);
}

static void run_returned(void *arg)
{
	struct instance *in = arg;

	in->calls--;
	in->ran = true;
	if (in->rc < 0 && in->phase == INSTANCE_RUNNING) {
		log_error("instance \"%s\": run failed: %s; the instance is stopped", in->conf->name,
			  weft_strerror(in->rc));
		instance_stop(in);
	}
	weftd_watch(in->d);
}

/* goroutine */
static void instance_run(void *arg)
{
	struct instance *in = arg;

	in->rc = entry(in)->run(in->state);
	post(in, run_returned);
}

static void warn_unused(void *user, const char *path)
{
	struct instance *in = user;

	log_warn("%s:%d: %s: plugin %s does not know this key", in->d->conf_file, in->conf->line, path,
		 in->conf->plugin);
}

/* init has succeeded, or there is none. */
static void begin_run(struct instance *in)
{
	char why[128];
	int rc;

	in->inited = true;
	conf_unused(in->conf->config, warn_unused, in);
	rc = call(in, instance_run, (void *)entry(in)->run);
	if (rc < 0) {
		snprintf(why, sizeof why, "no goroutine for run: %s", weft_strerror(rc));
		refuse(in, why);
		return;
	}
	set_phase(in, INSTANCE_RUNNING);
	weftd_started(in->d, in);
}

static void init_returned(void *arg)
{
	struct instance *in = arg;
	char why[128];

	in->calls--;
	if (in->phase != INSTANCE_INIT) {
		in->inited = in->rc >= 0; /* stopped or refused meanwhile; fini is due all the same */
	} else if (in->rc < 0) {
		snprintf(why, sizeof why, "init failed: %s", weft_strerror(in->rc));
		refuse(in, why);
	} else {
		begin_run(in);
	}
}

/* goroutine */
static void instance_init(void *arg)
{
	struct instance *in = arg;
	struct inittrace_mark began = inittrace_begin();

	/* weft_conf is a struct conf_node by another name: plugin_conf.c */
	in->rc = entry(in)->init(in->state, (const weft_conf *)in->conf->config);
	inittrace_end(began, in->conf->name, in->conf->plugin);
	post(in, init_returned);
}

/* Words of the configuration: instances[].stack, or runtime.stack. */
static size_t stack_size(const struct instance *in)
{
	const char *word = in->conf->stack ? in->conf->stack : in->d->conf->runtime.stack;

	return !strcmp(word, "1MiB") ? 1 << 20 : !strcmp(word, "256KiB") ? 256 << 10 : 64 << 10;
}

/* State memory and the instance itself. */
static int prepare(struct instance *in)
{
	size_t size = entry(in)->state_size;

	if (size > SIZE_MAX / 2)
		return -ENOMEM;
	size = (size + STATE_ALIGN) & ~(size_t)(STATE_ALIGN - 1); /* never 0 */
	in->state = aligned_alloc(STATE_ALIGN, size);
	if (!in->state)
		return -ENOMEM;
	memset(in->state, 0, size);
	in->inst = weft_inst_new(in->conf->name);
	if (!in->inst)
		return -ENOMEM;
	weft_inst_plugin(in->inst, entry(in)->name);
	if (in->conf->preempt)
		weft_inst_preempt(in->inst,
				  !strcmp(in->conf->preempt, "signal") ? WEFT_PREEMPT_SIGNAL : WEFT_PREEMPT_HANDOFF);
	return weft_inst_stack(in->inst, stack_size(in));
}

static void loaded(void *arg)
{
	struct instance *in = arg;
	char why[sizeof in->load.err + 16];
	int rc = in->load.rc;

	if (in->phase != INSTANCE_LOADING)
		return; /* given up meanwhile */
	if (rc < 0) {
		snprintf(why, sizeof why, "plugin %s", in->load.err);
		refuse(in, why);
		return;
	}
	rc = prepare(in);
	if (rc == 0) {
		set_phase(in, INSTANCE_INIT);
		weftd_limit(in->d);
		if (entry(in)->init)
			rc = call(in, instance_init, (void *)entry(in)->init);
		else
			begin_run(in);
	}
	if (rc < 0) {
		snprintf(why, sizeof why, "can't be created: %s", weft_strerror(rc));
		refuse(in, why);
	}
}

void instance_start(struct instance *in)
{
	set_phase(in, INSTANCE_LOADING);
	weftd_limit(in->d);
	in->load = (struct load){
		.path = in->path,
		.require_probes = in->d->conf->plugins.require_probes,
		.done = loaded,
		.arg = in,
	};
	loader_load(&in->load);
}

void instance_overdue(struct instance *in, int64_t limit)
{
	char why[PATH_MAX + 160];
	double seconds = (double)limit / WEFT_SEC;

	if (in->phase == INSTANCE_INIT)
		snprintf(why, sizeof why, "init of plugin %s did not return within %g s (runtime.init_timeout)",
			 in->path, seconds);
	else if (atomic_load(&in->load.stage) == LOADER_OPENING)
		snprintf(why, sizeof why,
			 "plugin %s: a constructor of it did not return within %g s (runtime.init_timeout)", in->path,
			 seconds);
	else
		snprintf(why, sizeof why, "plugin %s: it could not be read within %g s (runtime.init_timeout)",
			 in->path, seconds);
	refuse(in, why);
}

void instance_describe(const struct instance *in, char *out, size_t cap)
{
	static const char *const what[] = {
		[INSTANCE_NEW] = "not started yet",
		[INSTANCE_LOADING] = "its plugin is being loaded",
		[INSTANCE_INIT] = "init has not returned",
		[INSTANCE_RUNNING] = "running",
		[INSTANCE_STOPPING] = "stop has not returned",
		[INSTANCE_ENDING] = "goroutines have not ended",
		[INSTANCE_FINI] = "fini has not returned",
		[INSTANCE_GONE] = "gone",
	};

	snprintf(out, cap, "instance \"%s\": %s", in->conf->name, what[atomic_load(&in->phase)]);
}
