# bench.mk - measure. Included by the Makefile; uses its $(B), $(CC), flags and $(B)/libweft.a.
#
#   make bench               weft beside Go, with the floor (BENCH_ROUNDS, BENCH_SECONDS, BENCH_ONLY)
#   make check-million       1,000,000 parked goroutines: bytes each, start time
#   make check-instructions  callgrind counts per operation against tests/bench/instructions.txt

BENCH       := tests/bench
BENCH_HDR   := $(wildcard $(BENCH)/weft/*.h $(BENCH)/floor/*.h) runtime/include/weft.h runtime/host/weft_host.h runtime/read/weft_read.h
BENCH_WORK  := $(filter-out $(BENCH)/weft/main.c,$(wildcard $(BENCH)/weft/*.c))
BENCH_FLOOR := $(wildcard $(BENCH)/floor/*.c $(BENCH)/floor/*.S)
BENCH_GO    := $(wildcard $(BENCH)/go/*.go) $(BENCH)/go/go.mod

# The workloads are a plugin: they see what its author sees, and are loaded and called as it is.
$(B)/bench/workloads.so: $(BENCH_WORK) $(BENCH_HDR) $(B)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP -fPIE,$(ALL_CFLAGS)) -Iruntime/include -fPIC -shared \
	    $(filter-out -pie,$(ALL_LDFLAGS)) -o $@ $(BENCH_WORK)

$(B)/bench/weft: $(BENCH)/weft/main.c $(BENCH_HDR) $(B)/libweft.a $(B)/flags runtime/weft.dyn $(B)/bench/workloads.so
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) -Iruntime/include -Iruntime/host -Iruntime/read $(ALL_LDFLAGS) \
	    -Wl,--dynamic-list=runtime/weft.dyn -o $@ $(BENCH)/weft/main.c \
	    -Wl,--whole-archive $(B)/libweft.a -Wl,--no-whole-archive $(PKG_LIBS) -ldl -lm

$(B)/bench/floor: $(BENCH_FLOOR) $(BENCH_HDR) $(B)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP -fsanitize%,$(ALL_CFLAGS)) -O2 -pthread -pie -o $@ $(BENCH_FLOOR)

$(B)/bench/go: $(BENCH_GO)
	$(call say,GO,$@)
	@mkdir -p $(@D)
	$(Q)cd $(BENCH)/go && GOFLAGS=-mod=mod GOTOOLCHAIN=local go build -o $(abspath $@) .

BENCH_HAVE_GO := $(shell PATH='$(PATH)' command -v go 2>/dev/null)

.PHONY: bench check-million check-instructions
bench: $(B)/bench/weft $(B)/bench/floor $(if $(BENCH_HAVE_GO),$(B)/bench/go)
	$(if $(BENCH_HAVE_GO),,@echo 'bench: no go on PATH: the Go columns stay empty')
	$(Q)$(if $(BENCH_RAW),,BENCH_RAW=$(B)/bench/raw.tsv )python3 $(BENCH)/run.py $(B)/bench/weft \
	    $(if $(BENCH_HAVE_GO),$(B)/bench/go,-) $(B)/bench/floor

check-million: $(B)/bench/weft
	$(call say,TEST,million parked goroutines ($(V)))
	$(Q)python3 $(BENCH)/million.py $(B)/bench/weft

check-instructions: $(B)/bench/weft
	$(call say,TEST,instructions per operation ($(V)))
	$(Q)python3 $(BENCH)/instructions.py $(B)/bench/weft $(BENCH)/instructions.txt
