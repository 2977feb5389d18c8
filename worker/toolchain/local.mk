# worker/toolchain/: tana, the tool of contract authors (Node).
TANA_FILES = \
	%D%/boundary.js \
	%D%/cleanup.js \
	%D%/compile.js \
	%D%/ctl.js \
	%D%/deploy.js \
	%D%/dev.js \
	%D%/identifier.js \
	%D%/limits.js \
	%D%/lines.js \
	%D%/lower.js \
	%D%/main.js \
	%D%/messages.js \
	%D%/modules.js \
	%D%/new.js \
	%D%/prepare.js \
	%D%/private.js \
	%D%/probe.js \
	%D%/proto.js \
	%D%/run.js \
	%D%/server.js \
	%D%/source.js \
	%D%/sourcemap.js \
	%D%/store.js \
	%D%/versions.js \
	%D%/worker.js
toolchaindir = $(pkgdatadir)/toolchain
dist_toolchain_DATA = $(TANA_FILES)
dist_man_MANS = %D%/tana.1 %D%/tana-contract.7

# What editors and TypeScript are told of the modules and global names.
typesdir = $(toolchaindir)/types
dist_types_DATA = %D%/types/tsconfig.json
tanatypesdir = $(typesdir)/tana
dist_tanatypes_DATA = \
	%D%/types/tana/globals.d.ts \
	%D%/types/tana/index.d.ts \
	%D%/types/tana/modules.d.ts

# Two launchers: ./tana runs in place, the other one is installed.
noinst_SCRIPTS += tana
bin_SCRIPTS += %D%/tana
TANA_SED = sed -e 's,@VERSION[@],$(PACKAGE_VERSION),' -e 's,@NODE[@],$(NODE),'
tana: $(srcdir)/%D%/tana.in Makefile
	$(AM_V_GEN)$(TANA_SED) -e 's,@NODE_MODULES[@],$(NODE_MODULES),' \
	    -e 's,@WORKER[@],$(abs_top_builddir)/tana-worker,' -e 's,@CTL[@],$(abs_top_builddir)/tana-ctl,' \
	    -e 's,@EDGE[@],$(abs_top_builddir)/tana-edge,' \
	    -e "s,@TOOLCHAIN[@],`cd $(srcdir)/%D% && pwd`," $(srcdir)/%D%/tana.in > $@.tmp && \
	chmod +x $@.tmp && mv $@.tmp $@
%D%/tana: $(srcdir)/%D%/tana.in Makefile
	$(AM_V_GEN)$(MKDIR_P) %D% && $(TANA_SED) -e 's,@NODE_MODULES[@],$(pkglibexecdir)/node_modules,' \
	    -e 's,@WORKER[@],$(pkglibexecdir)/tana-worker,' -e 's,@CTL[@],$(bindir)/tana-ctl,' \
	    -e 's,@EDGE[@],$(sbindir)/tana-edge,' \
	    -e 's,@TOOLCHAIN[@],$(toolchaindir),' $(srcdir)/%D%/tana.in > $@.tmp && \
	chmod +x $@.tmp && mv $@.tmp $@
CLEANFILES += tana tana.tmp %D%/tana %D%/tana.tmp
EXTRA_DIST += %D%/tana.in %D%/package.json %D%/package-lock.json %D%/.npmrc

# The compilers are programs of the system's architecture that no Debian package has.
TANA_PACKAGES = esbuild @esbuild @swc
install-exec-local:
	$(MKDIR_P) '$(DESTDIR)$(pkglibexecdir)/node_modules'
	cd '$(NODE_MODULES)' && tar -chf - $(TANA_PACKAGES) | \
	    (cd '$(DESTDIR)$(pkglibexecdir)/node_modules' && tar -xf - --no-same-owner)
uninstall-local:
	rm -rf '$(DESTDIR)$(pkglibexecdir)/node_modules'
