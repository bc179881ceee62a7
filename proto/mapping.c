/* mapping.c - see mapping.h. */
#include "mapping.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

static int mapping_add(struct mapping_list *l, const struct weft_module *m)
{
	if (array_room(&l->v, l->n, &l->cap, sizeof *l->v) < 0)
		return -ENOMEM;
	l->v[l->n++] = m;
	return 0;
}

int mapping_begin(struct mapping_list *l, uint64_t main_pc)
{
	const struct weft_modules *ms = weft_read_modules();

	for (size_t i = 0; ms && i < ms->n; i++)
		if (main_pc >= ms->m[i].start && main_pc < ms->m[i].limit)
			return mapping_add(l, &ms->m[i]);
	return 0;
}

int64_t mapping_id(struct mapping_list *l, const struct weft_module *m)
{
	if (!m)
		return 0;
	/* A newer module table describes the same object by another struct. */
	for (uint32_t i = 0; i < l->n; i++)
		if (l->v[i] == m || (l->v[i]->start == m->start && l->v[i]->bias == m->bias))
			return i + 1;
	if (mapping_add(l, m) < 0)
		return -ENOMEM;
	return l->n;
}

void mapping_free(struct mapping_list *l)
{
	free(l->v);
	*l = (struct mapping_list){ 0 };
}

const char *mapping_path(const struct weft_module *m, char *buf, size_t cap)
{
	static const char deleted[] = " (deleted)";
	size_t n;

	snprintf(buf, cap, "%s", m->path);
	n = strlen(buf);
	if (n > sizeof deleted - 1 && strcmp(buf + n - (sizeof deleted - 1), deleted) == 0)
		buf[n - (sizeof deleted - 1)] = 0;
	utf8_clean(buf, strlen(buf));
	return buf;
}

const char *mapping_build_id(const struct weft_module *m, char *buf)
{
	size_t n = m->build_id_len < WEFT_BUILD_ID_MAX ? m->build_id_len : WEFT_BUILD_ID_MAX;

	buf[0] = 0;
	for (size_t i = 0; i < n; i++)
		snprintf(buf + 2 * i, 3, "%02x", m->build_id[i]);
	return buf;
}
