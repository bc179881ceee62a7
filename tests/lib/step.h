/* step.h - look at a thread at every instruction, or at very many. */
#ifndef WEFT_TESTS_STEP_H
#define WEFT_TESTS_STEP_H

/* look(context), a ucontext_t's, is what the calling thread's handler of SIGTRAP does, on its alternate stack. */
void step_start(void (*look)(const void *context));
/* fn() is looked at; where the processor has no single step for processes: called again until there were enough
 * looks, which *looks counts. */
void step_through(void (*fn)(void), const unsigned long *looks);

#if defined(__x86_64__)
#define STEP_BY_ONE 1
#define STEP_LOOKS(n) ((unsigned long)(n))
#define STEP_AROUND(n) ((unsigned long)(n))
#else
#define STEP_BY_ONE 0
/* How many looks there are where single steps would be n, or more, */
#define STEP_LOOKS(n) ((unsigned long)(n) / 10)
/* and how many of those may be around what matters. */
#define STEP_AROUND(n) STEP_LOOKS(10 * (n))
#endif

#endif
