/* loader.c - the one thread that calls dl*, and its deputy.
 *
 * A constructor that never returns holds the dynamic linker's lock for ever, and with it everybody who
 * calls dl* next.  So nobody else does: they read the module and symbol tables that this thread
 * publishes after each plugin.
 *
 * Such a constructor is seen as a goroutine (weft_host_as_goroutine()).  It shall have a name, too, so the tables must
 * be published while it runs. That is the deputy's only work: when opening a plugin takes long it scans once.
 * dl_iterate_phdr() takes a lock that dlopen() does not hold while constructors run; with a C library where that is
 * different the deputy hangs together with the loader, and nobody waits for it.
 *
 * Objects are known by build-id: several instances of one plugin, or the same build under two paths,
 * share one mapping. */
#include "daemon.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "probe_scan.h"
#include "symbols.h"

#define OPENS_LONG (100 * WEFT_MS)

static struct {
	pthread_mutex_t lock; /* held for a few instructions only: main takes it too */
	pthread_cond_t more;
	pthread_cond_t change; /* of opening */
	/* under lock */
	struct load *first, **last;
	uint64_t opening, opened; /* how many dlopen() have begun, have come back */
	/* the thread's own */
	struct plugin *plugins;
	/* constant */
	const struct http_loop *hl;
} loader = { .lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER, .change = PTHREAD_COND_INITIALIZER };

/* Held over a scan: only the loader and its deputy ever wait for it. */
static pthread_mutex_t tables = PTHREAD_MUTEX_INITIALIZER;

/* Without tables a plugin would run just as well, only unseen; the old ones stay in force. */
static void publish(const char *path)
{
	int rc;

	pthread_mutex_lock(&tables);
	rc = weft_host_scan_modules();
	if (rc == 0)
		rc = symbols_update();
	pthread_mutex_unlock(&tables);
	if (rc < 0)
		log_warn("%s: its functions appear without names, its tables can't be built: %s", path,
			 weft_strerror(rc));
}

static void mark_opening(bool begins)
{
	pthread_mutex_lock(&loader.lock);
	if (begins)
		loader.opening++;
	else
		loader.opened = loader.opening;
	pthread_cond_signal(&loader.change);
	pthread_mutex_unlock(&loader.lock);
}

static void *deputy_main(void *unused)
{
	(void)unused;
	pthread_setname_np(pthread_self(), "weft-deputy");
	weft_host_thread("weft-deputy");
	pthread_mutex_lock(&loader.lock);
	for (;;) {
		int64_t until;
		uint64_t nr;

		while (loader.opening == loader.opened)
			pthread_cond_wait(&loader.change, &loader.lock);
		nr = loader.opening;
		until = now_ns() + OPENS_LONG;
		while (loader.opened < nr && now_ns() < until)
			pthread_cond_clockwait(
				&loader.change, &loader.lock, CLOCK_MONOTONIC,
				&(struct timespec){ .tv_sec = until / WEFT_SEC, .tv_nsec = until % WEFT_SEC });
		if (loader.opened < nr) {
			pthread_mutex_unlock(&loader.lock);
			publish("a plugin that is still being opened");
			pthread_mutex_lock(&loader.lock);
		}
		while (loader.opened < nr)
			pthread_cond_wait(&loader.change, &loader.lock);
	}
	return NULL;
}

static const struct plugin *find_build(const struct plugin_file *f)
{
	for (const struct plugin *p = loader.plugins; p; p = p->next)
		if (p->file.build_id_len == f->build_id_len && !memcmp(p->file.build_id, f->build_id, f->build_id_len))
			return p;
	return NULL;
}

struct opening {
	struct load *l;
	const struct plugin_file *file;
	struct plugin *p;
	int rc;
};

/* The plugin's constructors run here, so it shall be seen among the goroutines. */
static void open_plugin(void *arg)
{
	struct opening *o = arg;
	struct inittrace_mark began = inittrace_begin();

	o->rc = plugin_open(o->l->path, o->file, &o->p, o->l->err, sizeof o->l->err);
	inittrace_end(began, NULL, o->l->path);
}

static int load_one(struct load *l)
{
	struct plugin_file file;
	struct opening o = { .l = l, .file = &file };
	int rc;

	atomic_store(&l->stage, LOADER_READING);
	rc = plugin_examine(l->path, &file, l->err, sizeof l->err);
	if (rc < 0)
		return rc;
	l->plugin = find_build(&file);
	if (l->plugin)
		return 0;
	rc = probe_check(l->path, l->require_probes, l->err, sizeof l->err);
	if (rc < 0)
		return rc;
	atomic_store(&l->stage, LOADER_OPENING);
	mark_opening(true);
	weft_host_as_goroutine(open_plugin, &o);
	mark_opening(false);
	atomic_store(&l->stage, LOADER_TABLES);
	publish(l->path); /* also when it was refused: it may be gone again, and the deputy have seen it */
	if (o.rc < 0)
		return o.rc;
	o.p->next = loader.plugins;
	loader.plugins = o.p;
	l->plugin = o.p;
	return 0;
}

static void *loader_main(void *unused)
{
	(void)unused;
	pthread_setname_np(pthread_self(), "weft-loader");
	weft_host_thread("weft-loader");
	publish("weftd");
	for (;;) {
		struct load *l;

		pthread_mutex_lock(&loader.lock);
		while (!loader.first)
			pthread_cond_wait(&loader.more, &loader.lock);
		l = loader.first;
		loader.first = l->next;
		if (!loader.first)
			loader.last = &loader.first;
		pthread_mutex_unlock(&loader.lock);
		l->rc = load_one(l);
		loader.hl->post(loader.hl->user, l->done, l->arg);
	}
	return NULL;
}

static int start_thread(void *(*fn)(void *))
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, fn, NULL);

	if (rc)
		return -rc;
	pthread_detach(thread);
	return 0;
}

int loader_start(const struct http_loop *hl)
{
	int rc;

	loader.hl = hl;
	loader.last = &loader.first;
	rc = start_thread(loader_main);
	return rc < 0 ? rc : start_thread(deputy_main);
}

void loader_load(struct load *l)
{
	l->next = NULL;
	pthread_mutex_lock(&loader.lock);
	*loader.last = l;
	loader.last = &l->next;
	pthread_cond_signal(&loader.more);
	pthread_mutex_unlock(&loader.lock);
}
