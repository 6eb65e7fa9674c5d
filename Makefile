# The front door.  Meson does the work; every target here is one line that you could type.
BUILD ?= build
PREFIX ?= /usr/local
MESON = meson setup --prefix=$(PREFIX)
export LLMOS_ROOT := $(CURDIR)

all: $(BUILD)/build.ninja ; @ninja -C $(BUILD)
$(BUILD)/build.ninja: ; @tools/install-packages build && $(MESON) $(BUILD)
test: packages-test all ; @tools/run-tests $(BUILD)
demo: $(BUILD)/build.ninja ; @ninja -C $(BUILD) programs && tools/demo $(BUILD)
bench: all ; @tools/bench $(BUILD)
asan: ; @tools/install-packages build test && CC=gcc tools/sanitized build-asan address,undefined
tsan: ; @tools/install-packages build test check && CC=clang-14 tools/sanitized build-tsan thread
models: all ; @tools/models-table $(BUILD)
arm: packages-arm ; @tools/arm build-arm
fuzz: ; @tools/install-packages build check && tools/fuzz
check: packages-check packages-arm test asan tsan ; @tools/check
format: packages-check ; @clang-format-14 -i $$(git ls-files '*.c' '*.h')
install: all ; @meson configure $(BUILD) -Dprefix=$(PREFIX) && DESTDIR=$(DESTDIR) meson install -C $(BUILD) --quiet
dist: all ; @meson dist -C $(BUILD) --no-tests --allow-dirty
packages-%: ; @tools/install-packages build test $*
clean: ; @rm -rf build build-asan build-tsan build-fuzz build-arm
.PHONY: all test demo bench models asan tsan arm fuzz check format install dist clean
