/* frame.c - see frame.h. */
#include "frame.h"

#include <string.h>

#include "pprof.h"
#include "symbols.h"

static const char *const pseudo_name[] = {
	[PPROF_PC_SYSTEM] = "weft._System", [PPROF_PC_EXTERNAL] = "weft._ExternalCode",
	[PPROF_PC_LOST] = "weft._Lost",     [PPROF_PC_OVERFLOW] = "weft._Overflow",
	[PPROF_PC_SCHED] = "weft._Sched",
};

bool frame_is_pseudo(uint64_t pc)
{
	return pc >= PPROF_PC_SYSTEM && pc <= PPROF_PC_SCHED;
}

struct frame frame_at(uint64_t pc)
{
	struct symbol s;

	if (frame_is_pseudo(pc))
		return (struct frame){ .name = pseudo_name[pc], .entry = pc, .file = "", .named = true };
	s = symbols_at(pc);
	return (struct frame){ .name = s.name,
			       .entry = s.start,
			       .file = "",
			       .module = s.module,
			       .exact = s.exact,
			       .named = s.module != NULL,
			       .internal = s.internal,
			       .root = s.internal && (!strcmp(s.name, "rt_g_main") || !strcmp(s.name, "rt_g_entry")) };
}

int frame_calls(const uint64_t *pc, int depth, bool exact, uint64_t *call)
{
	int n = 0;

	for (int i = 0; i < depth && n < WEFT_STACK_MAX; i++) {
		if (pc[i] == 0)
			continue;
		call[n++] = frame_is_pseudo(pc[i]) || (exact && i == 0) ? pc[i] : pc[i] - 1;
	}
	return n;
}
