/* tracecheck_read.c - the bytes of an execution trace: batches, strings, stacks, and each thread's events. */
#include "tracecheck_impl.h"

#include <stdlib.h>
#include <string.h>

struct tc_thread tc_threads[TC_MS];
size_t tc_n_threads;

static const uint8_t *at, *end;
static char *strings[TC_IDS];
static bool stacks[TC_IDS];
static uint64_t ids; /* all of both are below */
static int frequencies;

static uint64_t varint(const uint8_t *limit)
{
	uint64_t v = 0;

	for (int i = 0; i < 10; i++) {
		uint8_t b;

		if (at >= limit) {
			tc_fail("a number is cut off");
			return 0;
		}
		b = *at++;
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (!(b & 0x80))
			return v;
	}
	tc_fail("a number of more than 10 bytes");
	return 0;
}

/* Arguments behind the time; -1: no timed event. */
static int arity(int id)
{
	static const signed char n[64] = {
		[9] = 2,  [10] = 2, [11] = 0, [12] = 3, [13] = 2, [14] = 3, [16] = 2, [17] = 0,
		[19] = 2, [20] = 2, [21] = 3, [22] = 2, [23] = 0, [24] = 0, [25] = 3, [37] = 1,
		[38] = 1, [39] = 1, [40] = 4, [41] = 2, [42] = 3, [43] = 3, [44] = 4, [48] = 4,
	};
	static const bool zero[64] = { [11] = true, [17] = true, [23] = true, [24] = true };

	return id < 64 && (n[id] || zero[id]) ? n[id] : -1;
}

struct tc_thread *tc_thread(uint64_t id)
{
	for (size_t i = 0; i < tc_n_threads; i++)
		if (tc_threads[i].id == id)
			return &tc_threads[i];
	if (tc_n_threads == TC_MS) {
		tc_fail("more than %d threads", TC_MS);
		return NULL;
	}
	tc_threads[tc_n_threads] = (struct tc_thread){ .id = id, .p = -1 };
	return &tc_threads[tc_n_threads++];
}

static uint64_t take_id(uint64_t id)
{
	ids = id >= ids ? id + 1 : ids;
	return id;
}

static void read_strings(const uint8_t *limit)
{
	while (at < limit && !*tc->err) {
		uint64_t id, len;

		if (*at++ != 5)
			tc_fail("no string where one is expected");
		id = varint(limit);
		len = varint(limit);
		if (len > 1024 || len > (size_t)(limit - at))
			tc_fail("a string of %llu bytes", (unsigned long long)len);
		else if (!id || id >= TC_IDS || strings[id])
			tc_fail("string id %llu is 0 or taken", (unsigned long long)id);
		else
			strings[take_id(id)] = strndup((const char *)at, len);
		at += len;
		tc->strings++;
	}
}

bool tc_is_string(uint64_t id)
{
	return !id || (id < TC_IDS && strings[id]);
}

bool tc_is_stack(uint64_t id)
{
	return !id || (id < TC_IDS && stacks[id]);
}

/* Strings of frames and stacks of samples are looked at later: any order of batches is good. */
static uint64_t frame_strings[TC_IDS];
static size_t n_frame_strings;
static uint64_t sample_stacks[TC_IDS];
static size_t n_sample_stacks;

static void read_stacks(const uint8_t *limit)
{
	while (at < limit && !*tc->err) {
		uint64_t id, n;

		if (*at++ != 3)
			tc_fail("no stack where one is expected");
		id = varint(limit);
		n = varint(limit);
		if (n > 128)
			tc_fail("a stack of %llu frames", (unsigned long long)n);
		if (!id || id >= TC_IDS || stacks[id])
			tc_fail("stack id %llu is 0 or taken", (unsigned long long)id);
		else
			stacks[take_id(id)] = true;
		for (uint64_t i = 0; i < n && !*tc->err; i++) {
			if (!varint(limit))
				tc_fail("a frame at address 0");
			for (int k = 0; k < 2; k++) {
				uint64_t s = varint(limit);

				if (n_frame_strings < TC_IDS)
					frame_strings[n_frame_strings++] = s;
			}
			(void)varint(limit);
		}
		tc->stacks++;
	}
}

