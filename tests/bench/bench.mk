# bench.mk - measure. Included by the Makefile; uses its $(B), $(CC), flags and $(B)/libweft.a.
#
#   make bench               weft beside Go, with the floor (BENCH_ROUNDS, BENCH_SECONDS, BENCH_ONLY)
#   make check-million       1,000,000 parked goroutines: bytes each, start time
#   make check-instructions  callgrind counts per operation against tests/bench/instructions.txt

BENCH       := tests/bench
BENCH_HDR   := $(wildcard $(BENCH)/weft/*.h $(BENCH)/floor/*.h) runtime/include/weft.h runtime/host/weft_host.h
BENCH_WEFT  := $(wildcard $(BENCH)/weft/*.c)
BENCH_FLOOR := $(wildcard $(BENCH)/floor/*.c $(BENCH)/floor/*.S)
BENCH_GO    := $(wildcard $(BENCH)/go/*.go) $(BENCH)/go/go.mod

# The workloads see what a plugin author sees, and how to start and stop the runtime.
$(B)/bench/weft: $(BENCH_WEFT) $(BENCH_HDR) $(B)/libweft.a $(B)/flags
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -MMD -MP,$(ALL_CFLAGS)) -Iruntime/include -Iruntime/host $(ALL_LDFLAGS) \
	    -Wl,--dynamic-list=runtime/weft.dyn -o $@ $(BENCH_WEFT) $(B)/libweft.a $(PKG_LIBS) -ldl

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
