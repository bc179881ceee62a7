/* gz.c - see gz.h. */
#include "gz.h"

#include <errno.h>
#include <string.h>

int gz_begin(struct gz *g)
{
	memset(g, 0, sizeof *g);
	/* 15 + 16: the largest window, with a gzip header. */
	if (deflateInit2(&g->z, Z_BEST_SPEED, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	g->open = 1;
	return 0;
}

static int gz_pump(struct gz *g, int flush)
{
	unsigned char chunk[16384];

	do {
		g->z.next_out = chunk;
		g->z.avail_out = sizeof chunk;
		(void)deflate(&g->z, flush); /* with room to write, it cannot fail */
		buf_add(&g->out, chunk, sizeof chunk - g->z.avail_out);
	} while (g->z.avail_out == 0);
	return g->out.failed ? -ENOMEM : 0;
}

int gz_write(struct gz *g, const void *p, size_t n)
{
	int rc = 0;

	g->z.next_in = (unsigned char *)(uintptr_t)p;
	while (n && rc == 0) {
		g->z.avail_in = n > 1u << 30 ? 1u << 30 : (unsigned)n;
		n -= g->z.avail_in;
		rc = gz_pump(g, Z_NO_FLUSH);
	}
	return rc;
}

int gz_end(struct gz *g)
{
	int rc;

	g->z.next_in = NULL;
	g->z.avail_in = 0;
	rc = gz_pump(g, Z_FINISH);
	deflateEnd(&g->z);
	g->open = 0;
	return rc;
}

void gz_abort(struct gz *g)
{
	if (g->open)
		deflateEnd(&g->z);
	g->open = 0;
	buf_free(&g->out);
}
