/*
 * test_sv_plan.c - which namespaces and layers a zygote gets, on systems that
 * give all, some or none.
 */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "sv_zygote.h"
#include "tn_err.h"
#include "tn_layers.h"
#include "tn_options.h"
#include "tn_zygote.h"

#define NAMESPACE_LAYERS (TN_LAYER_PIDNS | TN_LAYER_NETNS | TN_LAYER_MOUNTNS | TN_LAYER_IPCNS)
#define ALL_FLAGS \
	(CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)
#ifdef WITH_SANITIZERS
#define BUILT (~(uint32_t)(TN_LAYER_SECCOMP | TN_LAYER_MDWE))
#else
#define BUILT (~(uint32_t)0)
#endif

/* The system: flags that fail, and whether a user namespace is needed for the rest. */
static uint64_t forbidden;
static bool needs_userns;
static unsigned tries;

static int
try_flags(uint64_t flags)
{
	tries++;
	if ((flags & forbidden) != 0)
		return ENOSPC;
	if (needs_userns && (flags & ALL_FLAGS) != 0 && (flags & CLONE_NEWUSER) == 0)
		return EPERM;
	return 0;
}

static int
make(struct sv_plan *p, enum sv_sandbox mode, bool root, struct tn_buf *err)
{
	struct sv_system sys = { .root = root, .landlock = true, .mdwe = true, .try = try_flags };

	tries = 0;
	tn_buf_reset(err);
	return sv_plan_make(p, mode, &sys, err);
}

static bool
says(const struct tn_buf *err, const char *what)
{
	return err->p != NULL && memmem(err->p, err->len, what, strlen(what)) != NULL;
}

static void
test_root_gets_all_without_user_namespace(void **state)
{
	struct tn_buf err = { 0 };
	struct sv_plan p;

	(void)state;
	forbidden = 0;
	needs_userns = false;
	assert_int_equal(make(&p, SV_SANDBOX_FULL, true, &err), 0);
	assert_int_equal(p.namespaces, ALL_FLAGS);
	assert_int_equal(p.present, NAMESPACE_LAYERS);
	assert_int_equal(p.required, (uint32_t)(TN_LAYER_ALL & ~TN_LAYER_USERNS) & BUILT);
}

static void
test_user_needs_a_user_namespace(void **state)
{
	struct tn_buf err = { 0 };
	struct sv_plan p;

	(void)state;
	forbidden = 0;
	needs_userns = true;
	assert_int_equal(make(&p, SV_SANDBOX_FULL, false, &err), 0);
	assert_int_equal(p.namespaces, ALL_FLAGS | CLONE_NEWUSER);
	assert_int_equal(p.present, NAMESPACE_LAYERS | TN_LAYER_USERNS);
	/* All but the change of user, which an ordinary user cannot make. */
	assert_int_equal(p.required, (uint32_t)(TN_LAYER_ALL & ~TN_LAYER_UID) & BUILT);
}

static void
test_weak_root_uses_a_user_namespace(void **state)
{
	struct tn_buf err = { 0 };
	struct sv_plan p;

	(void)state;
	forbidden = 0;
	needs_userns = true;
	assert_int_equal(make(&p, SV_SANDBOX_FULL, true, &err), 0);
	assert_int_equal(p.namespaces, ALL_FLAGS | CLONE_NEWUSER);
	/* It still must change the user. */
	assert_true((p.required & TN_LAYER_UID) != 0);
	assert_true((p.required & TN_LAYER_USERNS) != 0);
}

static void
test_full_fails_closed(void **state)
{
	static const struct {
		uint64_t	flags;
		const char	*name;
	} missing[] = {
		{ CLONE_NEWPID, "pidns" }, { CLONE_NEWNET, "netns" }, { CLONE_NEWNS, "mountns" },
		{ CLONE_NEWIPC, "ipcns" }, { CLONE_NEWUTS, "ipcns" }, { CLONE_NEWCGROUP, "ipcns" },
		{ CLONE_NEWUSER, "userns" },
	};
	struct tn_buf err = { 0 };
	struct sv_plan p;
	size_t i;

	(void)state;
	needs_userns = true;
	for (i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		forbidden = missing[i].flags;
		assert_int_equal(make(&p, SV_SANDBOX_FULL, false, &err), TN_EUNAVAIL);
		assert_true(says(&err, missing[i].name));
		assert_true(says(&err, strerror(ENOSPC)));
		assert_true(says(&err, "sandbox = available"));
	}
	needs_userns = false;
	for (i = 0; i + 1 < sizeof(missing) / sizeof(missing[0]); i++) {
		forbidden = missing[i].flags;
		assert_int_equal(make(&p, SV_SANDBOX_FULL, true, &err), TN_EUNAVAIL);
		assert_true(says(&err, missing[i].name));
	}
	tn_buf_fini(&err);
}

