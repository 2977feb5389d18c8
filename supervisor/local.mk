noinst_LIBRARIES += %D%/libsv.a
%C%_libsv_a_SOURCES = \
	%D%/sv_breaker.c %D%/sv_breaker.h \
	%D%/sv_choice.c %D%/sv_choice.h \
	%D%/sv_fair.c %D%/sv_fair.h \
	%D%/sv_queue.c %D%/sv_queue.h \
	%D%/sv_share.c %D%/sv_share.h \
	%D%/sv_builder.c %D%/sv_builder.h \
	%D%/sv_builds.c %D%/sv_builds.h \
	%D%/sv_contract.c %D%/sv_contract.h \
	%D%/sv_accept.c %D%/sv_accept.h \
	%D%/sv_client.c %D%/sv_client.h \
	%D%/sv_invoke.c %D%/sv_invoke.h \
	%D%/sv_control.c %D%/sv_control.h \
	%D%/sv_dispatch.c %D%/sv_dispatch.h \
	%D%/sv_front.c %D%/sv_front.h \
	%D%/sv_gather.c %D%/sv_gather.h \
	%D%/sv_generation.c %D%/sv_generation.h \
	%D%/sv_head.c %D%/sv_head.h \
	%D%/sv_image.c %D%/sv_image.h \
	%D%/sv_kept.c %D%/sv_kept.h \
	%D%/sv_lmdb.c %D%/sv_lmdb.h \
	%D%/sv_lmdb_apply.c %D%/sv_lmdb_apply.h \
	%D%/sv_lmdb_check.c %D%/sv_lmdb_check.h \
	%D%/sv_lmdb_table.c %D%/sv_lmdb_table.h \
	%D%/sv_lower.c %D%/sv_lower.h \
	%D%/sv_memory.c %D%/sv_memory.h \
	%D%/sv_metrics.c %D%/sv_metrics.h \
	%D%/sv_openmetrics.c %D%/sv_openmetrics.h \
	%D%/sv_peers.c %D%/sv_peers.h \
	%D%/sv_place.c %D%/sv_place.h \
	%D%/sv_operation.c %D%/sv_operation.h \
	%D%/sv_policy.c %D%/sv_policy.h \
	%D%/sv_forwarded.c %D%/sv_forwarded.h \
	%D%/sv_http.c %D%/sv_http.h \
	%D%/sv_http_check.c %D%/sv_http_check.h \
	%D%/sv_http_conn.c %D%/sv_http_conn.h \
	%D%/sv_http_reply.c %D%/sv_http_reply.h \
	%D%/sv_route.c %D%/sv_route.h \
	%D%/sv_pool.c %D%/sv_pool.h \
	%D%/sv_worker.c %D%/sv_worker.h \
	%D%/parts.def \
	%D%/sv_bucket.c %D%/sv_bucket.h \
	%D%/sv_proto.h \
	%D%/sv_request.c \
	%D%/sv_request.h \
	%D%/sv_seed.c %D%/sv_seed.h \
	%D%/sv_shard.c %D%/sv_shard.h \
	%D%/sv_shards.c %D%/sv_shards.h \
	%D%/sv_text.c %D%/sv_text.h \
	%D%/sv_stats.c \
	%D%/sv_stats.h \
	%D%/sv_storage.c %D%/sv_storage.h \
	%D%/sv_trace.c %D%/sv_trace.h \
	%D%/sv_child.c %D%/sv_child.h \
	%D%/sv_compiler.c %D%/sv_compiler.h \
	%D%/sv_config.c %D%/sv_config.h \
	%D%/sv_cover.c %D%/sv_cover.h \
	%D%/sv_daemon.c %D%/sv_daemon.h \
	%D%/sv_gossip.c %D%/sv_gossip.h \
	%D%/sv_inherit.c %D%/sv_inherit.h \
	%D%/sv_jail.c %D%/sv_jail.h \
	%D%/sv_listen.c %D%/sv_listen.h \
	%D%/sv_master.c %D%/sv_master.h \
	%D%/sv_pidfile.c %D%/sv_pidfile.h \
	%D%/sv_program.c %D%/sv_program.h \
	%D%/sv_restore.c %D%/sv_restore.h \
	%D%/sv_upgrade.c %D%/sv_upgrade.h \
	%D%/sv_user.c %D%/sv_user.h \
	%D%/sv_zygote.c %D%/sv_zygote.h

sbin_PROGRAMS = tana-edge
tana_edge_SOURCES = %D%/sv_main.c
tana_edge_LDADD = $(SV_LIBS)

bin_PROGRAMS += tana-ctl
tana_ctl_SOURCES = %D%/ctl_main.c %D%/ctl_show.c %D%/ctl_show.h \
	%D%/ctl_top.c %D%/ctl_top.h
tana_ctl_LDADD = $(TN_LIBS) $(JANSSON_LIBS)

