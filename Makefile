# A thin front to meson.
#
#	make            build; leaves the command at build/qcow2
#	make t=image/map [f=table]
#	                build and run tests/unit/image/map.c alone; f: only
#	                the functions that have f in their names
#	make demo       show it at work on a real file system
#	make check      run all tests
#	make crash-long look at millions of states after a crash
#	make model-long hold OPS=N operations against the model; 0: for ever
#	make bench      measure it against qemu-img
#	make install    DESTDIR and PREFIX are honoured
#	make clean      remove the build directory
#	make deps       as root, install the Debian packages that a build needs
#
# Building and installing change nothing but the build directory and the place
# that they install to.  Only deps and the targets that show and test (demo,
# check and the like) install missing packages, as root; they tell other users
# the one line that does it.  BUILD is the build directory, MESON_ARGS go to
# `meson setup`.

BUILD = build
MESON_ARGS =
BENCH_ARGS =

ifdef t
all: configure
	@tools/run-unit $(BUILD) $(t) $(f)
else
all: build
endif

configure:
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) $(MESON_ARGS)

build: configure
	@ninja -C $(BUILD)
	@tools/link-commands $(BUILD)

deps:
	@tools/install-deps build test

test-packages:
	@tools/install-deps build test

demo: test-packages build
	@tools/demo $(BUILD)

# Runs all suites; the last line is the count.
check: test-packages build
	@tools/run-tests $(BUILD)

# Tests millions of states after a crash, and every deliberate mistake; STATES
# sets how many for each of the kinds of workload.
STATES = 2000000
crash-long: test-packages build
	@tests/crash/run-long $(BUILD) $(STATES)

# Runs random operations on all processors: OPS on each, or for ever if 0.
OPS = 1000000
model-long: test-packages build
	@tests/model/run-long $(BUILD) $(OPS)

bench: test-packages build
	@bench/run --build $(BUILD) $(BENCH_ARGS)

install: build
	@test -z "$(PREFIX)" || meson configure $(BUILD) -Dprefix="$(PREFIX)"
	meson install -C $(BUILD) $(if $(DESTDIR),--destdir "$(DESTDIR)")

clean:
	rm -rf $(BUILD)

.PHONY: all configure build deps test-packages demo check crash-long model-long bench install clean
