/* unwind_code.h - unwind_code_*.c for unwind_guess.c: what a search for lost frames has to know of a processor.  sig */
#ifndef WEFT_RT_UNWIND_CODE_H
#define WEFT_RT_UNWIND_CODE_H

#include "unwind_table.h"

enum rt_guess { RT_GUESS_NONE, RT_GUESS_THROUGH, RT_GUESS_LIKELY, RT_GUESS_SURE };

/* Read code, which may be gone by now: false. */
bool rt_code_peek(uintptr_t at, void *to, size_t n);
/* Is there a call instruction that returns to ra (LIKELY), and does it surely call `function` (SURE; 0: not known)? */
enum rt_guess rt_code_rank(uintptr_t ra, uintptr_t function);
/* Stand in the caller, if its return address is the word at `at`; row: of the lost frame, or NULL.  False: it is not.
 */
bool rt_code_stand(struct rt_walk *w, const struct rt_row *row, uintptr_t at);
/* Code without a frame was interrupted, of which no table tells (a PLT stub): stand in its caller.  False: where it
 * returns to is not in a register. */
bool rt_code_link(struct rt_walk *w);

#endif
