/* often.h - checks of what happens a hundred thousand times in one test. check's own tell the runner where they
 * stand each time, which costs more than what is tested; these only when they fail. */
#ifndef WEFT_TESTS_OFTEN_H
#define WEFT_TESTS_OFTEN_H

#include <check.h>

#define often(expr)                                                                                                    \
	do {                                                                                                           \
		if (!(expr))                                                                                           \
			ck_abort_msg("not so: %s", #expr);                                                             \
	} while (0)

#define often_eq(got, want)                                                                                            \
	do {                                                                                                           \
		long long got_ = (long long)(got), want_ = (long long)(want);                                          \
                                                                                                                       \
		if (got_ != want_)                                                                                     \
			ck_abort_msg("%s is %lld, %s is %lld", #got, got_, #want, want_);                              \
	} while (0)

#endif
