/* overflow.c - a goroutine that uses up its stack as soon as the instance runs. */
#include <weft.h>

#pragma GCC diagnostic ignored "-Winfinite-recursion"
static __attribute__((noinline)) int deeper(volatile char *from, int n)
{
	volatile char frame[200] = { 0 };

	frame[n % 200] = from[0];
	return n + deeper(frame, n + 1) + frame[3];
}

static __attribute__((noinline)) void without_end(void *arg)
{
	volatile char frame[1] = { 0 };

	(void)arg;
	(void)deeper(frame, 0);
}

static int overflow_run(void *state)
{
	(void)state;
	return weft_go(without_end, NULL);
}

WEFT_PLUGIN(.name = "overflow", .version = "1", .about = "uses up a stack", .run = overflow_run);
