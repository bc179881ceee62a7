#!/bin/bash
# The version: RELEASE in a tree without git, a tag's in one, and always a number for pkg-config.
set -eu
mkdir "$TMP/tree"
cp -r Makefile runtime systemd tests daemon conf proto http "$TMP/tree/"
cd "$TMP/tree"
version() {
	"$MAKE" -s B=b b/gen/version.h b/weft.pc
	sed -n 's/^#define WEFT_VERSION "\(.*\)"$/\1/p; s/^Version: //p' b/gen/version.h b/weft.pc | tr '\n' ' '
}
release=$(sed -n 's/^RELEASE := //p' Makefile)
expect() { # GLOB
	local got
	got=$(version)
	# shellcheck disable=SC2053 # a pattern is meant
	[[ $got == $1 ]] || { echo "version is \"$got\", expected \"$1\""; exit 1; }
}
expect "$release $release "
if command -v git >/dev/null; then
	git=(git -c user.name=t -c user.email=t@localhost)
	# A repository around the tree is not the tree's own.
	git init -q ..
	expect "$release $release "
	git init -q .
	echo '/b/' >.gitignore
	git add . && "${git[@]}" commit -qm first
	expect "$release-g[0-9a-f]* $release "
	echo >>.gitignore
	expect "$release-g*-dirty $release "
	git checkout -q .gitignore
	"${git[@]}" tag -a v3.4.5 -m v3.4.5
	expect '3.4.5 3.4.5 '
fi
