#!/bin/bash
# The man pages are clean by mandoc, and every section 8, 5 page that the unit names exists.
# runs beside others
set -eu
mapfile -t pages < <(find daemon conf runtime -name '*.[1-8]')
[ ${#pages[@]} -gt 0 ] || { echo "no man pages"; exit 1; }
mandoc -T lint -W warning "${pages[@]}"
read -ra named < <(sed -n 's/^Documentation=//p' systemd/weftd.service.in)
for page in "${named[@]}"; do
	name=${page#man:}
	name=${name%(*}.$(tr -dc 1-8 <<<"${page##*(}")
	printf '%s\n' "${pages[@]}" | grep -q "/$name\$" || { echo "the unit names $page, there is no $name"; exit 1; }
done
