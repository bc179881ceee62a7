/* gateway.c - a small request server that tells all about itself: the reference for authors of plugins.
 *
 *	client --> serve()  parse, auth, cache, backend, render, reply --> client
 *	                          |               |
 *	             a call that blocks      exchange() --> backend() at the other end of a loopback connection
 *
 *	GET /item/NUMBER   what an item costs, from the cache or from the backend
 *	GET /report        what four cost, asked for at once by a goroutine each
 *	GET /metrics       counters for Prometheus: weft.h has none for plugins, so it serves its own
 *
 * What it tells, and where to see it:
 *
 *	tasks      one for each request, named by its route; those of a report below it: /usertasks of go tool trace
 *	regions    parse, auth, cache, backend, render, reply: /userregions
 *	log lines  what the cache knew: among the events of a task
 *	labels     role= of each goroutine, route= while it works for one: CPU and goroutine profile, trace
 *	profile    connections that are open: /debug/pprof/NAME.sessions, NAME being the instance's
 *
 * A connection carries one request (http_hello keeps them alive) and has one goroutine, which owns the descriptor.
 * struct gateway is set up by init and does not change afterwards, but for the cache (under its lock) and the counters
 * (atomic).  Every wait gives up when the instance is stopped: that needs neither a flag nor a stop().
 *
 *	"config": { "listen": "127.0.0.1:6061", "visitors": 4, "pause": "200ms" }
 *
 * listen     "host:port"; port 0: any, see the log
 * token      what "Authorization: Bearer" has to say; "": everybody may ask
 * visitors   clients of its own, which keep it busy
 * pause      how long a visitor thinks before it asks
 * auth       how long the library takes that knows the users
 * backend    how long the backend takes
 * timeout    how long a request may take
 * idle       how long a client may take to ask
 * sessions   connections at once; more have to wait */
#include <weft.h>

#include <ctype.h>
#include <netdb.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ACCEPT_PAUSE (20 * WEFT_MS) /* when there are no descriptors left */
#define FRESH WEFT_SEC              /* how long the cache believes the backend */

enum { HEAD_MOST = 4096, PAGE_MOST = 8192, TOKEN_MOST = 256, ADDRESS_MOST = 80 };
enum { CACHE = 64, PARTS = 4 /* of a report */, ROUTES = 4, OTHER = ROUTES - 1 };

static const struct status {
	int code, rc; /* rc: what it stands for */
	const char *text;
} statuses[] = {
	{ 200, 0, "OK" },
	{ 400, -EINVAL, "Bad Request" },
	{ 401, -EACCES, "Unauthorized" },
	{ 404, -ENOENT, "Not Found" },
	{ 408, -ETIME, "Request Timeout" },
	{ 431, -EMSGSIZE, "Request Header Fields Too Large" },
	{ 504, -ETIMEDOUT, "Gateway Timeout" },
	{ 502, -EPROTO, "Bad Gateway" }, /* the last: any other error */
};

/* Upper ends of a histogram's buckets. */
static const int64_t limits[] = { WEFT_MS,      2 * WEFT_MS,   5 * WEFT_MS,   10 * WEFT_MS, 20 * WEFT_MS,
				  50 * WEFT_MS, 100 * WEFT_MS, 500 * WEFT_MS, WEFT_SEC };
enum { STATUSES = sizeof statuses / sizeof statuses[0], LIMITS = sizeof limits / sizeof limits[0] };

struct entry {
	int64_t item, price, until;
};

struct gateway {
	const char *address, *token;
	int64_t visitors, pause, auth, backend, timeout, idle, most;
	int listener, backend_listener;
	char own_address[ADDRESS_MOST], backend_address[ADDRESS_MOST];
	weft_profile *sessions;
	weft_sem room; /* for so many sessions more */

	weft_mutex lock;
	struct entry cache[CACHE]; /* under lock; item n has the place n % CACHE */

	_Atomic uint64_t answers[ROUTES][STATUSES], took[LIMITS + 1], took_ns, hits, misses, hung_up;
};

/* One end of a connection, for the goroutine that serves it. */
struct session {
	struct gateway *g;
	int fd;
};

struct page {
	size_t len;
	char text[PAGE_MOST];
};

/* --- Connections ----------------------------------------------------------------------------------------------- */

/* Reads until `end` has come, or all there is when that is NULL, and puts a 0 after it.  How many bytes, or an error:
 * -EMSGSIZE when it does not fit, -EPIPE when the connection ends before. */
