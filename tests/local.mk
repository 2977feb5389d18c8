# The fragments append to these.
unit_tests =
e2e_tests =

include tests/unit/common.mk
include tests/unit/policy.mk
include tests/unit/worker.mk
include tests/unit/supervisor.mk

if CMOCKA
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
endif

include tests/fuzz/local.mk

# Scripts that print TAP.
script_tests = \
	%D%/docs \
	%D%/layering
TESTS += $(script_tests)

# What the tables say, for %D%/docs.
check_PROGRAMS += %D%/tables
%C%_tables_SOURCES = %D%/tables.c
%C%_tables_LDADD = $(TN_LIBS)

# One log a file; `make check -j2` runs two at a time.
e2e_tests += %D%/e2e/test_worker.py
e2e_tests += %D%/e2e/test_sandbox.py
e2e_tests += %D%/e2e/test_worker_tool.py
e2e_tests += %D%/e2e/test_examples.py
e2e_tests += %D%/e2e/test_faults.py
e2e_tests += %D%/e2e/test_lifecycle.py
e2e_tests += %D%/e2e/test_security.py
e2e_tests += %D%/e2e/test_server.py
e2e_tests += %D%/e2e/test_dispatch.py
e2e_tests += %D%/e2e/test_pool.py
e2e_tests += %D%/e2e/test_documents.py
e2e_tests += %D%/e2e/test_metrics.py
e2e_tests += %D%/e2e/test_crossing.py
e2e_tests += %D%/e2e/test_runtime.py
e2e_tests += %D%/e2e/test_toolchain.py
e2e_tests += %D%/e2e/test_authors.py
e2e_tests += %D%/e2e/test_types.py
e2e_tests += %D%/e2e/test_http.py
e2e_tests += %D%/e2e/test_cli.py
e2e_tests += %D%/e2e/test_client.py
e2e_tests += %D%/e2e/test_tail.py
e2e_tests += %D%/e2e/test_data.py
e2e_tests += %D%/e2e/test_upgrade.py
e2e_tests += %D%/e2e/test_shards.py
e2e_tests += %D%/e2e/test_install.py
e2e_tests += %D%/e2e/test_ablation.py
e2e_tests += %D%/e2e/test_bench.py
TESTS += $(e2e_tests)

# The example of tana-frames(7), for test_client.py: it is a program of its own.
check_PROGRAMS += %D%/client_example
%C%_client_example_SOURCES = %D%/client_example.c
%C%_client_example_LDADD = $(MSGPACK_LIBS)

# The HTTP server alone, for test_http.py.
check_PROGRAMS += %D%/http_echo
%C%_http_echo_SOURCES = %D%/http_echo.c
%C%_http_echo_LDADD = $(SV_LIBS)

EXTRA_DIST += \
	$(script_tests) \
	$(e2e_tests) \
	%D%/e2e/run \
	%D%/unit/run \
	%D%/e2e/conftest.py \
	%D%/e2e/counted.py \
	%D%/e2e/fake_worker \
	%D%/e2e/load.py \
	%D%/e2e/pytest_tap.py \
	%D%/e2e/zygote_harness.py

# What test_types.py has TypeScript check.
EXTRA_DIST += \
	%D%/types/members.js \
	%D%/types/mistakes.ts \
	%D%/types/tsconfig.json \
	%D%/types/uses.ts

# The examples; `./bootstrap run` serves them.
EXTRA_DIST += \
	%D%/contracts/async-classes/get.ts \
	%D%/contracts/async-classes/stock.ts \
	%D%/contracts/counter/contract.ts \
	%D%/contracts/crash/get.ts \
	%D%/contracts/echo/post.ts \
	%D%/contracts/fetch-style/contract.ts \
	%D%/contracts/greet/contract.ts \
	%D%/contracts/hello/contract.json \
	%D%/contracts/hello/get.ts \
	%D%/contracts/json-value/get.ts \
	%D%/contracts/ledger/contract.json \
	%D%/contracts/ledger/contract.ts \
	%D%/contracts/loops/get.ts \
	%D%/contracts/memory-bomb/get.ts \
	%D%/contracts/pollute/get.ts \
	%D%/contracts/regexp-bomb/get.ts \
	%D%/contracts/throws/get.ts \
	%D%/contracts/timers/get.ts
