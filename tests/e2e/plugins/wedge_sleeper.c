/* wedge_sleeper.c - a plugin whose constructor never returns and needs no CPU for it. */
#include <time.h>

#include <weft.h>

static __attribute__((constructor)) void wedge_in_sleep(void)
{
	for (;;)
		nanosleep(&(struct timespec){ .tv_sec = 3600 }, NULL);
}

static int nothing(void *state)
{
	(void)state;
	return 0;
}

WEFT_PLUGIN(.name = "wedge_sleeper", .version = "1", .about = "hangs while it is loaded", .run = nothing);
