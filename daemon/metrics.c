/* metrics.c - what only the daemon knows: how its instances and its log are. */
#include "flight.h"

#include "expo.h"

static const char *const phase_names[] = {
	[INSTANCE_NEW] = "new",         [INSTANCE_LOADING] = "loading",   [INSTANCE_INIT] = "init",
	[INSTANCE_RUNNING] = "running", [INSTANCE_STOPPING] = "stopping", [INSTANCE_ENDING] = "ending",
	[INSTANCE_FINI] = "fini",       [INSTANCE_GONE] = "gone",
};

void metrics_write(void *user, void *buf)
{
	const struct weftd *d = user;
	struct buf *out = buf;

	expo_family(out, "weft_instance_phase", EXPO_GAUGE,
		    "Where in its life a configured instance is; 1 for that phase.");
	for (size_t i = 0; i < d->n_instances; i++)
		expo_u64(out, "weft_instance_phase", 1, "instance", d->instances[i].conf->name, "phase",
			 phase_names[atomic_load(&d->instances[i].phase)], (char *)NULL);
	expo_family(out, "weft_log_lines_dropped_total", EXPO_COUNTER,
		    "Log lines dropped because stderr was not read fast enough.");
	expo_u64(out, "weft_log_lines_dropped_total", logger_dropped(), (char *)NULL);
	flight_metrics(out);
}
