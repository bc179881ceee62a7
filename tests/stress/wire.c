/* wire.c - descriptors: streams of bytes that are checked one by one, while deadlines change and ends are closed.
 *
 * A wire has a writer and a reader, who close their ends when they leave, and a meddler, which sets deadlines and
 * may close an end under its user (a cut).  From then on that number may be anybody's, and its user may ask for it
 * once more: so no descriptor is made while a cut wire still has users (`cuts`, under `numbers`). */
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "shapes.h"

enum { READS, WRITES };
#define WIRES 12
#define PIECE 70000

struct wire {
	int fd[2]; /* READS, WRITES */
	bool ours;
	unsigned id;
	_Atomic bool closed[2], cut;
	unsigned users; /* under numbers */
	uint64_t sent, got;
};

struct wires {
	struct wire w[WIRES];
	unsigned n, bytes;
};

static pthread_mutex_t numbers = PTHREAD_MUTEX_INITIALIZER;
static unsigned cuts; /* under numbers */

static unsigned char byte_at(const struct wire *w, uint64_t at)
{
	return (unsigned char)((at * 7 + (at >> 8) * 13 + w->id) & 0xff);
}

static void close_end(struct wire *w, int end)
{
	if (!atomic_exchange(&w->closed[end], true) && weft_close(w->fd[end]) != 0)
		fail(NULL, "weft_close: descriptor %d was closed by somebody else", w->fd[end]);
}

/* rc of a call on an end: 1 go on, 0 the wire is through. */
static bool goes_on(struct actor *a, struct wire *w, int end, ssize_t rc)
{
	if (rc >= 0)
		return true;
	if (rc == -ETIMEDOUT) {
		if (rnd_one_in(&a->rng, 3))
			(void)weft_set_deadline(w->fd[end], end == READS ? POLLIN : POLLOUT, 0);
		weft_yield();
		return true;
	}
	if (called_off(a, (int)rc))
		return false;
	if (rc == -EBADF && w->cut)
		return false;
	if ((rc == -EPIPE || rc == -ECONNRESET) && (w->cut || a->gr->doomed))
		return false;
	fail(a->gr, "%s on descriptor %d (wire %u, %s): %s", end == READS ? "reading" : "writing", w->fd[end], w->id,
	     w->ours ? "weft's own" : "from elsewhere", weft_strerror((int)rc));
}

static void wire_write(struct actor *a)
{
	const struct wires *s = a->gr->state;
	struct wire *w = a->p;
	unsigned char *buf = must_alloc(PIECE);

	while (w->sent < s->bytes) {
		size_t n = rnd_one_in(&a->rng, 6) ? rnd_in(&a->rng, 1, PIECE) : rnd_in(&a->rng, 1, 500);
		ssize_t rc;

		n = n > s->bytes - w->sent ? s->bytes - w->sent : n;
		for (size_t i = 0; i < n; i++)
			buf[i] = byte_at(w, w->sent + i);
		if (rnd_one_in(&a->rng, 4)) {
			struct iovec parts[2] = { { buf, n / 2 }, { buf + n / 2, n - n / 2 } };

			rc = weft_writev(w->fd[WRITES], parts, 2);
		} else {
			rc = weft_write(w->fd[WRITES], buf, n);
		}
		if (!goes_on(a, w, WRITES, rc))
			break;
		w->sent += rc > 0 ? (uint64_t)rc : 0;
		nudge(a);
	}
	free(buf);
}

static void wire_read(struct actor *a)
{
	struct wire *w = a->p;
	unsigned char *buf = must_alloc(PIECE);

	for (;;) {
		size_t n = rnd_one_in(&a->rng, 6) ? PIECE : rnd_in(&a->rng, 1, 2000);
		ssize_t rc = rnd_one_in(&a->rng, 5) ? weft_wait_fd(w->fd[READS], POLLIN) : 0;

		if (!goes_on(a, w, READS, rc))
			break;
		rc = weft_read(w->fd[READS], buf, n);
		if (rc == 0 || !goes_on(a, w, READS, rc))
			break;
		for (ssize_t i = 0; i < rc; i++)
			if (buf[i] != byte_at(w, w->got + (uint64_t)i))
				fail(a->gr, "byte %llu of wire %u (descriptor %d) is wrong",
				     (unsigned long long)w->got + (uint64_t)i, w->id, w->fd[READS]);
		w->got += rc > 0 ? (uint64_t)rc : 0;
		nudge(a);
	}
	free(buf);
}

static void wire_left(struct actor *a)
{
	struct wire *w = a->p;

	close_end(w, a->fn == wire_read ? READS : WRITES);
	pthread_mutex_lock(&numbers);
	if (--w->users == 0 && w->cut)
		cuts--;
	pthread_mutex_unlock(&numbers);
}

static void wire_cut(struct wire *w, int end)
{
	bool cut;

	if (pthread_mutex_trylock(&numbers) != 0)
		return;
	cut = w->users && !w->cut && !w->closed[end];
	if (cut) {
		w->cut = true;
		cuts++;
	}
	pthread_mutex_unlock(&numbers);
	if (cut)
		close_end(w, end);
}

