# weft - build, run, test, install.
#
#   make                      build build/release/weftd and build/release/plugins/*.so
#   make run                  install what is missing, build, start the daemon with conf/weftd.json
#   make check                install what is missing, build, run all tests
#   make V=release|debug|asan|tsan|cov   another variant, in a folder of its own
#   make check-unit check-stress check-model check-abi check-install check-e2e     the parts of check
#   make check-all            check in three variants, lint, check-boot, check-million; the stress for minutes; check-vm check-arm64
#   make check-arm64          the unit tests, cross-built for aarch64, under emulation
#   make check-boot check-million    under a real systemd; with 1,000,000 goroutines
#   make check-vm             on Debian 12's kernel in a virtual machine
#   make bench                measure, side by side with Go
#   make lint                 format, static checks, layers, shell, man pages, units
#   make install uninstall    DESTDIR= PREFIX=/usr/local
#   make clean distclean
#
# Nothing but install writes outside build/.  One Makefile sees every dependency.

.SUFFIXES:
.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all
MAKEFLAGS += --no-builtin-rules

V       ?= release
B       ?= build/$(V)
# One name for one folder: dependencies are recorded under it.
override B := $(patsubst $(CURDIR)/%,%,$(abspath $(B)))
PREFIX  ?= /usr/local
SBINDIR ?= $(PREFIX)/sbin
LIBDIR  ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(PREFIX)/share/pkgconfig
SYSCONFDIR ?= /etc
PLUGINDIR  ?= $(LIBDIR)/weft/plugins
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d
MANDIR  ?= $(PREFIX)/share/man
DESTDIR ?=
ifeq ($(origin CC),default)
CC      := gcc
endif
ifeq ($(origin CXX),default)
CXX     := g++
endif
PKG_CONFIG ?= pkg-config
OBJCOPY ?= objcopy
PROTOC_C ?= protoc-c
INSTALL ?= install
Q       := $(if $(VERBOSE),,@)
say      = @printf '  %-7s %s\n' '$(1)' '$(2)'

# The tag, or RELEASE and the commit; RELEASE alone in a tree without a .git of its own.
RELEASE := 0.1.0
describe = $(shell [ -e .git ] && git describe $(1) --dirty 2>/dev/null)
VERSION := $(or $(patsubst v%,%,$(call describe,--tags --match 'v[0-9]*')),$(addprefix \
	   $(RELEASE)-g,$(call describe,--always --exclude '*')),$(RELEASE))
ABI     := $(shell sed -n 's/^.define WEFT_ABI_MAJOR \([0-9]*\).*/\1/p' runtime/include/weft.h)

# What tests/setup.sh had to fetch (promtool, a Go) comes before what the machine has.
export PATH := $(CURDIR)/build/tools/bin:$(PATH)

# --- Flags -------------------------------------------------------------------
# Ours are kept apart: CFLAGS and LDFLAGS stay the user's.

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition -Wvla \
        -Wundef -Wpointer-arith -Wwrite-strings -Wimplicit-fallthrough $(if $(CI),-Werror)
BASE := -std=gnu17 -D_GNU_SOURCE -pthread -fno-omit-frame-pointer -fvisibility=hidden -fno-strict-aliasing \
        -fstack-clash-protection -fno-reorder-functions -fPIE -MMD -MP
OPT.debug   := -O0 -g3 -DRT_CHECKS=1
OPT.release := -O2 -g -DRT_CHECKS=0
OPT.asan    := -O1 -g3 -DRT_CHECKS=1 -fsanitize=address,undefined -fno-sanitize-recover=all
OPT.tsan    := -O1 -g3 -DRT_CHECKS=1 -fsanitize=thread -Wno-tsan
OPT.cov     := -O0 -g3 -DRT_CHECKS=1 --coverage
$(if $(OPT.$(V)),,$(error unknown variant V=$(V): release, debug, asan, tsan or cov))

CFLAGS  ?=
LDFLAGS ?=
ALL_CFLAGS  = $(BASE) $(WARN) $(OPT.$(V)) $(CFLAGS)
ALL_LDFLAGS = $(filter -fsanitize% --coverage,$(OPT.$(V))) -pthread -pie -Wl,-z,now -Wl,--build-id $(LDFLAGS)

PKGS      := jansson libmicrohttpd libprotobuf-c libuv libdw zlib
PKG_CFLAGS = $(shell $(PKG_CONFIG) --cflags $(PKGS))
PKG_LIBS   = $(shell $(PKG_CONFIG) --libs $(PKGS))

