#!/bin/bash
# The checker itself: it sees what x86-TSO allows, nothing else, and both ways to be stuck.
# runs beside others
. tests/model/lib.sh
model litmus 'store buffering, two fences' 'store buffering, locked stores' 'store buffering, light and heavy' \
	'message passing' 'own stores' 'counts' 'spinning that ends'
finds 'store buffering'
finds 'store buffering, one fence'
finds 'store buffering, light barriers'
finds 'a lost count'
finds 'spinning that cannot end'
finds 'blocked for ever'