static void wire_meddle(struct actor *a)
{
	struct wires *s = a->gr->state;

	for (unsigned n = rnd_in(&a->rng, 0, 60); n > 0; n--) {
		struct wire *w = &s->w[rnd_in(&a->rng, 0, s->n - 1)];
		int end = (int)rnd_in(&a->rng, 0, 1);

		if (rnd_one_in(&a->rng, 40))
			wire_cut(w, end);
		else if (w->ours && !w->closed[end])
			(void)weft_set_deadline(w->fd[end], end == READS ? POLLIN : POLLOUT,
						rnd_one_in(&a->rng, 3) ? 0 : weft_now() + rnd_in(&a->rng, 0, 500000));
		nudge(a);
		weft_yield();
	}
}

/* --- Making: on the main thread ------------------------------------------------------------------------------------
 */

static void wire_dial(struct graph *gr, struct wire *w, bool tcp)
{
	struct sockaddr_in sa = { 0 };
	socklen_t len = sizeof sa;
	char name[64];
	int l;

	snprintf(name, sizeof name, "@weft-stress-%d", getpid());
	l = tcp ? weft_listen("tcp", "127.0.0.1:0") : weft_listen("unix", name);
	if (l < 0)
		fail(gr, "weft_listen: %s", weft_strerror(l));
	if (tcp) {
		if (getsockname(l, (struct sockaddr *)&sa, &len) != 0)
			fail(gr, "getsockname");
		snprintf(name, sizeof name, "127.0.0.1:%u", ntohs(sa.sin_port));
	}
	w->fd[WRITES] = weft_dial(tcp ? "tcp" : "unix", name);
	if (w->fd[WRITES] < 0)
		fail(gr, "weft_dial: %s", weft_strerror(w->fd[WRITES]));
	w->fd[READS] = weft_accept(l, NULL, NULL);
	if (w->fd[READS] < 0)
		fail(gr, "weft_accept: %s", weft_strerror(w->fd[READS]));
	(void)weft_close(l);
	w->ours = true;
}

static void wire_open(struct graph *gr, struct wire *w)
{
	int flags = rnd_one_in(&gr->rng, 2) ? O_NONBLOCK : 0, rc = 0;

	switch (rnd_in(&gr->rng, 0, 5)) {
	case 0:
		rc = pipe2(w->fd, O_CLOEXEC | flags);
		break;
	case 1:
		rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (flags ? SOCK_NONBLOCK : 0), 0, w->fd);
		break;
	default:
		wire_dial(gr, w, rnd_one_in(&gr->rng, 4));
	}
	if (rc != 0)
		fail(gr, "no pipe or pair of sockets");
	w->users = 2;
}

static void wires_open(struct graph *gr)
{
	struct wires *s = gr->state;

	pthread_mutex_lock(&numbers);
	while (cuts) {
		pthread_mutex_unlock(&numbers);
		usleep(100);
		pthread_mutex_lock(&numbers);
	}
	for (unsigned i = 0; i < s->n; i++) {
		s->w[i].id = i * 17 + gr->number;
		wire_open(gr, &s->w[i]);
	}
	pthread_mutex_unlock(&numbers);
}

static void wire_make(struct graph *gr)
{
	struct wires *s = gr->state;
	unsigned meddlers = rnd_in(&gr->rng, 0, 2);

	s->n = rnd_in(&gr->rng, 1, WIRES);
	s->bytes = rnd_in(&gr->rng, 1, scaled(rnd_one_in(&gr->rng, 4) ? 2000000 : 60000));
	wires_open(gr);
	graph_room(gr, 2 * s->n + meddlers);
	for (unsigned i = 0; i < s->n; i++) {
		/* Nobody calls a thread off: it would wait for a writer that was. */
		actor_start(gr, NULL, (struct cast){ wire_read, wire_left, i, &s->w[i], !gr->doomed && a_few(gr) });
		actor_start(gr, NULL, (struct cast){ wire_write, wire_left, i, &s->w[i], !gr->doomed && a_few(gr) });
	}
	for (unsigned i = 0; i < meddlers; i++)
		actor_start(gr, NULL, (struct cast){ .fn = wire_meddle, .n = i });
}

static void wire_check(struct graph *gr)
{
	const struct wires *s = gr->state;

	for (unsigned i = 0; i < s->n; i++) {
		const struct wire *w = &s->w[i];

		if (w->got > w->sent && !w->cut && !gr->doomed)
			fail(gr, "wire %u: %llu bytes went in and %llu came out", w->id, (unsigned long long)w->sent,
			     (unsigned long long)w->got);
		if (!w->cut && !gr->doomed && w->got != s->bytes)
			fail(gr, "wire %u: of %u bytes %llu came out", w->id, s->bytes, (unsigned long long)w->got);
	}
}

const struct shape wire_shape = { "wire", sizeof(struct wires), wire_make, wire_check };
