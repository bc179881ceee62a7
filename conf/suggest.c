/* suggest.c - which known name did somebody mean? */
#include "conf_impl.h"

#include <ctype.h>
#include <string.h>

enum { NAME_MAX_LEN = 63 };

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned m = a < b ? a : b;

	return m < c ? m : c;
}

static bool same(char a, char b)
{
	return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Three rows of the usual table are enough: a swap looks two rows back. */
unsigned conf_distance(const char *a, const char *b)
{
	unsigned rows[3][NAME_MAX_LEN + 1], *two = rows[0], *one = rows[1], *now = rows[2];
	size_t la = strlen(a), lb = strlen(b);

	if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
		return NAME_MAX_LEN + 1;
	for (size_t j = 0; j <= lb; j++)
		one[j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned *t = two;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			now[j] = least(one[j] + 1, now[j - 1] + 1, one[j - 1] + !same(a[i - 1], b[j - 1]));
			if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
				now[j] = least(now[j], two[j - 2] + 1, now[j]);
		}
		two = one;
		one = now;
		now = t;
	}
	return one[lb];
}

bool conf_similar(const char *have, const char *want)
{
	size_t len = strlen(want);

	return conf_distance(have, want) <= (len <= 4 ? 1 : len <= 8 ? 2 : 3);
}
