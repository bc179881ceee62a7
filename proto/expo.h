/* expo.h - Prometheus text exposition 0.0.4: families with HELP and TYPE, escaped labels, shortest
 * round-trip numbers. */
#ifndef WEFT_PROTO_EXPO_H
#define WEFT_PROTO_EXPO_H

#include <stdint.h>

#include "text.h"

enum expo_type { EXPO_COUNTER, EXPO_GAUGE, EXPO_HISTOGRAM };
void expo_family(struct buf *out, const char *name, enum expo_type type, const char *help);
/* labels: name, value, name, value, ..., NULL; of the family begun last. */
void expo_value(struct buf *out, const char *name, double v, ...) __attribute__((sentinel));
void expo_u64(struct buf *out, const char *name, uint64_t v, ...) __attribute__((sentinel));

#endif
