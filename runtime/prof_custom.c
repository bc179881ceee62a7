/* prof_custom.c - profiles of plugins: which stacks hold something just now (weft_profile_*); and what plugins
 * have the host do with its own.
 *
 * A profile is a table of ptab.h, whose sums rise with an add and fall with a remove, and a map from the key of each
 * thing to the entry it is counted in.  The map is split into shards by key, each with a lock of its own, so that
 * workers seldom meet; readers of the profile look at the table alone and take none.
 *
 * Profiles are never freed, since a reader may be at one: weft_profile_free() empties it and takes its name away,
 * and the next weft_profile_new() of that name uses it again.  One that an instance forgets ends with it, and so does
 * the CPU profile that it began.
 *
 * Locks: `lock` for names; a shard's for its map.  Nothing else is taken under either. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "hostjob.h"
#include "prof_thread.h"
#include "ptab.h"
#include "rt.h"
#include "sys.h"

#define PROFILES_MAX 64
#define SHARDS 16u
#define STACKS (1u << 12)

struct shard {
	RT_CACHED struct rt_lock lock;
	/* under lock: open addressing, linear; key NULL: free */
	struct held {
		const void *key;
		uint32_t entry;
	} * held;
	uint32_t n, cap;
};

struct weft_profile {
	char name[64];             /* constant */
	bool builtin;              /* constant: the host's, of which only the name is here */
	_Atomic bool alive;        /* under lock, readers look */
	_Atomic uint32_t instance; /* under lock: who made it; 0: nobody's */
	_Atomic int64_t count;
	struct rt_ptab tab;
	struct shard shard[SHARDS];
};

static struct rt_lock lock = RT_LOCK_INIT(LEAF);
static struct weft_profile *_Atomic profiles[PROFILES_MAX]; /* under lock; readers skip NULL */

/* --- Names ------------------------------------------------------------------------------------------ */

static bool good_name(const char *s)
{
	size_t n = s ? strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") : 0;

	return n > 0 && n < sizeof profiles[0]->name && !s[n] && s[0] != '.';
}

/* As the host's profile_count() says. */
static int64_t host_count(const char *name)
{
	return sched.opts.profile_count ? sched.opts.profile_count(sched.opts.user, name) : -ENOENT;
}

/* Under lock: the one of that name; *at: a place for a new one, or PROFILES_MAX. */
static struct weft_profile *find(const char *name, uint32_t *at)
{
	*at = PROFILES_MAX;
	for (uint32_t i = 0; i < PROFILES_MAX; i++) {
		struct weft_profile *p = ld(&profiles[i]);

		if (!p) {
			*at = i;
			return NULL;
		}
		if (!strcmp(p->name, name))
			return p;
	}
	return NULL;
}

static struct weft_profile *make(const char *name, bool builtin)
{
	struct weft_profile *p = rt_map(sizeof *p);

	if (!p)
		return NULL;
	strcpy(p->name, name);
	p->builtin = builtin;
	p->tab.cap = STACKS;
	for (uint32_t i = 0; i < SHARDS; i++)
		rt_lock_init(&p->shard[i].lock, RT_RANK_LEAF);
	if (!builtin && rt_ptab_start(&p->tab) < 0) {
		rt_unmap(p, sizeof *p);
		return NULL;
	}
	return p;
}

weft_profile *weft_profile_new(const char *name)
{
	const struct weft_inst *inst = weft_instance_self();
	struct weft_profile *p;
	uint32_t at;

	if (!good_name(name) || host_count(name) != -ENOENT)
		return NULL;
	rt_lock(&lock);
	p = find(name, &at);
	if (p && (p->builtin || ld(&p->alive))) {
		p = NULL;
	} else if (!p && at < PROFILES_MAX) {
		p = make(name, false);
		st_rel(&profiles[at], p); /* pairs with the acquires of readers */
	}
	if (p) {
		st(&p->instance, inst ? inst->number : 0);
		st_rel(&p->alive, true);
	}
	rt_unlock(&lock);
	return p;
}