static ssize_t read_until(int fd, char *buf, size_t room, const char *end)
{
	size_t have = 0;

	while (have < room - 1) {
		ssize_t n = weft_read(fd, buf + have, room - 1 - have);

		if (n < 0)
			return n;
		have += (size_t)n;
		buf[have] = 0;
		if (end && n > 0 && strstr(buf, end))
			return (ssize_t)have;
		if (n == 0)
			return end ? -EPIPE : (ssize_t)have;
	}
	return -EMSGSIZE;
}

/* Connect, think, ask, read the answer: its length, or an error. */
static ssize_t exchange(const char *address, int64_t think, const char *ask, char *buf, size_t room)
{
	int fd = weft_dial("tcp", address);
	ssize_t n;

	if (fd < 0)
		return fd;
	n = think ? weft_sleep(think) : 0;
	if (n == 0)
		n = weft_write(fd, ask, strlen(ask));
	if (n >= 0)
		n = read_until(fd, buf, room, NULL);
	weft_close(fd);
	return n;
}

/* --- The backend, and the cache before it ------------------------------------------------------------------------ */

/* A line with an item is answered by one with its price, some time later. */
static void backend(void *arg)
{
	struct session *s = arg;
	char line[32];

	WEFT_LABEL("role", "backend")
		if (read_until(s->fd, line, sizeof line, "\n") > 0 && weft_sleep(s->g->backend) == 0) {
			int n = snprintf(line, sizeof line, "%lld\n", 100 + strtoll(line, NULL, 10) * 7919 % 900);

			(void)weft_write(s->fd, line, (size_t)n);
		}
	weft_close(s->fd);
}

static int ask_backend(const struct gateway *g, int64_t item, int64_t *price)
{
	char line[32];
	ssize_t n;

	snprintf(line, sizeof line, "%lld\n", (long long)item);
	n = exchange(g->backend_address, 0, line, line, sizeof line);
	if (n <= 0)
		return n < 0 ? (int)n : -EPIPE;
	*price = strtoll(line, NULL, 10);
	return 0;
}

/* 0, or what was wrong with the backend; -ETIMEDOUT when the request's time is over, -ECANCELED when the instance is
 * stopped: that is what every wait says then. */
static int look_up(struct gateway *g, int64_t item, int64_t *price)
{
	struct entry *e = &g->cache[item % CACHE];
	bool hit = false;
	int rc = 0;

	WEFT_REGION("cache")
		WEFT_LOCKED(&g->lock) {
			hit = e->item == item && weft_now() < e->until;
			*price = e->price;
		}
	weft_trace_log("cache", "item %lld: %s", (long long)item, hit ? "hit" : "miss");
	*(hit ? &g->hits : &g->misses) += 1;
	if (hit)
		return 0;
	WEFT_REGION("backend")
		rc = ask_backend(g, item, price);
	if (rc == 0)
		WEFT_LOCKED(&g->lock)
			*e = (struct entry){ item, *price, weft_now() + FRESH };
	return rc;
}

/* --- Pages ------------------------------------------------------------------------------------------------------- */

WEFT_PRINTF(2, 3) static void put(struct page *p, const char *fmt, ...)
{
	size_t room = sizeof p->text - p->len;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(p->text + p->len, room, fmt, ap);
	va_end(ap);
	if (n > 0)
		p->len += (size_t)n < room ? (size_t)n : room - 1;
}

/* Stands for a template: CPU time, which a profile shows by route (-tagfocus=route=...). */
static void seal(struct page *p, int rounds)
{
	uint32_t sum = 2166136261u;

	for (int r = 0; r < rounds; r++)
		for (size_t i = 0; i < p->len; i++)
			sum = (sum ^ (uint8_t)p->text[i]) * 16777619u;
	put(p, "seal %08x\n", sum);
}

static int make_item(struct gateway *g, const char *number, struct page *page)
{
	char *end;
	int64_t item = strtoll(number, &end, 10), price;
	int rc;

	if (!isdigit((unsigned char)*number) || *end || item > INT32_MAX)
		return -ENOENT;
	rc = look_up(g, item, &price);
	if (rc < 0)
		return rc;
	WEFT_REGION("render") {
		put(page, "item %lld costs %lld\n", (long long)item, (long long)price);
		seal(page, 2000);
	}
	return 0;
}

struct part {
	struct gateway *g;
	int64_t item, price;
};

/* On a goroutine of its own, which has inherited the request's task, labels and time limit. */
static int look_up_part(void *arg)
{
	struct part *p = arg;
	int rc = 0;

	WEFT_TASK("part of a report")
		rc = look_up(p->g, p->item, &p->price);
	return rc;
}