static void read_samples(const uint8_t *limit)
{
	while (at < limit && !*tc->err) {
		uint64_t v[5];

		if (*at++ != 7)
			tc_fail("no CPU sample where one is expected");
		for (int i = 0; i < 5; i++)
			v[i] = varint(limit);
		if (!tc_is_p(v[2]) && v[2] != TC_NOBODY)
			tc_fail("a CPU sample of P %llu", (unsigned long long)v[2]);
		if (n_sample_stacks < TC_IDS)
			sample_stacks[n_sample_stacks++] = v[4];
		if (tc->sample)
			tc->sample(tc->user, (int64_t)v[0], v[1], v[2], v[3]);
		tc->samples++;
	}
}

static void read_events(struct tc_thread *t, int64_t time, const uint8_t *limit)
{
	while (at < limit && !*tc->err) {
		struct tc_ev e = { .id = *at++ };
		int n = arity(e.id);

		if (n < 0) {
			tc_fail("event %d is none that may be here", e.id);
			return;
		}
		time += (int64_t)varint(limit);
		e.time = time;
		for (int i = 0; i < n; i++)
			e.a[i] = varint(limit);
		if (t->n == t->cap) {
			t->cap = t->cap ? 2 * t->cap : 256;
			t->ev = realloc(t->ev, t->cap * sizeof *t->ev);
		}
		t->ev[t->n++] = e;
	}
}

static void read_batch(void)
{
	uint64_t generation, m, time, size;
	const uint8_t *limit;
	struct tc_thread *t;

	if (*at++ != 1) {
		tc_fail("no batch where one is expected");
		return;
	}
	generation = varint(end);
	m = varint(end);
	time = varint(end);
	size = varint(end);
	if (generation != 1)
		tc_fail("generation %llu", (unsigned long long)generation);
	if (size > 65536 || size > (size_t)(end - at))
		tc_fail("a batch of %llu bytes", (unsigned long long)size);
	if (*tc->err || !size)
		return;
	tc->batches++;
	limit = at + size;
	switch (*at) {
	case 4:
		at++;
		read_strings(limit);
		break;
	case 2:
		at++;
		read_stacks(limit);
		break;
	case 6:
		at++;
		read_samples(limit);
		break;
	case 8:
		at++;
		if (varint(limit) != 1000000000 || at != limit)
			tc_fail("a frequency that is not one of nanoseconds");
		frequencies++;
		break;
	default:
		t = tc_thread(m);
		if (t)
			read_events(t, (int64_t)time, limit);
	}
}

void tc_forget(void)
{
	for (size_t i = 0; i < tc_n_threads; i++)
		free(tc_threads[i].ev);
	for (uint64_t i = 0; i < ids; i++) {
		free(strings[i]);
		strings[i] = NULL;
		stacks[i] = false;
	}
	tc_n_threads = n_frame_strings = n_sample_stacks = 0;
	ids = 0;
	frequencies = 0;
}

const char *tracecheck_string(uint64_t id)
{
	return id && id < TC_IDS && strings[id] ? strings[id] : "";
}

bool tc_read(const void *bytes, size_t len)
{
	at = bytes;
	end = at + len;
	if (len < 16 || memcmp(at, "go 1.23 trace\0\0\0", 16) != 0)
		tc_fail("no header");
	else
		at += 16;
	while (at < end && !*tc->err)
		read_batch();
	if (frequencies != 1)
		tc_fail("%d frequencies", frequencies);
	for (size_t i = 0; i < n_frame_strings; i++)
		if (!tc_is_string(frame_strings[i]))
			tc_fail("a frame names a string that is not there");
	for (size_t i = 0; i < n_sample_stacks; i++)
		if (!tc_is_stack(sample_stacks[i]))
			tc_fail("a CPU sample names a stack that is not there");
	return !*tc->err;
}