# --- Architecture ------------------------------------------------------------
# What a folder may include is what its -I list names; tests/layers.sh catches
# the ways round it ("../", library headers).

INC.runtime := runtime runtime/read runtime/host runtime/include
INC.proto   := proto runtime/read $(B)/gen
INC.conf    := conf
INC.http    := http proto runtime/read runtime/host runtime/include
INC.daemon  := daemon conf http proto runtime/read runtime/host runtime/include $(B)/gen
INC.plugins := runtime/include
INC.tests   := tests/lib daemon conf http proto runtime runtime/read runtime/host runtime/include $(B)/gen

layer = $(if $(filter daemon/plugins/%,$(1)),plugins,$(firstword $(subst /, ,$(1))))
inc   = $(addprefix -I,$(INC.$(call layer,$(1))))

# Files named *_amd64.*, *_arm64.* are for that processor.
ARCH := $(if $(filter aarch64%,$(shell $(CC) -dumpmachine)),arm64,amd64)
ours  = $(filter-out $(addprefix %_,$(addsuffix .c,$(filter-out $(ARCH),amd64 arm64))),$(1))

SRC.runtime := $(call ours,$(wildcard runtime/*.c)) $(wildcard runtime/*_$(ARCH).S)
SRC.proto   := $(wildcard proto/*.c)
SRC.conf    := $(wildcard conf/*.c)
SRC.http    := $(wildcard http/*.c)
SRC.daemon  := $(filter-out daemon/main.c,$(wildcard daemon/*.c))
PLUGINS     := $(patsubst daemon/plugins/%.c,$(B)/plugins/%.so,$(wildcard daemon/plugins/*.c))
UNIT        := $(sort $(call ours,$(wildcard tests/unit/test_*.c)))
UNITLIB     := $(call ours,$(wildcard tests/lib/*.c))
STRESS      := $(wildcard tests/stress/*.c)

obj  = $(addprefix $(B)/obj/,$(addsuffix .o,$(basename $(1))))
LIBSRC := $(SRC.runtime) $(SRC.proto) $(SRC.conf) $(SRC.http) $(SRC.daemon)
LIBOBJ := $(call obj,$(LIBSRC)) $(B)/obj/gen/profile.pb-c.o
UNITOBJ := $(call obj,$(UNIT) $(UNITLIB) tests/unit/main.c)

all: $(B)/weftd $(PLUGINS) $(B)/weft.pc $(B)/weft-uninstalled.pc $(B)/weftd.service
.PHONY: all FORCE

# --- Rules -------------------------------------------------------------------

# A change of compiler or flags rebuilds; the file changes only when they do.
$(B)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS)' | cmp -s - $@ || echo '$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS)' >$@

$(B)/gen/version.h: FORCE
	@mkdir -p $(@D)
	@echo '#define WEFT_VERSION "$(VERSION)"' >$@.new
	@echo '#define WEFT_PLUGINDIR "$(PLUGINDIR)"' >>$@.new
	@cmp -s $@.new $@ && rm $@.new || mv $@.new $@

$(B)/gen/%.pb-c.c $(B)/gen/%.pb-c.h: proto/%.proto
	$(call say,PROTO,$<)
	@mkdir -p $(B)/gen
	$(Q)$(PROTOC_C) --proto_path=proto --c_out=$(B)/gen $<

# Every tests/unit/test_x.c defines Suite *test_x(void).
$(B)/gen/suites.h: $(UNIT)
	@mkdir -p $(@D)
	@for t in $(basename $(notdir $(UNIT))); do echo "X($$t)"; done >$@

$(B)/obj/gen/%.o: $(B)/gen/%.c $(B)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -w $(PKG_CFLAGS) -I$(B)/gen -c -o $@ $<

$(B)/obj/%.o: %.c $(B)/flags | $(B)/gen/profile.pb-c.h $(B)/gen/version.h $(B)/gen/suites.h
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $(call inc,$<) -c -o $@ $<

# The runtime's code stands in a section of its own, so that profiles and dumps can tell its frames from
# those of whoever embeds it (weft_read_is_runtime()).
$(B)/obj/runtime/%.o: runtime/%.c $(B)/flags
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(PKG_CFLAGS) $(call inc,$<) -c -o $@ $<
	$(Q)$(OBJCOPY) $(foreach s,.text .text.unlikely .text.hot .text.startup,--rename-section $(s)=rt_text) $@

$(B)/obj/%.o: %.S $(B)/flags
	$(call say,AS,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) $(call inc,$<) -c -o $@ $<

$(B)/libweft.a: $(LIBOBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# Whole archive: plugins may call what weftd itself does not.
$(B)/weftd: $(B)/obj/daemon/main.o $(B)/libweft.a runtime/weft.dyn
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--dynamic-list=runtime/weft.dyn -o $@ $< \
	    -Wl,--whole-archive $(B)/libweft.a -Wl,--no-whole-archive $(PKG_LIBS) -ldl -lm

$(B)/plugins/%.so: daemon/plugins/%.c daemon/plugins/plugin.map $(B)/flags
	$(call say,PLUGIN,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fPIE,$(ALL_CFLAGS)) $(call inc,$<) -fPIC -shared $(filter-out -pie,$(ALL_LDFLAGS)) \
	    -Wl,--version-script=daemon/plugins/plugin.map -o $@ $<

# Paths may differ from one call to the next (make; make install PREFIX=/usr): the file changes when they do.
fill = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' \
       -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' -e 's|@PLUGINDIR@|$(PLUGINDIR)|g' -e 's|@ABI@|$(ABI)|g' \
       -e 's|@VERSION@|$(firstword $(subst -, ,$(VERSION)))|g'
update = $(Q)mkdir -p $(@D) && $(1) >$@.new && { cmp -s $@.new $@ && rm $@.new || mv $@.new $@; }

$(B)/weft.pc: runtime/weft.pc.in FORCE
	$(call update,$(fill) $<)

# For plugins built against this tree: PKG_CONFIG_PATH=build/release.
$(B)/weft-uninstalled.pc: override PREFIX = $(CURDIR)
$(B)/weft-uninstalled.pc: override INCLUDEDIR = $(CURDIR)/runtime/include
$(B)/weft-uninstalled.pc: override PLUGINDIR = $(abspath $(B)/plugins)
$(B)/weft-uninstalled.pc: runtime/weft.pc.in FORCE
	$(call update,$(fill) $<)

$(B)/weftd.service: systemd/weftd.service.in FORCE
	$(call update,$(fill) $<)

# For clang-tidy and editors.
COMPILED := $(filter %.c,$(LIBSRC)) daemon/main.c $(wildcard daemon/plugins/*.c) $(UNIT) $(UNITLIB) $(STRESS)
$(B)/compile_commands.json: FORCE | $(B)/gen/profile.pb-c.h $(B)/gen/version.h $(B)/gen/suites.h
	$(file >$@.new,[)$(foreach f,$(COMPILED),$(file >>$@.new,{"directory":"$(CURDIR)","file":"$(f)","command":"$(strip \
	    $(CC) $(filter-out -M% -fno-reorder-functions,$(ALL_CFLAGS)) $(PKG_CFLAGS) $(call inc,$(f)) -c $(f))"},))
	@sed -i '$$s/,$$/]/' $@.new && mv $@.new $@

# --- Run ---------------------------------------------------------------------

JOBS = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(shell nproc))

# setup.sh may install what this make has already found missing, so another one builds.
# On a terminal the daemon gets a process group of its own: Ctrl-C then drains it and is not also
# taken by make, which would end with an error.  If make is killed the daemon is told to stop.
URL := http://127.0.0.1:6060
.PHONY: run
run:
	@tests/setup.sh run
	@$(MAKE) --no-print-directory $(JOBS) all
	@printf '%s\n' 'Try from another terminal:' \
	    "  curl '$(URL)/debug/pprof/goroutine?debug=2'" \
	    "  go tool pprof -http=127.0.0.1:8081 '$(URL)/debug/pprof/profile?seconds=5'" \
	    "  curl -o trace '$(URL)/debug/pprof/trace?seconds=3' && go tool trace trace" \
	    "  curl $(URL)/metrics" \
	    '  $(URL)/debug/pprof/ in a browser; Ctrl-C here stops it'
	@if [ -t 0 ]; then exec bash -mc 'setpriv --pdeathsig TERM $(B)/weftd --config conf/weftd.json'; \
	 else exec $(B)/weftd --config conf/weftd.json; fi

# --- Tests -------------------------------------------------------------------

# unit.elf: where $(B)/unit is what runs it (tests/arm64/unit.sh).
$(B)/unit $(B)/unit.elf: $(UNITOBJ) $(B)/libweft.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--dynamic-list=runtime/weft.dyn -o $@ $(UNITOBJ) $(B)/libweft.a $(PKG_LIBS) $(shell $(PKG_CONFIG) --libs check) -ldl -lm

$(B)/stress: $(call obj,$(STRESS)) $(B)/libweft.a
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -Wl,--dynamic-list=runtime/weft.dyn -o $@ $(call obj,$(STRESS)) $(B)/libweft.a $(PKG_LIBS) -ldl -lm

# tests/run.sh prints a line a test and ends with "N passed, N failed".
TESTS.release := unit stress model abi install e2e
TESTS.debug   := unit stress model abi e2e
TESTS  = $(or $(TESTS.$(V)),unit stress e2e)
test   = $(Q)B=$(B) V=$(V) CC='$(CC)' CXX='$(CXX)' MAKE='$(MAKE)' tests/run.sh

.PHONY: check check-built lint lint-boot
check:
	@tests/setup.sh check
	@$(MAKE) --no-print-directory $(JOBS) check-build
	@$(MAKE) --no-print-directory check-built
check-build: all $(B)/unit $(B)/stress
check-built: check-build
	$(test) $(TESTS)

SUITES := check-model check-abi check-install check-e2e check-boot
.PHONY: check-build check-unit check-stress check-all check-vm check-arm64 $(SUITES)
check-unit check-stress: check-%: $(B)/%
	$(test) $*
# What lands runs all of it; here the stress runs for longer in each variant.
check-all:
	$(Q)WEFT_STRESS_SECONDS=$(or $(WEFT_STRESS_SECONDS),120) .ci/run
	$(Q)$(MAKE) --no-print-directory check-vm
	$(Q)$(MAKE) --no-print-directory check-arm64
# Builds in build/arm64, with make's defaults of variables that a processor decides on.
check-arm64:
	$(Q)env -u MAKEFLAGS -u MAKEOVERRIDES -u B -u V -u CC -u CXX MAKE='$(MAKE)' tests/arm64/unit.sh $(JOBS)
$(SUITES): check-%: all
	$(test) $*
check-vm: all
	@tests/setup.sh vm
	$(test) vm

lint: all $(B)/compile_commands.json
	$(test) lint
# Both, as .ci/run wants them: the service's minute passes meanwhile.
lint-boot: all $(B)/compile_commands.json
	$(test) boot lint

-include tests/bench/bench.mk

# --- Install: one list drives both directions ----------------------------------
# mode:from:to; "keep" is a configuration: an existing one is not overwritten, a changed one not removed.

MAN   := $(wildcard daemon/*.[1-8] conf/*.[1-8] runtime/*.[1-8])
FILES  = 755:$(B)/weftd:$(SBINDIR)/weftd \
	 644:runtime/include/weft.h:$(INCLUDEDIR)/weft.h \
	 644:$(B)/weft.pc:$(PKGCONFIGDIR)/weft.pc \
	 644:$(B)/weftd.service:$(UNITDIR)/weftd.service \
	 644:systemd/weftd.sysusers:$(SYSUSERSDIR)/weftd.conf \
	 keep:conf/weftd.json:$(SYSCONFDIR)/weft/weftd.json \
	 $(foreach m,$(MAN),644:$(m):$(MANDIR)/man$(subst .,,$(suffix $(m)))/$(notdir $(m))) \
	 $(foreach p,$(PLUGINS),755:$(p):$(PLUGINDIR)/$(notdir $(p)))
each_file = set -e; for f in $(FILES); do IFS=:; set -- $$f; unset IFS; to="$(DESTDIR)$$3";

.PHONY: install uninstall
install: all
	$(Q)$(each_file) case $$1 in \
	    keep) [ -e "$$to" ] || $(INSTALL) -D -m 644 "$$2" "$$to" ;; \
	    *) $(INSTALL) -D -m $$1 "$$2" "$$to" ;; esac; done

uninstall:
	$(Q)$(each_file) case $$1 in \
	    keep) ! cmp -s "$$2" "$$to" || rm -f "$$to" ;; \
	    *) rm -f "$$to" ;; esac; done
	$(Q)for d in $(PLUGINDIR) $(patsubst %/,%,$(dir $(PLUGINDIR))) $(SYSCONFDIR)/weft; do \
	    rmdir "$(DESTDIR)$$d" 2>/dev/null || :; done

.PHONY: clean distclean help
clean:
	rm -rf $(B)
distclean:
	rm -rf build
help:
	@sed -n '/^# weft/,/^$$/s/^# \{0,1\}//p' $(firstword $(MAKEFILE_LIST))

-include $(wildcard $(B)/obj/*/*.d $(B)/obj/*/*/*.d $(B)/plugins/*.d)