static int make_report(struct gateway *g, const char *rest, struct page *page)
{
	weft_group *group = *rest ? NULL : weft_group_new(NULL, 0);
	struct part parts[PARTS];
	int rc = *rest ? -ENOENT : group ? 0 : -ENOMEM, failed;

	for (int i = 0; rc == 0 && i < PARTS; i++) {
		parts[i] = (struct part){ .g = g, .item = 1000 + i };
		rc = weft_group_go(group, look_up_part, &parts[i]);
	}
	if (rc == 0)
		rc = weft_group_wait(group);
	failed = weft_group_free(group); /* calls off those that still run, and waits for them */
	if (rc < 0)
		return failed < 0 ? failed : rc;
	WEFT_REGION("render") {
		for (int i = 0; i < PARTS; i++)
			put(page, "item %lld costs %lld\n", (long long)parts[i].item, (long long)parts[i].price);
		seal(page, 10000);
	}
	return 0;
}

static int make_metrics(struct gateway *g, const char *rest, struct page *page);

static const struct route {
	const char *name;                                                    /* what such a request begins with */
	int (*make)(struct gateway *g, const char *rest, struct page *page); /* 0 and a page, or an error */
} routes[ROUTES] = {
	{ "GET /item/", make_item },
	{ "GET /report", make_report },
	{ "GET /metrics", make_metrics },
	[OTHER] = { "other", NULL },
};

static void put_metric(struct page *page, const char *name, const char *type, const char *help)
{
	put(page, "# HELP gateway_%s %s\n# TYPE gateway_%s %s\n", name, help, name, type);
}

static void put_times(const struct gateway *g, struct page *page)
{
	unsigned long long n = 0;

	put_metric(page, "request_seconds", "histogram", "Time from a request to its answer.");
	for (size_t i = 0; i < LIMITS; i++) {
		n += g->took[i];
		put(page, "gateway_request_seconds_bucket{le=\"%g\"} %llu\n", (double)limits[i] / WEFT_SEC, n);
	}
	n += g->took[LIMITS];
	put(page, "gateway_request_seconds_bucket{le=\"+Inf\"} %llu\n", n);
	put(page, "gateway_request_seconds_sum %.9f\n", (double)g->took_ns / WEFT_SEC);
	put(page, "gateway_request_seconds_count %llu\n", n);
}

static int make_metrics(struct gateway *g, const char *rest, struct page *page)
{
	if (*rest)
		return -ENOENT;
	put_metric(page, "sessions", "gauge", "Connections that are open.");
	put(page, "gateway_sessions %lld\n", (long long)weft_profile_count(g->sessions));
	put_metric(page, "cache_lookups_total", "counter", "Prices looked for in the cache.");
	put(page, "gateway_cache_lookups_total{result=\"hit\"} %llu\n", (unsigned long long)g->hits);
	put(page, "gateway_cache_lookups_total{result=\"miss\"} %llu\n", (unsigned long long)g->misses);
	put_metric(page, "hung_up_total", "counter", "Clients that left before they had asked or were answered.");
	put(page, "gateway_hung_up_total %llu\n", (unsigned long long)g->hung_up);
	put_metric(page, "requests_total", "counter", "Requests answered.");
	for (int r = 0; r < ROUTES; r++)
		for (int i = 0; i < STATUSES; i++)
			if (g->answers[r][i])
				put(page, "gateway_requests_total{route=\"%s\",code=\"%d\"} %llu\n", routes[r].name,
				    statuses[i].code, (unsigned long long)g->answers[r][i]);
	put_times(g, page);
	return 0;
}

/* --- A request --------------------------------------------------------------------------------------------------- */

static int route_of(const char *head)
{
	int r = 0;

	while (r < OTHER && strncmp(head, routes[r].name, strlen(routes[r].name)) != 0)
		r++;
	return r;
}

/* Cuts the head into strings: the path beyond the route's own, and the token ("": none).  0 or an error. */
static int parse(char *head, const struct route *route, const char **rest, const char **token)
{
	static const char field[] = "\r\nAuthorization: Bearer ";
	char *path = strchr(head, ' '), *version = path ? strchr(path + 1, ' ') : NULL;
	char *user = strcasestr(head, field);

	if (!version || version > strstr(head, "\r\n") || strncmp(version, " HTTP/1.", 8) != 0)
		return -EINVAL;
	path[1 + strcspn(path + 1, " ?")] = 0;
	*rest = head + strlen(route->name);
	*token = "";
	if (user) {
		*token = user + strlen(field);
		user[strlen(field) + strcspn(*token, "\r")] = 0;
	}
	return route->make ? 0 : -ENOENT;
}

/* Stands for a library that asks a directory of users: it puts its thread to sleep, and nothing calls it off.  So it
 * is declared, and others run meanwhile. */
