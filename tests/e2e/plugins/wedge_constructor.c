/* wedge_constructor.c - a plugin whose constructor never returns: dlopen() hangs in it, holding the
 * dynamic loader's lock. */
#include <weft.h>

static volatile uint64_t spins;

static __attribute__((constructor)) void wedge_in_constructor(void)
{
	for (;;)
		spins = spins + 1;
}

static int nothing(void *state)
{
	(void)state;
	return 0;
}

WEFT_PLUGIN(.name = "wedge_constructor", .version = "1", .about = "hangs while it is loaded", .run = nothing);
