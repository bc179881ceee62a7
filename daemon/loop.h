/* loop.h - the control loop of the main thread, over libuv.
 *
 * One object, one thread: whoever calls loop_run() is the loop thread.  Watches, timers, pool tasks and
 * posts are had through loop_http(); the daemon uses the same functions for its signals and timers as
 * the debug server does for its own.  No other file includes uv.h. */
#ifndef WEFT_DAEMON_LOOP_H
#define WEFT_DAEMON_LOOP_H

struct http_loop;
struct loop;

struct loop *loop_new(void); /* NULL: no memory, or no descriptors */
/* The functions of this loop (http.h says which may be called from where).  Lives as long as the loop. */
const struct http_loop *loop_http(struct loop *l);
/* Serve until loop_stop().  May be called again after that. */
void loop_run(struct loop *l);
/* From any thread, any number of times. */
void loop_stop(struct loop *l);
/* After loop_run() has returned, on the same thread.  Watches and timers that are left are dropped; waits
 * for pool tasks that are out, and calls their done(). */
void loop_free(struct loop *l);

#endif