static bool known(const struct gateway *g, const char *token)
{
	struct timespec t = { .tv_sec = g->auth / WEFT_SEC, .tv_nsec = g->auth % WEFT_SEC };

	WEFT_BLOCKING
	{
		nanosleep(&t, NULL);
	}
	return !*g->token || strcmp(g->token, token) == 0;
}

/* 0 and a page, or an error. */
static int work(struct gateway *g, const struct route *route, char *head, struct page *page)
{
	const char *rest = "", *token = "";
	bool welcome = false;
	int rc = 0;

	WEFT_REGION("parse")
		rc = parse(head, route, &rest, &token);
	if (rc < 0)
		return rc;
	WEFT_REGION("auth")
		welcome = known(g, token);
	return welcome ? route->make(g, rest, page) : -EACCES;
}

/* Sends the page, or what stands for the error, and counts it. */
static void reply(const struct session *s, int route, int rc, struct page *page)
{
	const struct status *status = statuses;
	struct iovec io[2];
	char head[160];
	int n;

	while (status->rc != rc && status < &statuses[STATUSES - 1])
		status++;
	if (rc < 0) {
		page->len = 0;
		put(page, "%s\n", status->text);
	}
	n = snprintf(head, sizeof head,
		     "HTTP/1.1 %d %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
		     status->code, status->text, page->len);
	io[0] = (struct iovec){ head, (size_t)n };
	io[1] = (struct iovec){ page->text, page->len };
	(void)weft_set_deadline(s->fd, POLLOUT, weft_now() + s->g->idle);
	if (weft_writev(s->fd, io, 2) == n + (ssize_t)page->len)
		s->g->answers[route][status - statuses]++;
	else
		s->g->hung_up++;
}

static void answer(const struct session *s, char *head, struct page *page)
{
	int64_t took = weft_now();
	int route = route_of(head), rc = 0;
	size_t i = 0;

	WEFT_TASK(routes[route].name)
		WEFT_LABEL("route", routes[route].name) {
			WEFT_TIMEOUT(s->g->timeout)
				rc = work(s->g, &routes[route], head, page);
			if (rc != -ECANCELED) /* else the instance is stopped */
				WEFT_REGION("reply")
					reply(s, route, rc, page);
		}
	took = weft_now() - took;
	while (i < LIMITS && took > limits[i])
		i++;
	s->g->took[i]++;
	s->g->took_ns += (uint64_t)took;
}

static void serve(void *arg)
{
	struct session *s = arg;
	char head[HEAD_MOST];
	struct page page;
	ssize_t n;

	page.len = 0;
	WEFT_LABEL("role", "session") {
		/* s lies on this goroutine's stack: no other session has that address. */
		(void)weft_profile_add(s->g->sessions, s, 0);
		(void)weft_set_deadline(s->fd, POLLIN, weft_now() + s->g->idle);
		n = read_until(s->fd, head, sizeof head, "\r\n\r\n");
		if (n > 0)
			answer(s, head, &page);
		else if (n == -EMSGSIZE || n == -ETIMEDOUT)
			reply(s, OTHER, n == -ETIMEDOUT ? -ETIME : -EMSGSIZE, &page);
		else if (n != -ECANCELED)
			s->g->hung_up++;
		weft_profile_remove(s->g->sessions, s);
	}
	weft_close(s->fd);
	weft_sem_release(&s->g->room, 1);
}

/* --- Visitors ---------------------------------------------------------------------------------------------------- */

/* Mostly items, now and then a report, seldom what is not there. */
static void visitor(void *arg)
{
	struct gateway *g = arg;
	unsigned seed = (unsigned)weft_goid();

	WEFT_LABEL("role", "visitor")
		while (weft_ctx_err(weft_ctx_self()) == 0) {
			unsigned n = (unsigned)rand_r(&seed) % 1000;
			char path[32] = "/report", text[1024];

			if (n >= 60)
				snprintf(path, sizeof path, n < 980 ? "/item/%u" : "/items", n % 40);
			snprintf(text, sizeof text,
				 "GET %s HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %s\r\n\r\n", path,
				 g->token);
			if (exchange(g->own_address, g->pause, text, text, sizeof text) < 0)
				(void)weft_sleep(g->pause);
		}
}

/* --- The instance ------------------------------------------------------------------------------------------------ */