weft_profile *weft_profile_lookup(const char *name)
{
	struct weft_profile *p;
	uint32_t at;
	bool host;

	if (!good_name(name))
		return NULL;
	host = host_count(name) >= 0;
	rt_lock(&lock);
	p = find(name, &at);
	if (!p && host && at < PROFILES_MAX) {
		p = make(name, true);
		st_rel(&profiles[at], p);
	}
	if (p && !p->builtin && !ld(&p->alive))
		p = NULL;
	rt_unlock(&lock);
	return p;
}

/* --- Keys, under the shard's lock ------------------------------------------------------------------- */

static uint64_t hash(const void *key)
{
	return (uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15);
}

static struct shard *shard_of(struct weft_profile *p, const void *key)
{
	return &p->shard[hash(key) >> 60];
}

/* Where key is, or would be. */
static struct held *place(struct shard *s, const void *key)
{
	uint32_t i = (uint32_t)(hash(key) >> 20) & (s->cap - 1);

	while (s->held[i].key && s->held[i].key != key)
		i = (i + 1) & (s->cap - 1);
	return &s->held[i];
}

static int grow(struct shard *s)
{
	struct shard old = *s;

	if (2 * (s->n + 1) <= s->cap)
		return 0;
	s->cap = old.cap ? 2 * old.cap : 16;
	s->held = calloc(s->cap, sizeof *s->held);
	if (!s->held) {
		s->held = old.held;
		s->cap = old.cap;
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < old.cap; i++)
		if (old.held[i].key)
			*place(s, old.held[i].key) = old.held[i];
	free(old.held);
	return 0;
}

/* Take h out, and put those behind it where they are found without it. */
static void take(struct shard *s, struct held *h)
{
	uint32_t i = (uint32_t)(h - s->held);

	h->key = NULL;
	s->n--;
	for (i = (i + 1) & (s->cap - 1); s->held[i].key; i = (i + 1) & (s->cap - 1)) {
		struct held x = s->held[i];

		s->held[i].key = NULL;
		*place(s, x.key) = x;
	}
}

/* --- Public ------------------------------------------------------------------------------------------ */

/* Of the caller of the public function, without its `skip` innermost frames. */
static uint32_t stack_of_caller(struct m *m, void *frame, int skip)
{
	uint32_t id = rt_stack_any(m, frame);
	uint64_t pc[WEFT_STACK_MAX];
	int n;

	if (skip <= 0)
		return id;
	n = weft_read_stack(id, pc, WEFT_STACK_MAX);
	return skip < n ? rt_stack_intern(pc + skip, n - skip) : 0;
}

int weft_profile_add(weft_profile *p, const void *key, int skip)
{
	struct m *m = rt_self();
	const struct g *g = m ? ld(&m->cur) : NULL;
	const struct weft_inst *inst = weft_instance_self();
	struct rt_ptab_key at = { .instance = inst ? inst->number : 0 };
	struct shard *s;
	struct held *h;
	int rc;

	if (!p || p->builtin || !key)
		return -EINVAL;
	at.stack = stack_of_caller(m, __builtin_frame_address(0), skip);
	at.labels = g ? rt_labels_keep(ld(&g->labels), at.instance) : 0;
	s = shard_of(p, key);
	rt_lock(&s->lock);
	rc = grow(s);
	h = rc == 0 ? place(s, key) : NULL;
	if (h && h->key) {
		rc = -EEXIST;
	} else if (h) {
		*h = (struct held){ key, rt_ptab_at(&p->tab, at) };
		s->n++;
		rt_ptab_add(&p->tab, h->entry, 0, 1);
		(void)add(&p->count, 1);
	}
	rt_unlock(&s->lock);
	return rc;
}

void weft_profile_remove(weft_profile *p, const void *key)
{
	struct shard *s;
	struct held *h;

	if (!p || p->builtin || !key)
		return;
	s = shard_of(p, key);
	rt_lock(&s->lock);
	h = s->cap ? place(s, key) : NULL;
	if (h && h->key) {
		rt_ptab_add(&p->tab, h->entry, 0, (uint64_t)-1);
		(void)add(&p->count, -1);
		take(s, h);
	}
	rt_unlock(&s->lock);
}

