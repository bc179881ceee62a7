#!/bin/bash
# Random goroutine graphs on random schedules: nothing is lost, nothing is done twice, nobody is forgotten.
# limit: 900
set -eu
exec "$B/stress"
