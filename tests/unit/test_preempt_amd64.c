/* test_preempt_amd64.c - whoever is interrupted by signal finds all that code can be using as it was. */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "retake.h"
#include "rtest.h"

static _Atomic bool stop;
static _Atomic int n_wrong, n_moves;

struct state {
	uint64_t vec[3][8];
	uint64_t gpr[6];
	uint64_t red_zone, mask;
	uint64_t x87[2]; /* as doubles: compared bit by bit */
	uint32_t mxcsr;
	uint16_t cw, pad;
	uint64_t flags;
};

static bool have_avx512;

static uint64_t bits_of(double d)
{
	uint64_t bits;

	memcpy(&bits, &d, sizeof bits);
	return bits;
}

/* Load all of it from *in, spin, store all of it to *out. */
#define SPIN                                                                                                           \
	"1: decq %%rcx\n"                                                                                              \
	"jnz 1b\n"
#define LOAD                                                                                                           \
	"movq -120(%%rsp), %%rax\n"                                                                                    \
	"pushq %%rax\n" /* what the compiler may have there */                                                         \
	"pushq %%rbx\n"                                                                                                \
	"subq $128, %%rsp\n"                                                                                           \
	"movq 240(%%rdi), %%rax\n"                                                                                     \
	"movq %%rax, -120(%%rsp)\n"                                                                                    \
	"fninit\n"                                                                                                     \
	"fldl 256(%%rdi)\n"                                                                                            \
	"fldl 264(%%rdi)\n"                                                                                            \
	"fldcw 276(%%rdi)\n"                                                                                           \
	"ldmxcsr 272(%%rdi)\n"                                                                                         \
	"movq 192(%%rdi), %%rax\n"                                                                                     \
	"movq 200(%%rdi), %%rbx\n"                                                                                     \
	"movq 208(%%rdi), %%rdx\n"                                                                                     \
	"movq 216(%%rdi), %%r8\n"                                                                                      \
	"movq 224(%%rdi), %%r12\n"                                                                                     \
	"movq 232(%%rdi), %%r15\n"                                                                                     \
	"std\n"
#define STORE                                                                                                          \
	"movq %%rax, 192(%%rsi)\n"                                                                                     \
	"pushfq\n"                                                                                                     \
	"popq %%rax\n"                                                                                                 \
	"cld\n"                                                                                                        \
	"andq $0x400, %%rax\n"                                                                                         \
	"movq %%rax, 280(%%rsi)\n"                                                                                     \
	"movq %%rbx, 200(%%rsi)\n"                                                                                     \
	"movq %%rdx, 208(%%rsi)\n"                                                                                     \
	"movq %%r8, 216(%%rsi)\n"                                                                                      \
	"movq %%r12, 224(%%rsi)\n"                                                                                     \
	"movq %%r15, 232(%%rsi)\n"                                                                                     \
	"stmxcsr 272(%%rsi)\n"                                                                                         \
	"fnstcw 276(%%rsi)\n"                                                                                          \
	"fstpl 264(%%rsi)\n"                                                                                           \
	"fstpl 256(%%rsi)\n"                                                                                           \
	"fninit\n"                                                                                                     \
	"pushq $0x1f80\n"                                                                                              \
	"ldmxcsr (%%rsp)\n"                                                                                            \
	"addq $8, %%rsp\n"                                                                                             \
	"movq -120(%%rsp), %%rax\n"                                                                                    \
	"movq %%rax, 240(%%rsi)\n"                                                                                     \
	"addq $128, %%rsp\n"                                                                                           \
	"popq %%rbx\n"                                                                                                 \
	"popq %%rax\n"                                                                                                 \
	"movq %%rax, -120(%%rsp)\n"
#define USED "rax", "rdx", "r8", "r12", "r15", "cc", "memory"
_Static_assert(offsetof(struct state, gpr) == 192 && offsetof(struct state, red_zone) == 240 &&
		       offsetof(struct state, x87) == 256 && offsetof(struct state, mxcsr) == 272 &&
		       offsetof(struct state, cw) == 276 && offsetof(struct state, flags) == 280,
	       "the assembly knows them");