/* Starts fn for each connection, while there is room (NULL: always), until the instance is stopped. */
static int accept_all(struct gateway *g, int listener, weft_sem *room, weft_fn fn)
{
	int rc = 0;

	while (rc == 0 && (!room || (rc = weft_sem_acquire(room, 1)) == 0)) {
		int fd = weft_accept(listener, NULL, NULL);

		if (fd >= 0 && weft_go_copy(fn, &(struct session){ g, fd }) == 0)
			continue;
		if (room)
			weft_sem_release(room, 1);
		if (fd >= 0)
			weft_close(fd); /* too many goroutines: the client sees the end */
		else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOBUFS || fd == -ENOMEM)
			rc = weft_sleep(ACCEPT_PAUSE); /* until others have ended; the clients wait */
		else
			rc = fd;
	}
	return rc == -ECANCELED ? 0 : rc;
}

static void run_backend(void *arg)
{
	struct gateway *g = arg;
	int rc = accept_all(g, g->backend_listener, NULL, backend);

	if (rc < 0)
		weft_log(WEFT_ERROR, "the backend ends: %s", weft_strerror(rc));
}

static int read_conf(struct gateway *g, const weft_conf *conf)
{
	g->address = "127.0.0.1:6061";
	g->token = "";
	g->visitors = 4;
	g->pause = 200 * WEFT_MS;
	g->auth = WEFT_MS;
	g->backend = 5 * WEFT_MS;
	g->timeout = WEFT_SEC;
	g->idle = 10 * WEFT_SEC;
	g->most = 1000;
	if (weft_conf_str(conf, "listen", &g->address) < 0 || weft_conf_str(conf, "token", &g->token) < 0 ||
	    weft_conf_int(conf, "visitors", 0, 1000, &g->visitors) < 0 ||
	    weft_conf_int(conf, "sessions", 1, 100000, &g->most) < 0 || weft_conf_dur(conf, "pause", &g->pause) < 0 ||
	    weft_conf_dur(conf, "auth", &g->auth) < 0 || weft_conf_dur(conf, "backend", &g->backend) < 0 ||
	    weft_conf_dur(conf, "timeout", &g->timeout) < 0 || weft_conf_dur(conf, "idle", &g->idle) < 0)
		return -EINVAL;
	if (strlen(g->token) > TOKEN_MOST || g->auth > WEFT_SEC || g->pause < WEFT_MS) {
		weft_log(WEFT_ERROR, "token: at most %d bytes; auth: at most 1s; pause: at least 1ms", TOKEN_MOST);
		return -EINVAL;
	}
	return 0;
}

/* A listener, and in `where` (ADDRESS_MOST) what it is bound to, for port 0 means any. */
static int listen_on(const char *address, char *where)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t len = sizeof sa;
	char host[INET6_ADDRSTRLEN] = "", port[8] = "";
	int fd = weft_listen("tcp", address);

	if (fd < 0) {
		weft_log(WEFT_ERROR, "listen: cannot listen on %s: %s", address, weft_strerror(fd));
		return fd;
	}
	(void)getsockname(fd, (struct sockaddr *)&sa, &len);
	(void)getnameinfo((struct sockaddr *)&sa, len, host, sizeof host, port, sizeof port,
			  NI_NUMERICHOST | NI_NUMERICSERV);
	snprintf(where, ADDRESS_MOST, sa.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
	return fd;
}

static int gateway_init(void *state, const weft_conf *conf)
{
	struct gateway *g = state;
	char name[80];
	int rc = read_conf(g, conf);

	if (rc < 0)
		return rc;
	g->listener = listen_on(g->address, g->own_address);
	g->backend_listener = g->listener < 0 ? g->listener : listen_on("127.0.0.1:0", g->backend_address);
	if (g->backend_listener < 0)
		return g->backend_listener;
	weft_sem_init(&g->room, g->most);
	snprintf(name, sizeof name, "%s.sessions", weft_instance_name());
	g->sessions = weft_profile_new(name);
	if (!g->sessions) {
		weft_log(WEFT_ERROR, "there can be no profile %s: another name of the instance may do", name);
		return -EINVAL;
	}
	weft_log(WEFT_INFO, "gateway on %s", g->own_address);
	return 0;
}

static int gateway_run(void *state)
{
	struct gateway *g = state;
	int rc = weft_go(run_backend, g);

	for (int64_t i = 0; rc == 0 && i < g->visitors; i++)
		rc = weft_go(visitor, g);
	return rc < 0 ? rc : accept_all(g, g->listener, &g->room, serve);
}

static void gateway_fini(void *state)
{
	weft_profile_free(((struct gateway *)state)->sessions); /* nobody else does */
}

WEFT_PLUGIN(.name = "gateway", .version = "1", .about = "a request server that tells all about itself",
	    .state_size = sizeof(struct gateway), .init = gateway_init, .run = gateway_run, .fini = gateway_fini);
