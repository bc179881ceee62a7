/* signals.c - what the daemon does about signals.
 *
 *	TERM INT   stop in order; the second one exits at once, in the handler
 *	HUP        noted; the loop logs that there is no live reload
 *	USR1       dump of all goroutines, written by the logger thread
 *	USR2       a snapshot of the last seconds, by the flight recorder's thread
 *	QUIT       dump of all goroutines, in the handler, then death by SIGQUIT
 *	PIPE       nothing: writers get EPIPE
 *
 * Handlers do the least: they note the signal and write to an eventfd that the loop watches.  What must
 * work although the loop is stuck (QUIT, the second TERM, USR1, USR2) they do themselves.
 *
 * The handlers are installed before the first thread exists and run on the alternate stack where the
 * thread has one, since a thread may be standing on a goroutine's small stack.  No signal is blocked
 * anywhere, nor ignored: what a plugin starts as a process inherits masks and ignored signals. */
#include "flight.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DUMP_SECONDS 10 /* a dump into a pipe that nobody reads must not keep the process alive */

static int event_fd = -1;
static _Atomic unsigned pending;
static _Atomic int stop_signo;
static _Atomic unsigned stopping; /* a stop was asked for */
static _Atomic unsigned quitting;

static const int handled[] = { SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT, SIGPIPE };
#define N_HANDLED (sizeof handled / sizeof *handled)

/* sig */
static void note(unsigned what)
{
	uint64_t one = 1;

	atomic_fetch_or_explicit(&pending, what, memory_order_release);
	/* Fails only when 2^64 - 2 are unread: then the loop is to be woken anyway. */
	(void)!write(event_fd, &one, sizeof one);
}

/* sig: as if nobody had caught it; a core file then tells the truth. */
static void die_of(int signo)
{
	sigset_t set;

	signal(signo, SIG_DFL);
	syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signo);
	sigemptyset(&set);
	sigaddset(&set, signo);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	_exit(128 + signo);
}

/* sig */
static void on_alarm(int signo)
{
	(void)signo;
	die_of(SIGQUIT);
}

/* sig */
static void quit(void)
{
	struct sigaction late = { .sa_handler = on_alarm, .sa_flags = SA_ONSTACK };

	if (atomic_exchange(&quitting, 1))
		return; /* the first one is at it */
	sigaction(SIGALRM, &late, NULL);
	alarm(DUMP_SECONDS);
	weft_host_dump(STDERR_FILENO, "SIGQUIT: all goroutines; the daemon ends");
	die_of(SIGQUIT);
}

/* sig */
static void on_signal(int signo)
{
	int saved = errno;

	switch (signo) {
	case SIGTERM:
	case SIGINT:
		if (atomic_exchange(&stopping, 1))
			_exit(1);
		atomic_store(&stop_signo, signo);
		note(SIGNALS_STOP);
		break;
	case SIGHUP:
		note(SIGNALS_RELOAD);
		break;
	case SIGUSR1:
		logger_dump();
		break;
	case SIGUSR2:
		if (!flight_signal())
			note(SIGNALS_FLIGHT);
		break;
	case SIGQUIT:
		quit();
		break;
	}
	errno = saved;
}

int signals_init(void)
{
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_ONSTACK | SA_RESTART };
	sigset_t ours;

	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0)
		return -errno;
	sigemptyset(&ours);
	for (size_t i = 0; i < N_HANDLED; i++)
		sigaddset(&ours, handled[i]);
	act.sa_mask = ours;
	sigdelset(&act.sa_mask, SIGQUIT); /* a dump is wanted of a stuck handler too */
	for (size_t i = 0; i < N_HANDLED; i++)
		if (sigaction(handled[i], &act, NULL) < 0)
			return -errno;
	/* The one who started us may have left some blocked. */
	pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
	return 0;
}

int signals_fd(void)
{
	return event_fd;
}

unsigned signals_take(int *signo)
{
	uint64_t n;

	(void)!read(event_fd, &n, sizeof n); /* empty: a wake-up that was taken already */
	*signo = atomic_load(&stop_signo);
	return atomic_exchange_explicit(&pending, 0, memory_order_acquire);
}