static __attribute__((noinline, target("avx512f"))) void spin_avx512(const struct state *in, struct state *out,
								     uint64_t n)
{
	__asm__ __volatile__("vmovdqu64 (%%rdi), %%zmm3\n"
			     "vmovdqu64 64(%%rdi), %%zmm17\n"
			     "vmovdqu64 128(%%rdi), %%zmm31\n"
			     "movl 248(%%rdi), %%eax\n"
			     "kmovw %%eax, %%k3\n" LOAD SPIN "vmovdqu64 %%zmm3, (%%rsi)\n"
			     "vmovdqu64 %%zmm17, 64(%%rsi)\n"
			     "vmovdqu64 %%zmm31, 128(%%rsi)\n" STORE "kmovw %%k3, %%eax\n"
			     "movl %%eax, 248(%%rsi)\n"
			     "vzeroupper\n"
			     : "+c"(n)
			     : "D"(in), "S"(out)
			     : USED, "xmm3", "xmm17", "xmm31", "k3");
}

static __attribute__((noinline)) void spin_sse(const struct state *in, struct state *out, uint64_t n)
{
	memcpy(out, in, sizeof *out); /* what is not there is right */
	__asm__ __volatile__("movdqu (%%rdi), %%xmm3\n"
			     "movdqu 64(%%rdi), %%xmm12\n" LOAD SPIN "movdqu %%xmm3, (%%rsi)\n"
			     "movdqu %%xmm12, 64(%%rsi)\n" STORE
			     : "+c"(n)
			     : "D"(in), "S"(out)
			     : USED, "xmm3", "xmm12");
}

static void uses_everything(void *arg)
{
	uint64_t rng = weft_goid() * 7919 + 1;
	int tid = gettid();

	(void)arg;
	while (!stop) {
		struct state in, out;

		memset(&in, 0, sizeof in);
		memset(&out, 0, sizeof out);
		for (size_t i = 0; i < sizeof in.vec / 8; i++)
			(&in.vec[0][0])[i] = rtest_random(&rng);
		for (int i = 0; i < 6; i++)
			in.gpr[i] = rtest_random(&rng);
		in.red_zone = rtest_random(&rng);
		in.mask = rtest_random(&rng) & 0xffff;
		in.x87[0] = bits_of((double)(rtest_random(&rng) >> 20));
		in.x87[1] = bits_of((double)(rtest_random(&rng) >> 20));
		in.mxcsr = rtest_random(&rng) % 2 ? 0x1f80 : 0x7f80; /* rounding: nearest, to zero */
		in.cw = rtest_random(&rng) % 2 ? 0x37f : 0xf7f;
		in.flags = 0x400; /* the direction */
		if (have_avx512)
			spin_avx512(&in, &out, 20000);
		else
			spin_sse(&in, &out, 20000);
		n_wrong += memcmp(&in, &out, sizeof in) != 0;
		if (rtest_random(&rng) % 64 == 0) {
			/* from which it comes back without a P, to another thread */
			(void)rt_section_begin(rt_enter(rt_self()), __builtin_frame_address(0),
					       (uintptr_t)__builtin_dwarf_cfa(), true);
			usleep(200);
			rt_leave(rt_section_leave(rt_self()));
			n_moves += gettid() != tid;
			tid = gettid();
		}
	}
}

#define WANTED 100000

/* As sysmon does, but all the time. */
static void ask_all(void)
{
	for (uint32_t i = 0; i < ld_acq(&rt_n_ms); i++) {
		struct m *m = ld_acq(&rt_ms[i]);

		if (m && ld(&m->tid) && ld(&m->own) == RT_OWNED && ld(&m->cur) != &m->g0 && !ld(&m->preempt))
			rt_preempt_ask(m);
	}
}

START_TEST(an_interrupted_goroutine_has_lost_nothing)
{
	struct weft_counters c = { 0 };
	int64_t until = weft_now() + 140 * WEFT_SEC;

	have_avx512 = __builtin_cpu_supports("avx512f");
	rt_preempt_program = true;
	rt_slice_ns = INT64_MAX;
	rtest_begin(2);
	for (int i = 0; i < 8; i++)
		weft_go_in(inst, uses_everything, NULL);
	for (int i = 0; c.preempted < WANTED && n_wrong == 0 && weft_now() < until; i++) {
		ask_all();
		if (i % 64 == 0)
			weft_read_counters(&c);
	}
	stop = true;
	rtest_wait_gone();
	ck_assert_int_eq(n_wrong, 0);
	ck_assert_uint_ge(c.preempted, WANTED);
	ck_assert_int_gt(n_moves, 0);
	rtest_end();
}
END_TEST

Suite *test_preempt_amd64(void);
Suite *test_preempt_amd64(void)
{
	Suite *s = suite_create("preempt_amd64");
	TCase *t = tcase_create("preempt_amd64");

	tcase_set_timeout(t, 180);
	tcase_set_tags(t, "interrupts");
	tcase_add_test(t, an_interrupted_goroutine_has_lost_nothing);
	suite_add_tcase(s, t);
	return s;
}
