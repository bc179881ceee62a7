/* shapes.c - the table of shapes: a new primitive is a shape more, here and nowhere else. */
#include "shapes.h"

const struct shape *const shapes[] = {
	&mesh_shape,    &pipe_shape,   &ring_shape,  &ask_shape,   &gate_shape,   &nil_shape,
	&counter_shape, &phase_shape,  &once_shape,  &sema_shape,  &tree_shape,   &sleep_shape,
	&burst_shape,   &choose_shape, &shelf_shape, &store_shape, &permit_shape, &limit_shape,
	&team_shape,    &timer_shape,  &local_shape, &wire_shape,  &place_shape,  NULL,
};
