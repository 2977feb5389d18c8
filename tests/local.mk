# Unit tests append themselves to unit_tests.
unit_tests =

include tests/unit/common.mk
include tests/unit/policy.mk
include tests/unit/worker.mk
include tests/unit/supervisor.mk

if CMOCKA
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
endif

# Scripts that print TAP.
script_tests = \
	%D%/layering
TESTS += $(script_tests)

# One log a file; `make check -j2` runs two at a time.
e2e_tests =
e2e_tests += %D%/e2e/test_worker.py
TESTS += $(e2e_tests)

EXTRA_DIST += \
	$(script_tests) \
	$(e2e_tests) \
	%D%/e2e/run \
	%D%/e2e/conftest.py \
	%D%/e2e/fake_worker \
	%D%/e2e/pytest_tap.py \
	%D%/e2e/zygote_harness.py