static void
test_available_takes_what_there_is(void **state)
{
	struct tn_buf err = { 0 };
	struct sv_plan p;

	(void)state;
	needs_userns = true;
	forbidden = CLONE_NEWNET;
	assert_int_equal(make(&p, SV_SANDBOX_AVAILABLE, false, &err), 0);
	assert_int_equal(p.namespaces, (ALL_FLAGS & ~(uint64_t)CLONE_NEWNET) | CLONE_NEWUSER);
	assert_int_equal(p.present, (NAMESPACE_LAYERS & ~TN_LAYER_NETNS) | TN_LAYER_USERNS);
	assert_int_equal(p.required,
	    (TN_LAYER_SECCOMP | TN_LAYER_RLIMITS | TN_LAYER_NNP | TN_LAYER_NOCAPS) & BUILT);

	/* Part of a group is not the layer. */
	forbidden = CLONE_NEWCGROUP;
	assert_int_equal(make(&p, SV_SANDBOX_AVAILABLE, false, &err), 0);
	assert_int_equal(p.present & TN_LAYER_IPCNS, 0);

	forbidden = CLONE_NEWUSER;
	assert_int_equal(make(&p, SV_SANDBOX_AVAILABLE, false, &err), 0);
	assert_int_equal(p.namespaces, 0);
	assert_int_equal(p.present, 0);
	assert_true(tries < 16);

	/* Root never runs contracts as root. */
	needs_userns = false;
	forbidden = ALL_FLAGS | CLONE_NEWUSER;
	assert_int_equal(make(&p, SV_SANDBOX_AVAILABLE, true, &err), 0);
	assert_true((p.required & TN_LAYER_UID) != 0);
}

static void
test_off_is_nothing(void **state)
{
	struct tn_buf err = { 0 };
	struct sv_plan p;

	(void)state;
	forbidden = 0;
	assert_int_equal(make(&p, SV_SANDBOX_OFF, true, &err), 0);
	assert_int_equal(p.namespaces, 0);
	assert_int_equal(p.present, 0);
	assert_int_equal(p.required, 0);
	assert_int_equal(tries, 0);
}

/* What an old kernel does not have is not required of it. */
static void
test_old_kernel(void **state)
{
	struct sv_system sys = { .root = true, .landlock = false, .mdwe = false, .try = try_flags };
	struct tn_buf err = { 0 };
	struct sv_plan p;

	(void)state;
	forbidden = 0;
	needs_userns = false;
	assert_int_equal(sv_plan_make(&p, SV_SANDBOX_FULL, &sys, &err), 0);
	assert_int_equal(p.required & (TN_LAYER_LANDLOCK | TN_LAYER_MDWE), 0);
}

/* The enum here and the option's choices are one list. */
static void
test_modes_are_the_options(void **state)
{
	(void)state;
	assert_string_equal(tn_options_choice("sandbox", SV_SANDBOX_FULL), "full");
	assert_string_equal(tn_options_choice("sandbox", SV_SANDBOX_AVAILABLE), "available");
	assert_string_equal(tn_options_choice("sandbox", SV_SANDBOX_OFF), "off");
}

/* Goes into the setup as it is, and comes back in READY for `tana-ctl status`. */
static void
test_ways_to_restore_are_the_options(void **state)
{
	struct tn_options *o = tn_options_new();

	(void)state;
	assert_non_null(o);
	assert_string_equal(tn_options_choice("restore", TN_RESTORE_DROP), "drop");
	assert_string_equal(tn_options_choice("restore", TN_RESTORE_PAGEMAP), "pagemap");
	assert_string_equal(tn_options_choice("restore", TN_RESTORE_SCAN), "scan");
	assert_null(tn_options_choice("restore", TN_RESTORE_SCAN + 1));
	assert_int_equal(o->restore, TN_RESTORE_SCAN);
	tn_options_free(&o);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_root_gets_all_without_user_namespace),
		cmocka_unit_test(test_user_needs_a_user_namespace),
		cmocka_unit_test(test_weak_root_uses_a_user_namespace),
		cmocka_unit_test(test_full_fails_closed),
		cmocka_unit_test(test_available_takes_what_there_is),
		cmocka_unit_test(test_off_is_nothing),
		cmocka_unit_test(test_old_kernel),
		cmocka_unit_test(test_modes_are_the_options),
		cmocka_unit_test(test_ways_to_restore_are_the_options),
	};

	return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