void weft_profile_free(weft_profile *p)
{
	if (!p || p->builtin)
		return;
	for (uint32_t k = 0; k < SHARDS; k++) {
		struct shard *s = &p->shard[k];

		rt_lock(&s->lock);
		for (uint32_t i = 0; i < s->cap; i++)
			if (s->held[i].key)
				rt_ptab_add(&p->tab, s->held[i].entry, 0, (uint64_t)-1);
		(void)add(&p->count, -(int64_t)s->n);
		free(s->held);
		s->held = NULL;
		s->n = s->cap = 0;
		rt_unlock(&s->lock);
	}
	st(&p->alive, false);
}

int64_t weft_profile_count(const weft_profile *p)
{
	if (!p)
		return -EINVAL;
	if (p->builtin)
		return host_count(p->name);
	return ld(&p->count);
}

/* --- What the host does ---------------------------------------------------------------------------------- */

static void end_cpu(uint32_t instance)
{
	if (sched.opts.cpu_end)
		sched.opts.cpu_end(sched.opts.user, instance);
}

static int host_write(const struct rt_host_job *j)
{
	return sched.opts.profile_write(sched.opts.user, j->text, (int)j->arg, j->fd);
}

/* Of an instance that has ended meanwhile, rt_profiles_free() came too early. */
static int host_cpu_start(const struct rt_host_job *j)
{
	uint32_t number = j->inst ? j->inst->number : 0;
	int rc = sched.opts.cpu_start(sched.opts.user, (int)j->arg, number);

	if (rc == 0 && j->inst && weft_inst_cancelled(j->inst))
		end_cpu(number);
	return rc;
}

static int host_cpu_stop(const struct rt_host_job *j)
{
	return sched.opts.cpu_stop(sched.opts.user, j->fd);
}

int weft_profile_write(const weft_profile *p, int fd, int debug)
{
	if (!p)
		return -EINVAL;
	if (!sched.opts.profile_write)
		return -ENOSYS;
	if (fd < 0)
		return -EBADF;
	return rt_host_do(&(struct rt_host_job){ .call = host_write, .text = p->name, .fd = fd, .arg = debug });
}

int weft_profile_cpu_start(int hz)
{
	if (hz < 0 || hz > 1000)
		return -EINVAL;
	if (!sched.opts.cpu_start)
		return -ENOSYS;
	return rt_host_do(
		&(struct rt_host_job){ .call = host_cpu_start, .fd = -1, .arg = hz, .inst = weft_instance_self() });
}

int weft_profile_cpu_stop(int fd)
{
	if (!sched.opts.cpu_stop)
		return -ENOSYS;
	return rt_host_do(&(struct rt_host_job){ .call = host_cpu_stop, .fd = fd < 0 ? -1 : fd });
}

void rt_profiles_free(uint32_t instance)
{
	for (uint32_t i = 0; i < PROFILES_MAX; i++) {
		struct weft_profile *p = ld_acq(&profiles[i]); /* with weft_profile_new() */

		if (p && ld_acq(&p->alive) && ld(&p->instance) == instance)
			weft_profile_free(p);
	}
	end_cpu(instance);
}

int64_t weft_profile_block_rate(int64_t ns)
{
	return weft_host_rate(WEFT_RATE_BLOCK, ns);
}

int64_t weft_profile_mutex_fraction(int64_t n)
{
	return weft_host_rate(WEFT_RATE_MUTEX, n);
}

/* --- Reading ----------------------------------------------------------------------------------------- */

const char *weft_read_custom_name(uint32_t i)
{
	const struct weft_profile *p = i < PROFILES_MAX ? ld_acq(&profiles[i]) : NULL; /* with weft_profile_new() */

	if (!p)
		return NULL;
	return !p->builtin && ld_acq(&p->alive) ? p->name : "";
}

bool weft_read_custom(uint32_t i, uint32_t *at, struct weft_prof_sample *out)
{
	struct weft_profile *p = i < PROFILES_MAX ? ld_acq(&profiles[i]) : NULL;

	return p && !p->builtin && rt_ptab_next(&p->tab, at, out);
}

size_t weft_read_custom_count(uint32_t i)
{
	const struct weft_profile *p = i < PROFILES_MAX ? ld_acq(&profiles[i]) : NULL;
	int64_t n = p ? ld(&p->count) : 0;

	return n > 0 ? (size_t)n : 0;
}
