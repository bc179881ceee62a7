/* budget.c - how many collections may run at once, in the process, whatever listener they came through.
 *
 * What is not a collection (index, metrics, health) never asks here and so always gets through.  Look-ups
 * of symbols have an allowance of their own: pprof makes one after a profile, and fails as a whole when
 * that is refused. */
#include "server.h"

bool budget_take(struct request *r, enum budget what)
{
	struct http *h = r->h;

	if (h->in_use[what] < h->opts.max_collections) {
		h->in_use[what]++;
		return true;
	}
	h->count.rejected++;
	reply_error(r, MHD_HTTP_TOO_MANY_REQUESTS,
		    "%d requests of this kind are running, which is the limit (http.max_collections); try again later",
		    h->opts.max_collections);
	reply_header(r, MHD_HTTP_HEADER_RETRY_AFTER, "1");
	return false;
}

void budget_give(struct http *h, enum budget what)
{
	if (what != BUDGET_NONE)
		h->in_use[what]--;
}
