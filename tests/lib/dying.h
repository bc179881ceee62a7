/* dying.h - for tests of how the process ends: a child that starts a runtime and breaks it, and what its parent
 * reads of its stderr and its wait status. */
#ifndef WEFT_TESTS_DYING_H
#define WEFT_TESTS_DYING_H

#include <sys/types.h>

#include "rtest.h"

/* --- The child --- */

extern struct weft_host_opts dying_opts;      /* 2 Ps, names by dying_names */
extern volatile char *volatile dying_nowhere; /* NULL: *dying_nowhere faults */
extern weft_fn victim;                        /* of break_goroutine() */

/* Functions of the test that dumps are to name, by their start addresses; ended by { NULL, NULL }. */
struct dying_name {
	const void *fn;
	const char *name;
};
extern const struct dying_name *dying_names;

/* Start it, with goroutines that wait, and whose stacks can be read. */
void run_runtime(int n_waiting);
/* Run victim on a goroutine beside two that wait. */
void break_goroutine(void);
/* Victims. */
void null_pointer(void *arg);
void aborts(void *arg);
void asserts(void *arg);
void recurse(void *arg); /* until the stack ends */

/* --- The parent --- */

extern char *dying_text; /* what the child wrote to stderr */

int64_t now_ms(void);
pid_t spawn(void (*fn)(void), int err);
/* The wait status; fails the test when the child lives longer. */
int status_within(pid_t pid, int64_t ms);
/* Run fn in a child, collect its stderr to the end, return its wait status. */
int outcome(void (*fn)(void));
/* outcome() of break_goroutine() with this victim is death by sig. */
void dies_of(int sig, weft_fn fn);
void says(const char *what);
void does_not_say(const char *what);
int count_of(const char *what);
/* The goroutine that the headline names comes first among the dumped. */
void names_goroutine_first(void);
/* Those of break_goroutine(). */
void shows_those_who_wait(void);

#endif
