/* test_debuginfo.c - debug information and symbol tables that are damaged: they cost frames, no more. */
#include <check.h>
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "debuginfo.h"
#include "pprof_impl.h"
#include "rtest.h"
#include "sofile.h"
#include "symtab.h"

static const char source[] =
	"typedef void fn(void);\n"
	"struct node { int n; struct node *next; };\n"
	"static inline __attribute__((always_inline)) void inner(fn *f, struct node *x)\n"
	"{ f(); x->n++; __asm__ volatile(\"\"); }\n"
	"void outer(fn *f, struct node *x)\n"
	"{ inner(f, x); for (int i = 0; i < x->n; i++) inner(f, x->next); }\n"
	"int many(int a) { switch (a) { case 1: return 3; case 2: return 7; default: return a * a; } }\n";

static char path[256];
static unsigned char *file; /* whole */
static size_t size;
static struct weft_module module;

static void read_file(void)
{
	int fd = open(path, O_RDONLY);
	struct stat st;
	const Elf64_Ehdr *e;
	const Elf64_Phdr *ph;

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	size = (size_t)st.st_size;
	file = malloc(size);
	ck_assert_ptr_nonnull(file);
	ck_assert_int_eq(read(fd, file, size), st.st_size);
	close(fd);
	e = (const void *)file;
	ph = (const void *)(file + e->e_phoff);
	for (int i = 0; i < e->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_flags & PF_X)
			module = (struct weft_module){ .path = path,
						       .start = ph[i].p_vaddr,
						       .limit = ph[i].p_vaddr + ph[i].p_memsz,
						       .offset = ph[i].p_offset };
	ck_assert_uint_gt(module.limit, module.start);
}

/* All that can be asked of n bytes that are said to be this object; how many frames there were. */
static int ask(const unsigned char *bytes, size_t n)
{
	static struct debug_frames out;
	const struct symtab *t;
	struct debug *d;
	int frames = 0, rc;

	module.fd = memfd_create("damaged", MFD_CLOEXEC);
	ck_assert_int_eq(write(module.fd, bytes, n), (ssize_t)n);
	d = debug_open(&module);
	ck_assert_ptr_nonnull(d);
	for (uint64_t at = module.start; at < module.limit; at += 5) {
		while ((rc = debug_at(d, at, pprof_now() + 10 * WEFT_MS, &out)) > 0)
			;
		for (int i = 0; rc == 0 && i < out.n; i++)
			frames += strlen(out.f[i].file) + (out.f[i].name ? strlen(out.f[i].name) : 0) > 0;
	}
	debug_close(d);
	ck_assert_int_eq(symtab_read(&module, &t), 0);
	for (uint64_t at = module.start; at < module.limit; at += 5) {
		const struct sym *s = symtab_at(t, at);

		ck_assert(!s || strlen(t->names + s->name) < 5000);
	}
	symtab_free(t);
	close(module.fd);
	return frames;
}

/* A byte of what is read: mostly of debug information and symbols, else of the headers. */
static size_t some_place(uint64_t *random)
{
	const Elf64_Ehdr *e = (const void *)file;
	const Elf64_Shdr *sh = (const void *)(file + e->e_shoff);
	const char *names = (const char *)file + sh[e->e_shstrndx].sh_offset;

	while (rtest_random(random) % 4) {
		const Elf64_Shdr *s = &sh[rtest_random(random) % e->e_shnum];

		if (s->sh_size && (!strncmp(names + s->sh_name, ".debug", 6) || s->sh_type == SHT_SYMTAB ||
				   s->sh_type == SHT_STRTAB || s->sh_type == SHT_RELA))
			return s->sh_offset + rtest_random(random) % s->sh_size;
	}
	return e->e_shoff + rtest_random(random) % (e->e_shnum * sizeof *sh);
}

static void damage(unsigned char *bytes, uint64_t *random)
{
	for (uint64_t n = 1 + rtest_random(random) % 8; n > 0; n--) {
		size_t at = some_place(random);
		uint64_t how = rtest_random(random);

		bytes[at] = how % 4 == 0 ? 0 : how % 4 == 1 ? 0xff : (unsigned char)(how >> 8);
	}
}

/* SEED=N for others than those that run each time; WEFT_STRESS_SECONDS for longer. */
START_TEST(damaged_objects_cost_frames_and_nothing_else)
{
	static const char *const flags[] = { "-O2", "-O2 -gdwarf-4", "-O2 -gz" };
	uint64_t random = getenv("SEED") ? rtest_seed() : 1;
	const char *longer = getenv("WEFT_STRESS_SECONDS");
	int64_t until = pprof_now() + (longer ? atoll(longer) : 0) * WEFT_SEC;
	unsigned char *copy;

	sofile_build(source, flags[_i], path, sizeof path);
	read_file();
	copy = malloc(size);
	ck_assert_ptr_nonnull(copy);
	ck_assert_int_gt(ask(file, size), 10);
	for (int i = 0; i < 200 || pprof_now() < until; i++) {
		memcpy(copy, file, size);
		damage(copy, &random);
		(void)ask(copy, i % 10 ? size : rtest_random(&random) % size);
	}
	free(copy);
	free(file);
	sofile_remove(path);
}
END_TEST

/* 60 blocks, each of which claims to be followed by its own first child: 2^60 ways to the last. */
static const char endless[] =
	"__asm__(\".section .debug_abbrev,\\\"\\\",@progbits\\n\"\n"
	"\".byte 1,0x11,1,0x13,5,0x11,1,0x12,7,0,0\\n\" /* a unit of a language and with code */\n"
	"\".byte 2,0x0b,1,1,0x13,0,0,0\\n\" /* a block with a sibling */\n"
	"\".section .debug_info,\\\"\\\",@progbits\\n\"\n"
	"\"0: .long 9f-1f\\n1: .value 4\\n.long 0\\n.byte 8\\n\"\n"
	"\".byte 1\\n.value 0x1d\\n.quad outer\\n.quad 16\\n\"\n"
	"\".rept 60\\n.byte 2\\n.long 5f-0b\\n5:\\n.endr\\n\"\n"
	"\".rept 62\\n.byte 0\\n.endr\\n9:\\n.text\\n\");\n"
	"void outer(void) { __asm__ volatile(\".skip 16, 0x90\"); }\n";

START_TEST(entries_that_lead_to_the_same_children_again_come_to_an_end)
{
	sofile_build(endless, "-O2 -g0", path, sizeof path);
	read_file();
	(void)ask(file, size);
	free(file);
	sofile_remove(path);
}
END_TEST

Suite *test_debuginfo(void);
Suite *test_debuginfo(void)
{
	Suite *s = suite_create("debuginfo");
	TCase *tc = tcase_create("debuginfo");

	tcase_set_timeout(tc, getenv("WEFT_STRESS_SECONDS") ? 3600 : 100);
	tcase_add_loop_test(tc, damaged_objects_cost_frames_and_nothing_else, 0, 3);
	tcase_add_test(tc, entries_that_lead_to_the_same_children_again_come_to_an_end);
	suite_add_tcase(s, tc);
	return s;
}