# Manual pages: what the tables know comes out of them.
noinst_PROGRAMS += %D%/sv-mkman
%C%_sv_mkman_SOURCES = %D%/sv_mkman.c
%C%_sv_mkman_LDADD = $(TN_LIBS)
SV_MANS = %D%/tana-edge.8 %D%/tana-ctl.8 %D%/tana-edge.conf.5 %D%/tana-frames.7
man_MANS += $(SV_MANS)
SV_SED = sed -e 's,@CONFDIR[@],$(sysconfdir)/$(PACKAGE),g' -e 's,@SBINDIR[@],$(sbindir),g' \
	-e 's,@BINDIR[@],$(bindir),g' -e 's,@DEFAULTSDIR[@],$(defaultsdir),g'
$(SV_MANS): %D%/sv-mkman$(EXEEXT) Makefile
%D%/tana-edge.8: $(srcdir)/%D%/tana-edge.8.in
	$(AM_V_GEN)$(SV_SED) $(srcdir)/$@.in | %D%/sv-mkman > $@.tmp && mv $@.tmp $@
%D%/tana-ctl.8: $(srcdir)/%D%/tana-ctl.8.in
	$(AM_V_GEN)$(SV_SED) $(srcdir)/$@.in | %D%/sv-mkman > $@.tmp && mv $@.tmp $@
%D%/tana-edge.conf.5: $(srcdir)/%D%/tana-edge.conf.5.in
	$(AM_V_GEN)$(SV_SED) $(srcdir)/$@.in | %D%/sv-mkman > $@.tmp && mv $@.tmp $@
%D%/tana-frames.7: $(srcdir)/%D%/tana-frames.7.in $(srcdir)/tests/client_example.c
	$(AM_V_GEN)$(SV_SED) $(srcdir)/$@.in | %D%/sv-mkman $(srcdir)/tests > $@.tmp && mv $@.tmp $@
CLEANFILES += $(SV_MANS)

# How it is started: systemd units, an init script, directories.  Where they go is
# configure's to say (--with-systemdsystemunitdir=DIR and its kin).
SV_START = %D%/tana-edge.service %D%/tana-edge.init
nodist_systemdsystemunit_DATA = %D%/tana-edge.service
dist_systemdsystemunit_DATA = %D%/tana-edge.socket
noinst_DATA = %D%/tana-edge.init
svexamplesdir = $(docdir)/examples
dist_svexamples_DATA = %D%/tana-edge.conf
%D%/tana-edge.service: $(srcdir)/%D%/tana-edge.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) %D% && $(SV_SED) $(srcdir)/$@.in > $@.tmp && mv $@.tmp $@
%D%/tana-edge.init: $(srcdir)/%D%/tana-edge.init.in Makefile
	$(AM_V_GEN)$(MKDIR_P) %D% && $(SV_SED) $(srcdir)/$@.in > $@.tmp && chmod +x $@.tmp && mv $@.tmp $@
CLEANFILES += $(SV_START)

# Files under other names than here.  Configuration is the operator's once it is there: it is
# not written over, and removed only as it came.
SV_INSTALLED = \
	init|755|%D%/tana-edge.init|$(initdir)/tana-edge \
	once|644|$(srcdir)/%D%/tana-edge.conf|$(sysconfdir)/$(PACKAGE)/tana-edge.conf \
	once|644|$(srcdir)/%D%/tana-edge.default|$(defaultsdir)/tana-edge \
	once|644|$(srcdir)/%D%/tana-edge.logrotate|$(logrotatedir)/tana-edge \
	file|644|$(srcdir)/%D%/tana-edge.tmpfiles|$(tmpfilesdir)/tana-edge.conf
SV_EACH = set -e; for e in $(foreach i,$(SV_INSTALLED),'$(i)'); do \
	how=$${e%%|*}; e=$${e\#*|}; mode=$${e%%|*}; e=$${e\#*|}; from=$${e%%|*}; \
	to=$(DESTDIR)$${e\#*|};
install-data-local: $(SV_START)
	@$(SV_EACH) \
	$(MKDIR_P) "$$(dirname "$$to")"; \
	if test $$how = once && test -e "$$to"; then \
		echo " keeping $$to"; \
	else \
		echo " $(INSTALL) -m $$mode $$from $$to"; \
		$(INSTALL) -m $$mode "$$from" "$$to"; \
	fi; done
uninstall-hook:
	@$(SV_EACH) \
	if test $$how != once || cmp -s "$$from" "$$to"; then \
		echo " rm -f $$to"; rm -f "$$to"; \
	else \
		echo " keeping $$to, if it is there"; \
	fi; done
EXTRA_DIST += \
	%D%/tana-edge.8.in \
	%D%/tana-ctl.8.in \
	%D%/tana-edge.conf.5.in \
	%D%/tana-frames.7.in \
	%D%/tana-edge.service.in \
	%D%/tana-edge.default \
	%D%/tana-edge.init.in \
	%D%/tana-edge.logrotate \
	%D%/tana-edge.tmpfiles
